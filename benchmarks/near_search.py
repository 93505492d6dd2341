"""The nearest-neighbour search of the near repeats among a million images, by simulation.

    python benchmarks/near_search.py FOLDER 100000 1000000 [--asked 1000]

A million real radiographs are not here, so their descriptors are drawn from the normal distribution with the mean and
covariance of real ones (FOLDER: collections as for `make run`). Of ``asked`` images a repeat is planted, as
unlike the first one as a real copy, changed as in near_repeats.py, is unlike its original. Prints how crowded the drawn
descriptors are beside the real ones; then, for each number of images, the processor time of building the index and of
looking one image up in it, and how many of the planted repeats are among the neighbours that the index finds, and
among the nearest of all. What aligning a pair costs, and that it links no two people, does not depend on the number of
images; near_repeats.py measures both.
"""

import argparse
import resource
import time
from pathlib import Path

import cv2
import numpy as np
from near_repeats import changes
from numpy.typing import NDArray
from tables import table, track

from cxrflow.errors import LeftOut
from cxrflow.metadata.near import LEAST_COSINE, NEIGHBOURS, crops, descriptor, search_index
from cxrflow.metadata.near_hash import thumbnail
from cxrflow.reading import read_radiograph, to_uint8
from images import radiographs

Floats = NDArray[np.float32]
#: Real radiographs, for the covariance; of the first ones, changed copies.
REAL, CHANGED = 600, 30


def real(folder: Path) -> tuple[Floats, Floats]:
    """Descriptors of real radiographs, (n, size), and the likeness of changed copies to them: cosines, (copies,)."""
    files = radiographs(folder)
    files = [files[k] for k in np.random.default_rng(0).permutation(len(files))[:REAL]]
    descriptors, cosines = [], []
    for file in track(files, "reading images"):
        try:
            grey = to_uint8(read_radiograph(file))
        except LeftOut:
            continue
        own = descriptor(thumbnail(grey))
        if len(descriptors) < CHANGED:
            scale = min(1, 512 / max(grey.shape))
            small = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            for _, _, change in changes():
                looked_for = [descriptor(part) for part in crops(thumbnail(change(small)))]
                cosines.append(max(float(own @ part) for part in looked_for))
        descriptors.append(own)
    return np.stack(descriptors), np.array(cosines, np.float32)


def drawn(random: np.random.Generator, like: Floats, count: int) -> Floats:
    """Unit vectors (count, size) from the normal distribution with the mean and covariance of the rows of ``like``."""
    mean, factor = like.mean(axis=0), np.linalg.svd(like - like.mean(axis=0), full_matrices=False)
    spread = (factor.S[:, None] * factor.Vh / len(like) ** 0.5).astype(np.float32)
    out = np.empty((count, like.shape[1]), np.float32)
    for start in range(0, count, 1 << 16):
        part = random.standard_normal((min(1 << 16, count - start), len(spread)), np.float32) @ spread + mean
        out[start : start + len(part)] = part / np.linalg.norm(part, axis=1, keepdims=True)
    return out


def repeats_of(random: np.random.Generator, first: Floats, cosines: Floats, like: Floats) -> Floats:
    """Unit vectors whose cosines with those of ``first`` are drawn from ``cosines``."""
    other = drawn(random, like, len(first))
    other -= (other * first).sum(axis=1, keepdims=True) * first
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    cosine = random.choice(cosines, len(first)).astype(np.float32)[:, None]
    return np.asarray(cosine * first + np.sqrt(1 - cosine**2) * other, np.float32)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("images", type=int, nargs="+")
    parser.add_argument("--asked", type=int, default=1000)
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    like, cosines = real(asked.folder)
    same = drawn(np.random.default_rng(0), like, len(like))
    crowded = [(f"{name}, {len(of):,}", *crowding(of)) for name, of in (("real", like), ("drawn", same))]
    table(("radiographs", "others that would be aligned, an image", "likeness of the nearest, median"), crowded)
    close = cosines[cosines >= LEAST_COSINE]  # others are not aligned, and found at no number of images
    table(
        ("images", "index", "search, an image", "of all (arithmetic)", "repeats found", "exact search", "peak"),
        [searched(like, close, count, asked.asked) for count in asked.images],
    )


def crowding(descriptors: Floats) -> tuple[str, str]:
    """How many others are alike enough to be aligned with an image, and the cosine of the nearest one."""
    cosines = descriptors @ descriptors.T
    np.fill_diagonal(cosines, -1)
    return f"{(cosines >= LEAST_COSINE).sum(axis=1).mean():.1f}", f"{np.median(cosines.max(axis=1)):.2f}"


def searched(like: Floats, cosines: Floats, count: int, asked: int) -> tuple[str, ...]:
    """A row of the table: ``asked`` repeats are looked for among ``count`` images."""
    import faiss

    random = np.random.default_rng(count)
    descriptors = drawn(random, like, count)
    start = time.process_time()
    index = search_index(descriptors)
    built = time.process_time() - start
    whose = random.permutation(count)[:asked]
    looked_for = repeats_of(random, descriptors[whose], cosines, like)
    start = time.process_time()
    _, found = index.search(looked_for, NEIGHBOURS + 1)
    each = (time.process_time() - start) / len(whose) * len(crops(np.zeros((96, 96), np.uint8)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    _, nearest = faiss.knn(looked_for, descriptors, NEIGHBOURS + 1, metric=faiss.METRIC_INNER_PRODUCT)
    by_index, by_all = ((places == whose[:, None]).any(axis=1).sum() for places in (found, nearest))
    return (
        f"{count:,}",
        f"{built:,.0f} s",
        f"{1000 * each:,.1f} ms",
        f"{count * each / 3600:,.1f} h",
        f"{by_index:,} of {len(whose):,}",
        f"{by_all:,}",
        f"{peak:.1f} GiB",
    )


if __name__ == "__main__":
    main()
