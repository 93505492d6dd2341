"""Near repeats (near-duplicates): the same image resized, re-encoded or slightly cropped."""

import numpy as np
from numpy.typing import NDArray

#: Two images are near repeats if their 256-bit difference hashes differ in at most MOST_BITS bits and their 64 x 64
#: thumbnails have a correlation of at least LEAST_CORRELATION. The usual criterion, 64-bit hashes within 10 bits, would
#: link most radiographs into one group; these two together find only true repeats (design.md, "Duplicates").
MOST_BITS = 14
LEAST_CORRELATION = 0.97


def near_pairs(hashes: list[str], thumbnails: list[bytes]) -> NDArray[np.int64]:
    """Pairs of near repeats among n images.

    hashes      n difference hashes, hexadecimal, 256 bits
    thumbnails  n square uint8 thumbnails as bytes, all of one size
    Returns (pairs, 2) int64, first < second, in ascending order.
    """
    pairs = like_hashes(hashes, hashes)
    pairs = pairs[pairs[:, 0] < pairs[:, 1]]
    return pairs[[_correlation(thumbnails[a], thumbnails[b]) >= LEAST_CORRELATION for a, b in pairs]]


def like_hashes(hashes: list[str], others: list[str]) -> NDArray[np.int64]:
    """Pairs of hashes that differ in at most MOST_BITS bits: positions in ``hashes`` and ``others``, int64 (pairs, 2).

    Pairs are in ascending order. The search is exact; its time grows with the product of both numbers (22,000 each:
    0.5 s).
    """
    if not hashes or not others:
        return np.empty((0, 2), dtype=np.int64)
    import faiss  # what compares no hashes need not wait for it

    index = faiss.IndexBinaryFlat(256)
    index.add(_bits(others))
    limits, _, found = index.range_search(_bits(hashes), MOST_BITS + 1)  # faiss: distance < radius
    pairs = np.stack([np.repeat(np.arange(len(hashes)), np.diff(limits).astype(np.int64)), found], axis=1)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def _bits(hashes: list[str]) -> NDArray[np.uint8]:
    return np.frombuffer(bytes.fromhex("".join(hashes)), dtype=np.uint8).reshape(len(hashes), 32)


def _correlation(a: bytes, b: bytes) -> float:
    x, y = (np.frombuffer(t, dtype=np.uint8).astype(np.float64) for t in (a, b))
    x, y = x - x.mean(), y - y.mean()
    scale = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / scale) if scale else float(a == b)
