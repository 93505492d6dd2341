"""Near repeats: the same picture resized, resaved or slightly cropped."""

import numpy as np

#: Bits of 256 that the difference hashes of two repeats may differ in, and the least correlation of their
#: 64 x 64 thumbnails. The usual 64-bit hash within 10 bits chains most radiographs into one group; these two
#: together find only true repeats (design.md, "Duplicates").
MOST_BITS = 14
LEAST_CORRELATION = 0.97
_ROWS = 512


def near_pairs(hashes: list[str], thumbnails: list[bytes]) -> np.ndarray:
    """Pairs of near repeats among n pictures.

    hashes      n difference hashes, hexadecimal, 256 bits
    thumbnails  n square uint8 thumbnails as bytes, all of one size
    Returns (pairs, 2) int64, first < second, in ascending order. Memory grows with n, time with n squared
    (22,000 pictures: 240 million comparisons of 4 words).
    """
    n = len(hashes)
    words = hash_words(hashes)
    candidates = []
    for start in range(0, n, _ROWS):
        block = words[start : start + _ROWS]
        differing = np.zeros((len(block), n - start), dtype=np.uint16)
        for word in range(4):
            differing += np.bitwise_count(block[:, None, word] ^ words[None, start:, word])
        rows, columns = np.nonzero(differing <= MOST_BITS)
        candidates.append(np.stack([rows, columns], axis=1)[columns > rows] + start)
    pairs = np.concatenate(candidates) if candidates else np.empty((0, 2), dtype=np.int64)
    return pairs[[_correlation(thumbnails[a], thumbnails[b]) >= LEAST_CORRELATION for a, b in pairs]]


def hash_words(hashes: list[str]) -> np.ndarray:
    """Difference hashes, 64 hexadecimal digits each, as uint64 (n, 4)."""
    return np.frombuffer(bytes.fromhex("".join(hashes)), dtype=np.uint64).reshape(len(hashes), 4)


def _correlation(a: bytes, b: bytes) -> float:
    x, y = (np.frombuffer(t, dtype=np.uint8).astype(np.float64) for t in (a, b))
    x, y = x - x.mean(), y - y.mean()
    scale = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / scale) if scale else float(a == b)
