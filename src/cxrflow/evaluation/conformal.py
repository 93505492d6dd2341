"""Prediction sets that hold the true class with a guaranteed probability: split conformal prediction on val.

Class-conditional (Angelopoulos and Bates, Found Trends Mach Learn 2023; 16: 494-591, sections 1.1 and 4.2), because
sets with the right average coverage can miss the rare class. The guarantee is per group: the share of images covered
can differ if some patients have many similar images. MAPIE, the reference in the tests, supports neither groups nor
thresholds that are stored as numbers in ``thresholds.json``.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrflow.bundle import PredictionSets
from cxrflow.statistics.figure import missing
from cxrflow.statistics.intervals import mean_over_groups, proportion
from cxrflow.statistics.resampling import group_index
from cxrflow.statistics.scored import Scored


def fit_sets(scored: Scored, coverage: float) -> PredictionSets:
    """For each class, the probability from which the set includes it.

    scored    val, with images of each class
    coverage  wanted coverage of each class, in (0, 1): the probability that the set of an image of a new group holds
              the true class, as a mean over groups of the share of their images that are covered
    A class with fewer than about 1 / (1 - coverage) groups is in every set: no threshold above 0 has the guarantee.
    """
    least = {}
    for c, name in enumerate(scored.task.order):
        of_class = scored.labels == name
        least[name] = lower_quantile(scored.probabilities[of_class, c], scored.groups[of_class], coverage)
    return PredictionSets(coverage=coverage, least=least)


def lower_quantile(scores: NDArray[Any], groups: NDArray[Any], coverage: float) -> float:
    """The highest threshold that an image of a new group reaches with a probability of at least ``coverage``, or 0.

    scores  float (n,) in [0, 1], n > 0; groups  (n,). Each of k groups weighs 1 / (k + 1), shared by its images, and
    the new group has the rest (Lee, Barber and Willett, arXiv:2306.06342, section 2); with one image per group it is
    the floor((1 - coverage) (k + 1))-th smallest score.
    """
    index = group_index(groups)
    sizes = np.bincount(index)
    weights = 1 / (sizes[index] * (len(sizes) + 1))
    order = np.argsort(scores, kind="stable")
    below = 1 / (len(sizes) + 1) + np.r_[0, np.cumsum(weights[order])[:-1]]  # as if the new group scored lowest
    allowed = np.flatnonzero(below <= 1 - coverage + 1e-12)
    return float(scores[order][allowed[-1]]) if len(allowed) else 0.0


def set_figures(scored: Scored, sets: PredictionSets | None) -> dict[str, Any]:
    """Coverage and size of the prediction sets on test.

    ``coverage``   for ``all`` images and for each class, the mean over groups of the share of their images whose set
                   holds the true class, which is the guaranteed quantity
    ``single``, ``empty``  shares of the images with one class in the set, and with none
    ``mean_size``  classes in a set, on average
    ``wanted``, ``least``  wanted coverage and probability thresholds, from the bundle
    """
    order, groups = scored.task.order, scored.groups
    if sets is None:
        reason = missing("the bundle has no prediction sets: train it again")
        return {"wanted": None, "least": None, "mean_size": None, "single": reason, "empty": reason,
                "coverage": dict.fromkeys(("all", *order), reason)}  # fmt: skip
    held = sets.held(scored.probabilities, order)
    right = held[np.arange(len(scored)), scored.truth]
    coverage = {"all": mean_over_groups(right, groups)}
    for name in order:
        of_class, nothing = scored.labels == name, f"no {scored.task.names[name]} image in the set"
        coverage[name] = mean_over_groups(right[of_class], groups[of_class], nothing)
    size = held.sum(axis=1)
    return {
        "wanted": sets.coverage,
        "least": sets.least,
        "mean_size": float(size.mean()),
        "single": proportion(size == 1, groups),
        "empty": proportion(size == 0, groups),
        "coverage": coverage,
    }
