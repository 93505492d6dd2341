"""Prediction sets that hold the true class of a new patient's image as often as they say: split conformal prediction,
calibrated on val. Of patients with many images who are alike, fewer or more of all images can be held.

Angelopoulos and Bates, Found Trends Mach Learn 2023; 16: 494-591, section 1.1, within each class (section 4.2), since
a set that is right on average can leave out the rare class. MAPIE, the reference in the tests, knows neither groups
nor numbers that fit into ``bundle.json``.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrflow.bundle import PredictionSets
from cxrflow.records import CLASSES
from cxrflow.statistics.intervals import Figure, mean_over_groups, missing, proportion
from cxrflow.statistics.resampling import group_index


def fit_sets(
    probabilities: NDArray[Any], labels: NDArray[Any], groups: NDArray[Any], coverage: float
) -> PredictionSets:
    """From which probability on a class is in the set.

    probabilities  float (n, 3) in the order of CLASSES; labels  str (n,), each class present; groups  (n,)
    coverage       wanted chance, in (0, 1), that the set of an image of a new group holds its class, in each class: the
                   mean over groups of the share of their images of it
    A class with fewer than about 1 / (1 - coverage) groups is in every set: nothing less is safe.
    """
    least = {}
    for c, name in enumerate(CLASSES):
        of_class = labels == name
        least[name] = lower_quantile(probabilities[of_class, c], groups[of_class], coverage)
    return PredictionSets(coverage=coverage, least=least)


def lower_quantile(scores: NDArray[Any], groups: NDArray[Any], coverage: float) -> float:
    """The greatest number that an image of a new group reaches with a probability of at least ``coverage``, or 0.

    scores  float (n,) in [0, 1], n > 0; groups  (n,). Of k groups each weighs 1 / (k + 1), shared by its images, and
    the new group the rest (Lee, Barber and Willett, arXiv:2306.06342, section 2); with one image a group it is the
    floor((1 - coverage) (k + 1))-th smallest score.
    """
    index = group_index(groups)
    sizes = np.bincount(index)
    weights = 1 / (sizes[index] * (len(sizes) + 1))
    order = np.argsort(scores, kind="stable")
    below = 1 / (len(sizes) + 1) + np.r_[0, np.cumsum(weights[order])[:-1]]  # the new group's, as if lowest
    allowed = np.flatnonzero(below <= 1 - coverage + 1e-12)
    return float(scores[order][allowed[-1]]) if len(allowed) else 0.0


def set_figures(
    probabilities: NDArray[Any], labels: NDArray[Any], groups: NDArray[Any], sets: PredictionSets | None
) -> dict[str, Any]:
    """Whether the sets hold on test: ``coverage``, over all images and those of each class, the mean over groups of the
    share of their images whose set holds the true class, which is what the sets promise; ``single``, the share of
    images with one class in the set; ``empty``; ``mean_size``; ``wanted`` and ``least`` of the bundle."""
    if sets is None:
        reason: Figure = missing("the bundle has no prediction sets: train it again")
        return {"wanted": None, "least": None, "mean_size": None, "single": reason, "empty": reason,
                "coverage": dict.fromkeys(("all", *CLASSES), reason)}  # fmt: skip
    held = sets.held(probabilities)
    right = held[np.arange(len(labels)), [CLASSES.index(label) for label in labels]]
    coverage = {"all": mean_over_groups(right, groups)}
    for name in CLASSES:
        of_class = labels == name
        coverage[name] = mean_over_groups(right[of_class], groups[of_class], f"no {name} image in the set")
    size = held.sum(axis=1)
    return {
        "wanted": sets.coverage,
        "least": sets.least,
        "mean_size": float(size.mean()),
        "single": proportion(size == 1, groups),
        "empty": proportion(size == 0, groups),
        "coverage": coverage,
    }
