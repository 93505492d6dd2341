"""Near repeats (near-duplicates): one radiograph twice, resized, re-encoded, cropped, framed or with another exposure.

Radiographs of different people look so alike that no hash tells a slightly cropped copy from another person. So the
images are aligned before they are compared: for each image, its nearest neighbours are found by a small descriptor of
the image and of some crops of it (faiss), and each of these pairs is aligned (OpenCV, findTransformECC: Evangelidis and
Psarakis 2008) and its correlation taken over the part that both show. docs/repeats.md has the performance.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import combinations, pairwise, product
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

#: Two images are near repeats if their aligned thumbnails have a correlation of at least this.
LEAST_CORRELATION = 0.79
#: Parts cut off at the top, bottom, left and right of an image that is looked for among the others, as shares.
_CROPS = (
    (0.0, 0.0, 0.0, 0.0),
    *((share, share, share, share) for share in (0.02, 0.04, 0.06, 0.09)),
    *((share, 0.0, 0.0, 0.0) for share in (0.04, 0.08, 0.14)),
    (0.0, 0.06, 0.0, 0.0),
    *((0.0, 0.0, 0.05, 0.0), (0.0, 0.0, 0.0, 0.05), (0.0, 0.0, 0.1, 0.1)),
)
_SIDE = 16  # of the descriptor (pixels)
NEIGHBOURS = 6
#: Neighbours that are less alike than this are not aligned (cosine of the descriptors).
LEAST_COSINE = 0.75
_BATCH = 2048
#: Up to this many images the nearest neighbours are searched among all.
_EXACT = 20_000
#: Of up to this many images with the same thumbnail, each is paired with each.
_FEW = 50
_LEAST_OVERLAP = 0.5  # of the thumbnail
#: Side of the aligned thumbnails, size of the detail compared (pixels), and the least correlation to go on.
_LEVELS = ((32, 2.0, 0.7), (96, 2.3, LEAST_CORRELATION))
_EVERYWHERE = {side: np.ones((side, side), np.uint8) for side, _, _ in _LEVELS}
_STEPS = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 1e-4)

Pairs = NDArray[np.int64]
Floats = NDArray[np.float32]


def near_pairs(thumbnails: list[bytes]) -> Pairs:
    """Pairs of near repeats among n images: int64 (pairs, 2), first < second, in ascending order.

    thumbnails  n square uint8 thumbnails as bytes, all of one size
    Of many images with the same thumbnail, neighbours are paired only. An image without contrast is in no pair.
    """
    where: dict[bytes, list[int]] = {}
    for position, content in enumerate(thumbnails):
        where.setdefault(content, []).append(position)
    unique = [content for content in where if np.ptp(_square(content))]
    found = [pair for content in unique for pair in _among(where[content])]
    for a, b in _near_unique(unique):
        both = where[unique[a]], where[unique[b]]
        found += product(*both) if len(both[0]) * len(both[1]) <= _FEW**2 else [(both[0][0], both[1][0])]
    return np.array(sorted((min(a, b), max(a, b)) for a, b in found), dtype=np.int64).reshape(-1, 2)


def _among(positions: list[int]) -> Iterable[tuple[int, int]]:
    return combinations(positions, 2) if len(positions) <= _FEW else pairwise(positions)


def _near_unique(thumbnails: list[bytes]) -> list[tuple[int, int]]:
    """Pairs of near repeats among different thumbnails, as positions."""
    if len(thumbnails) < 2:
        return []
    from cxrflow.terminal import track  # worker processes that need ``normalised`` alone do without it

    index = search_index(np.stack([descriptor(_square(content)) for content in thumbnails]))
    confirmed: dict[tuple[int, int], bool] = {}
    rows, count = np.arange(len(thumbnails)), NEIGHBOURS
    # An image whose neighbours are all repeats of it may have more repeats than neighbours were asked for.
    while len(rows):
        again = []
        batches = [rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH)]
        for batch in track(batches, "comparing images", disable=len(thumbnails) < _BATCH):
            near = list(zip(batch.tolist(), _neighbours(index, thumbnails, batch, count), strict=True))
            asked = [(row, other, crop) for row, others in near for other, crop in others]
            asked = [each for each in asked if not confirmed.get((min(each[:2]), max(each[:2])))]
            with ThreadPoolExecutor() as pool:  # OpenCV aligns without Python's lock
                alike = pool.map(lambda each: correlation(thumbnails[each[0]], thumbnails[each[1]], each[2]), asked)
                for (row, other, _), value in zip(asked, alike, strict=True):
                    pair = (min(row, other), max(row, other))
                    confirmed[pair] = confirmed.get(pair, False) or value >= LEAST_CORRELATION
            for row, others in near:
                if len(others) == count and all(confirmed[min(row, other), max(row, other)] for other, _ in others):
                    again.append(row)
        rows, count = np.array(again if count < len(thumbnails) - 1 else [], dtype=np.int64), 4 * count
    return [pair for pair, alike in confirmed.items() if alike]


def search_index(descriptors: Floats) -> Any:
    """A faiss index of the descriptors: exact, or for many images of cells, of which the nearest are searched."""
    import faiss  # what compares no images need not wait for it

    count, size = descriptors.shape
    index: Any = faiss.IndexFlatIP(size)
    if count > _EXACT:
        cells = int(4 * count**0.5)
        index = faiss.IndexIVFFlat(index, size, cells, faiss.METRIC_INNER_PRODUCT)
        index.train(descriptors[:: max(1, count // (64 * cells))])
        index.nprobe = cells // 16
    index.add(descriptors)
    return index


def _neighbours(index: Any, thumbnails: list[bytes], rows: Pairs, count: int) -> list[list[tuple[int, int]]]:
    """For each row its up to ``count`` nearest other images, with the crop of the row's image that is nearest to it."""
    cropped = [descriptor(part) for row in rows for part in crops(_square(thumbnails[row]))]
    cosines, positions = index.search(np.stack(cropped), min(count + 1, len(thumbnails)))
    out = []
    for at, row in enumerate(rows.tolist()):
        part = slice(at * len(_CROPS), (at + 1) * len(_CROPS))
        best: dict[int, tuple[float, int]] = {}
        for crop, (likeness, others) in enumerate(zip(cosines[part], positions[part], strict=True)):
            for cosine, other in zip(likeness.tolist(), others.tolist(), strict=True):
                if other != row and cosine >= LEAST_COSINE:
                    best[other] = max(best.get(other, (0.0, 0)), (cosine, crop))
        nearest = sorted(best.items(), key=lambda item: -item[1][0])[:count]
        out.append([(other, crop) for other, (_, crop) in nearest])
    return out


