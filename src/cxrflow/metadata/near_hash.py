"""Near hashes: what a bundle keeps of the images that it was trained on, to recognise near repeats of them.

A bundle is given away, so it holds nothing that shows a patient, as a thumbnail would: of 18 x 18 places, one bit each,
whether it is brighter than its surroundings. Whoever checks an image against these bits has the image itself, and so
can weigh each place by its contrast and try many frames: asymmetric, as in Gordo et al. 2014 ("Asymmetric Distances for
Binary Embeddings"). docs/repeats.md has the performance.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from cxrflow.metadata.near import Floats, normalised
from cxrflow.reading import to_uint8

#: An image that agrees with a near hash at least this much is the same picture.
SAME = 0.88
#: An image that agrees with a near hash at least this much is similar; it may be of another person.
SIMILAR = 0.85
#: Side of the thumbnails on which near repeats are found (pixels).
THUMBNAIL = 96
#: A row or column of the image whose greys span at most this many of 255 is border; the image keeps its borders if less
#: than this share of its rows or columns is left without them.
_ONE_GREY, _LEAST_SHOWN = 16, 0.3
_SIDE = 18
_DETAIL = 3.0
#: Hexadecimal digits of a near hash. Those of bundles from before had 64, of another meaning.
DIGITS = _SIDE**2 // 4
_EACH = (0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1)
_CROPS = (
    *((share,) * 4 for share in _EACH),
    *((share, 0, 0, 0) for share in (0.02, 0.04, 0.06, 0.08, 0.1, 0.13, 0.15)),
    *((0, share, 0, 0) for share in (0.03, 0.06, 0.1)),
    *((0, 0, share, 0) for share in (0.025, 0.05, 0.1)),
    *((0, 0, 0, share) for share in (0.025, 0.05, 0.1)),
    # The centre square of a wide or a high image; with the top cut off before, as COVID-Net does.
    *((top, 0, share, share) for top in (0, 0.08) for share in (0.03, 0.06, 0.1, 0.14)),
    *((top + share, share, 0, 0) for top in (0, 0.08) for share in (0.03, 0.06, 0.1)),
)
#: What an image may show of the seen one, as shares cut off at the top, bottom, left and right; negative if the seen
#: image was cut.
_FRAMES = ((0, 0, 0, 0), *_CROPS, *(tuple(-share for share in crop) for crop in _CROPS))
_BATCH = 2**25  # numbers in memory
_SHRUNK = 4 * THUMBNAIL  # longer side of what ``contrast`` sees (pixels)


def thumbnail(grey: np.ndarray) -> np.ndarray:
    """The thumbnail that near.py compares: uint8 (THUMBNAIL, THUMBNAIL), without a border of one grey around the image.

    grey  uint8 (height, width)
    Published copies of a radiograph are often framed, or padded to a square.
    """
    rows, columns = (np.flatnonzero(np.ptp(grey, axis=axis) > _ONE_GREY) for axis in (1, 0))
    if len(rows) > _LEAST_SHOWN * grey.shape[0] and len(columns) > _LEAST_SHOWN * grey.shape[1]:
        grey = grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.asarray(cv2.resize(grey, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA), np.uint8)


def near_hash(thumbnail: bytes) -> str:
    """The near hash of a thumbnail (fingerprint.py): DIGITS hexadecimal digits."""
    bits = np.packbits(_contrast(normalised(thumbnail, THUMBNAIL, _DETAIL), _FRAMES[:1]) > 0)
    return bits.tobytes().hex()[:DIGITS]


def contrast(grey: np.ndarray) -> Floats:
    """The contrast of each place of a whole image with its surroundings, float32 (places,), for ``matches``.

    grey  uint8 or uint16 (height, width); of a large one every n-th pixel, then shrunk, before anything else: a
          fraction of the work of the thumbnail of all pixels, from which it differs less than a copy may
    """
    step = max(1, min(grey.shape) // (2 * _SHRUNK))
    grey = np.ascontiguousarray(grey[::step, ::step])
    scale = _SHRUNK / max(grey.shape)
    sides = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
    small = cv2.resize(grey, sides, interpolation=cv2.INTER_AREA) if scale < 1 else grey
    uncached = normalised.__wrapped__  # each image is asked about once, and the cache would hold 8,192 of them
    return np.asarray(_contrast(uncached(thumbnail(to_uint8(small)).tobytes(), THUMBNAIL, _DETAIL), _FRAMES[:1])[0])


def matches(contrasts: Floats, hashes: Floats) -> NDArray[np.bool_]:
    """Whether each image is the same picture, uncropped, as one of the near hashes: bool (n,).

    contrasts  float32 (n, places), as ``contrast``; hashes  float32 (k, places), as ``signs``
    """
    if not len(hashes):
        return np.zeros(len(contrasts), bool)
    weights = np.maximum(np.abs(contrasts).sum(axis=1), 1e-6)
    return np.asarray((contrasts @ hashes.T).max(axis=1) / weights >= SAME)


def agreement(thumbnails: Sequence[bytes], hashes: Sequence[str]) -> NDArray[np.float64]:
    """The best agreement of each thumbnail with one of the near hashes: float (n,) in [-1, 1], -1 if there are none.

    1 means that every place is on the side of its surroundings that the hash says, 0 that half of them are, places
    weighed by their contrast.
    """
    best = np.full(len(thumbnails), -1.0)
    if not hashes:
        return best
    of_hashes = signs(hashes)
    at_once = max(1, _BATCH // (len(_FRAMES) * len(of_hashes)))
    for start in range(0, len(thumbnails), at_once):
        wholes = (normalised(thumbnail, THUMBNAIL, _DETAIL) for thumbnail in thumbnails[start : start + at_once])
        part = np.concatenate([_contrast(whole, _FRAMES) for whole in wholes])
        weights = np.maximum(np.abs(part).sum(axis=1), 1e-6)
        found = (part @ of_hashes.T).max(axis=1) / weights
        best[start : start + at_once] = found.reshape(-1, len(_FRAMES)).max(axis=1)
    return best


def signs(hashes: Sequence[str]) -> Floats:
    """The hashes as -1 and 1: float32 (hashes, places)."""
    whole_bytes = bytes.fromhex("".join(f"{text}0" for text in dict.fromkeys(hashes)))
    bits = np.unpackbits(np.frombuffer(whole_bytes, np.uint8)).reshape(-1, 4 * (DIGITS + 1))
    return bits[:, : _SIDE**2].astype(np.float32) * 2 - 1


def _contrast(whole: Floats, frames: Sequence[tuple[float, ...]]) -> Floats:
    """Contrast of each place with its surroundings within each frame: float32 (frames, places), 0 beyond the image.

    whole  thumbnail, from ``normalised``
    """
    everywhere = np.ones_like(whole)
    values = []
    for frame in frames:
        shown, inside = (_within(image, frame) for image in (whole, everywhere))
        values.append(np.where(inside > 0.99, shown, 0).ravel())
    return np.array(values, np.float32)


def _within(image: Floats, frame: tuple[float, ...]) -> Floats:
    top, bottom, left, right = frame
    part = np.array([[1 - left - right, 0, left * THUMBNAIL], [0, 1 - top - bottom, top * THUMBNAIL]], np.float32)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(image, part, (THUMBNAIL, THUMBNAIL), flags=flags)
    return np.asarray(cv2.resize(moved, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), np.float32)
