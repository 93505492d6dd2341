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

#: An image that agrees with a near hash at least this much is the same picture.
SAME = 0.88
#: An image that agrees with a near hash at least this much is similar; it may be of another person.
SIMILAR = 0.85
_SIDE = 18
_THUMBNAIL, _DETAIL = 96, 3.0
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


def near_hash(thumbnail: bytes) -> str:
    """The near hash of a thumbnail (fingerprint.py): DIGITS hexadecimal digits."""
    bits = np.packbits(_contrast(thumbnail, _FRAMES[:1]) > 0)
    return bits.tobytes().hex()[:DIGITS]


def agreement(thumbnails: Sequence[bytes], hashes: Sequence[str]) -> NDArray[np.float64]:
    """The best agreement of each thumbnail with one of the near hashes: float (n,) in [-1, 1], -1 if there are none.

    1 means that every place is on the side of its surroundings that the hash says, 0 that half of them are, places
    weighed by their contrast.
    """
    best = np.full(len(thumbnails), -1.0)
    if not hashes:
        return best
    signs = _signs(hashes)
    at_once = max(1, _BATCH // (len(_FRAMES) * len(signs)))
    for start in range(0, len(thumbnails), at_once):
        part = np.concatenate([_contrast(thumbnail, _FRAMES) for thumbnail in thumbnails[start : start + at_once]])
        weights = np.maximum(np.abs(part).sum(axis=1), 1e-6)
        found = (part @ signs.T).max(axis=1) / weights
        best[start : start + at_once] = found.reshape(-1, len(_FRAMES)).max(axis=1)
    return best


def _signs(hashes: Sequence[str]) -> Floats:
    """The hashes as -1 and 1: float32 (hashes, places)."""
    whole_bytes = bytes.fromhex("".join(f"{text}0" for text in dict.fromkeys(hashes)))
    bits = np.unpackbits(np.frombuffer(whole_bytes, np.uint8)).reshape(-1, 4 * (DIGITS + 1))
    return bits[:, : _SIDE**2].astype(np.float32) * 2 - 1


def _contrast(thumbnail: bytes, frames: Sequence[tuple[float, ...]]) -> Floats:
    """Contrast of each place with its surroundings within each frame: float32 (frames, places), 0 beyond the image."""
    whole = normalised(thumbnail, _THUMBNAIL, _DETAIL)
    everywhere = np.ones_like(whole)
    values = []
    for frame in frames:
        shown, inside = (_within(image, frame) for image in (whole, everywhere))
        values.append(np.where(inside > 0.99, shown, 0).ravel())
    return np.array(values, np.float32)


def _within(image: Floats, frame: tuple[float, ...]) -> Floats:
    top, bottom, left, right = frame
    part = np.array([[1 - left - right, 0, left * _THUMBNAIL], [0, 1 - top - bottom, top * _THUMBNAIL]], np.float32)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(image, part, (_THUMBNAIL, _THUMBNAIL), flags=flags)
    return np.asarray(cv2.resize(moved, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), np.float32)