def correlation(one: bytes, other: bytes, crop: int = 0) -> float:
    """Correlation of two aligned thumbnails over the part that both show, in [-1, 1]; 0 if they cannot be aligned.

    one, other  square uint8 thumbnails as bytes, of the same size
    crop        which of _CROPS of ``one`` looks most like ``other``; the alignment, an affine one, starts there
    Most pairs are told apart at a third of the size, in a tenth of the time; the result is then that correlation.
    """
    top, bottom, left, right = _CROPS[crop]
    linear, shift = np.diag([1 - left - right, 1 - top - bottom]), np.array([left, top])  # shift in thumbnails
    for side, detail, least in _LEVELS:
        first, second = normalised(one, side, detail), normalised(other, side, detail)
        matrix = np.column_stack([linear, shift * side]).astype(np.float32)
        try:
            _, found = cv2.findTransformECC(second, first, matrix, cv2.MOTION_AFFINE, _STEPS, _EVERYWHERE[side], 3)
        except cv2.error:  # it does not converge: they have too little in common
            return 0.0
        matrix = np.asarray(found)
        linear, shift = matrix[:, :2], matrix[:, 2] / side
        flags = cv2.WARP_INVERSE_MAP
        both = cv2.warpAffine(_EVERYWHERE[side], matrix, (side, side), flags=flags | cv2.INTER_NEAREST) > 0
        if both.mean() < _LEAST_OVERLAP:
            return 0.0
        moved = cv2.warpAffine(first, matrix, (side, side), flags=flags | cv2.INTER_LINEAR)
        a, b = moved[both] - moved[both].mean(), second[both] - second[both].mean()
        scale = float(np.sqrt((a @ a) * (b @ b)))
        alike = float(a @ b) / scale if scale else 0.0
        if alike < least:
            break
    return alike


@lru_cache(maxsize=8192)
def normalised(content: bytes, side: int, detail: float) -> Floats:
    """A thumbnail of (side, side) with local mean 0 and local deviation about 1: what exposure and CLAHE hardly change.

    detail  standard deviation of the Gaussian that defines "local" (pixels)
    Values are clipped, which bounds the weight of burnt-in text.
    """
    small = cv2.resize(_square(content), (side, side), interpolation=cv2.INTER_AREA)
    equal = cv2.createCLAHE(8, (4, 4)).apply(cv2.equalizeHist(small)).astype(np.float32)
    fine = equal - cv2.GaussianBlur(equal, (0, 0), detail)
    deviation = np.sqrt(cv2.GaussianBlur(fine * fine, (0, 0), detail)) + 8
    return np.asarray((fine / deviation).clip(-2, 2), np.float32)


def descriptor(thumbnail: NDArray[np.uint8]) -> Floats:
    """Unit vector (_SIDE ** 2) of an equalised, shrunk thumbnail less its coarse shades; 0 without contrast."""
    small = cv2.resize(cv2.equalizeHist(thumbnail), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    fine = (small - cv2.GaussianBlur(small, (0, 0), _SIDE / 4)).ravel()
    fine -= fine.mean()
    length = float(np.linalg.norm(fine))
    return fine / length if length else fine


def crops(thumbnail: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """The parts of an image that are looked for among the others, at the size of the thumbnail: one for each of
    _CROPS."""
    side = len(thumbnail)
    large = cv2.resize(thumbnail, (4 * side, 4 * side), interpolation=cv2.INTER_CUBIC)
    parts = []
    for top, bottom, left, right in _CROPS:
        rows = slice(int(4 * side * top), 4 * side - int(4 * side * bottom))
        columns = slice(int(4 * side * left), 4 * side - int(4 * side * right))
        parts.append(np.asarray(cv2.resize(large[rows, columns], (side, side), interpolation=cv2.INTER_AREA), np.uint8))
    return parts


def _square(content: bytes) -> NDArray[np.uint8]:
    side = int(len(content) ** 0.5)
    return np.frombuffer(content, np.uint8).reshape(side, side)
