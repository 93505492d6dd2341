"""Group-bootstrap weights: groups of images drawn with replacement."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Smallest number of groups from which a between-group variance is estimated; with fewer the estimate misleads.
LEAST_GROUPS = 4
_CHUNK = 100  # resamples at a time, to bound the memory


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """Number of resamples of groups, and the seed, which alone determines the draws."""

    count: int
    seed: int


def too_few_groups(count: int, needed: int = LEAST_GROUPS, of: str = "patients") -> str:
    """The reason given where a figure needs more groups: ``only 3 groups of patients; at least 4 are needed``."""
    return f"only {count} group{'' if count == 1 else 's'} of {of}; at least {needed} are needed"


def resamples(
    sides: list[NDArray[np.bool_]], groups: NDArray[Any], bootstrap: Bootstrap
) -> Iterator[NDArray[np.int64]]:
    """Group-bootstrap weights: how often each image is drawn when groups are drawn with replacement (Field and Welsh, J
    R Stat Soc B 2007; 69: 369-390). Yields chunks, int (rows, n), with ``bootstrap.count`` rows in all.

    sides   bool (n,) each, with at least one True; a resample without an image of some side is drawn again
    groups  (n,)
    """
    index = group_index(groups)
    k = int(index.max()) + 1
    holds = np.array([np.bincount(index[side], minlength=k) for side in sides]).T
    rng, count = np.random.default_rng(bootstrap.seed), bootstrap.count
    for start in range(0, count, _CHUNK):
        drawn = rng.multinomial(k, np.full(k, 1 / k), size=min(_CHUNK, count - start))
        while (empty := (drawn @ holds == 0).any(axis=1)).any():
            drawn[empty] = rng.multinomial(k, np.full(k, 1 / k), size=int(empty.sum()))
        yield drawn[:, index]


def group_index(groups: NDArray[Any]) -> NDArray[np.intp]:
    """Groups (n,) numbered from 0, int (n,)."""
    values = np.asarray(groups)
    return np.unique(values.astype(str) if values.dtype == object else values, return_inverse=True)[1]


def effective_groups(groups: NDArray[Any]) -> float:
    """The effective number of groups, n^2 / sum(m^2) for groups of m images, n in all: the number of equally sized
    groups that carry as much information; 0 without images."""
    if len(groups) == 0:
        return 0.0
    sizes = np.bincount(group_index(groups))
    return float(sizes.sum() ** 2 / (sizes**2).sum())
