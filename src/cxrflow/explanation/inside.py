"""How much of a heat map lies inside a mask, and whether its hottest point does."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cxrflow.statistics.figure import Figure
from cxrflow.statistics.intervals import clustered_mean, proportion


class Inside(NamedTuple):
    """A heat map and a mask of one picture.

    heat     share of the heat inside the mask
    area     share of the picture inside the mask
    pointed  whether the hottest point lies inside, without tolerance (the pointing game: Zhang et al. 2018, Int J
             Comput Vis 126: 1084-1102, section 4.1); the first of several in reading order
    """

    heat: float
    area: float
    pointed: bool


def measure(heat: NDArray[np.floating[Any]], mask: NDArray[np.bool_] | None) -> Inside | None:
    """Heat, float (size, size), 0 or more, in a mask, bool (size, size); None without a mask, or if either is 0."""
    if mask is None or not mask.any() or not heat.any():
        return None
    hottest = np.unravel_index(heat.argmax(), heat.shape)
    return Inside(float(heat[mask].sum() / heat.sum()), float(mask.mean()), bool(mask[hottest]))


def figures(measured: Sequence[Inside], groups: Sequence[str], nothing: str) -> dict[str, Figure]:
    """Means over pictures with intervals by group: ``heat``, ``area``, ``gain`` (heat less area: positive where the
    mask is hotter than the rest), and ``pointing``, the share of pictures whose hottest point lies inside.

    nothing  the reason if there are no pictures
    """
    values, by = np.array(measured, np.float64).reshape(-1, len(Inside._fields)), np.array(groups)
    heat, area, pointed = values.T
    return {
        "heat": clustered_mean(heat, by, nothing),
        "area": clustered_mean(area, by, nothing),
        "gain": clustered_mean(heat - area, by, nothing),
        "pointing": proportion(pointed > 0, by, nothing),
    }
