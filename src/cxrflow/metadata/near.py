"""Near repeats: the same picture resized, saved again or slightly cropped."""

import faiss
import numpy as np
from numpy.typing import NDArray

#: Most bits of 256 in which the difference hashes of two near repeats differ, and least correlation of their 64 x 64
#: thumbnails. The usual 64-bit hash within 10 bits links most radiographs into one group; these two criteria together
#: find only true repeats (design.md, "Duplicates").
MOST_BITS = 14
LEAST_CORRELATION = 0.97


def near_pairs(hashes: list[str], thumbnails: list[bytes]) -> NDArray[np.int64]:
    """Pairs of near repeats among n pictures.

    hashes      n difference hashes, hexadecimal, 256 bits
    thumbnails  n square uint8 thumbnails as bytes, all of one size
    Returns (pairs, 2) int64, first < second, in ascending order.
    """
    pairs = like_hashes(hashes, hashes)
    pairs = pairs[pairs[:, 0] < pairs[:, 1]]
    return pairs[[_correlation(thumbnails[a], thumbnails[b]) >= LEAST_CORRELATION for a, b in pairs]]


def like_hashes(hashes: list[str], others: list[str]) -> NDArray[np.int64]:
    """Positions in ``hashes`` and in ``others`` of hashes that differ in at most MOST_BITS bits, (pairs, 2) int64 in
    ascending order. The search is exact; its time grows with the product of both numbers (22,000 each: 0.5 s)."""
    if not hashes or not others:
        return np.empty((0, 2), dtype=np.int64)
    index = faiss.IndexBinaryFlat(256)
    index.add(_bits(others))
    limits, _, found = index.range_search(_bits(hashes), MOST_BITS + 1)  # below the radius
    pairs = np.stack([np.repeat(np.arange(len(hashes)), np.diff(limits).astype(np.int64)), found], axis=1)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def _bits(hashes: list[str]) -> NDArray[np.uint8]:
    return np.frombuffer(bytes.fromhex("".join(hashes)), dtype=np.uint8).reshape(len(hashes), 32)


def _correlation(a: bytes, b: bytes) -> float:
    x, y = (np.frombuffer(t, dtype=np.uint8).astype(np.float64) for t in (a, b))
    x, y = x - x.mean(), y - y.mean()
    scale = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / scale) if scale else float(a == b)
