"""Prediction sets that hold the true class with a guaranteed probability: split conformal prediction on val, or, where
the networks left out folds of the patients, CV+ (Barber et al., Ann Stat 2021; 49: 486-507; for classes: Romano, Sesia
and Candes 2020, arXiv:2006.02544, section 2.3): a new image is compared with each image that was left out by the scores
of the networks that left that one out.

Class-conditional (Angelopoulos and Bates, Found Trends Mach Learn 2023; 16: 494-591, sections 1.1 and 4.2), because
sets with the right average coverage can miss the rare class. The guarantee is per group: the share of images covered
can differ if some patients have many similar images. MAPIE, the reference in the tests, supports neither groups nor
thresholds that are stored as numbers in ``thresholds.json``.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrflow.bundle import LeftOutScores, PredictionSets
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


def fit_cross_sets(scored: Scored, fold: NDArray[np.int64], folds: int, coverage: float) -> PredictionSets:
    """Prediction sets from images that each were scored by the networks that had left them out.

    scored    the images, of each class, with these scores
    fold      the fold of each image, int (n,) in [0, folds)
    coverage  as for ``fit_sets``. CV+ guarantees 2 coverage - 1, less a little; in practice, coverage
              (docs/metrics.md).
    """
    left_out = {}
    for c, name in enumerate(scored.task.order):
        of_class = scored.labels == name
        scores, weights = scored.probabilities[of_class, c], group_weights(scored.groups[of_class])
        order, inside = np.argsort(scores, kind="stable"), fold[of_class]
        rows = [order[inside[order] == k] for k in range(folds)]
        left_out[name] = tuple(
            LeftOutScores(scores=tuple(scores[at].tolist()), weights=tuple(weights[at].tolist())) for at in rows
        )
    return PredictionSets(coverage=coverage, left_out=left_out)


def group_weights(groups: NDArray[Any]) -> NDArray[np.float64]:
    """The weight of each image: each of k groups weighs 1 / (k + 1), shared by its images; a new group has the rest
    (Lee, Barber and Willett, arXiv:2306.06342, section 2)."""
    index = group_index(groups)
    sizes = np.bincount(index)
    return np.asarray(1 / (sizes[index] * (len(sizes) + 1)))


def lower_quantile(scores: NDArray[Any], groups: NDArray[Any], coverage: float) -> float:
    """The highest threshold that an image of a new group reaches with a probability of at least ``coverage``, or 0.

    scores  float (n,) in [0, 1], n > 0; groups  (n,), weighed by ``group_weights``; with one image per group it is the
            floor((1 - coverage) (k + 1))-th smallest score
    """
    weights = group_weights(groups)
    order = np.argsort(scores, kind="stable")
    below = 1 - weights.sum() + np.r_[0, np.cumsum(weights[order])[:-1]]  # as if the new group scored lowest
    allowed = np.flatnonzero(below <= 1 - coverage + 1e-12)
    return float(scores[order][allowed[-1]]) if len(allowed) else 0.0


def set_figures(scored: Scored, by_fold: NDArray[np.float64], sets: PredictionSets | None) -> dict[str, Any]:
    """Coverage and size of the prediction sets on test.

    by_fold  of the images of ``scored``, as ``Bundle.for_sets`` returns it
    ``coverage``   for ``all`` images and for each class, the mean over groups of the share of their images whose set
                   holds the true class, which is the guaranteed quantity
    ``single``, ``empty``  shares of the images with one class in the set, and with none
    ``mean_size``  classes in a set, on average
    ``wanted``, ``least``  wanted coverage and probability thresholds, from the bundle; ``least`` is None if there are
                   none, because the networks left out folds
    """
    order, groups = scored.task.order, scored.groups
    if sets is None:
        reason = missing("the bundle has no prediction sets: train it again")
        return {"wanted": None, "least": None, "mean_size": None, "single": reason, "empty": reason,
                "coverage": dict.fromkeys(("all", *order), reason)}  # fmt: skip
    held = sets.held(by_fold, order)
    right = held[np.arange(len(scored)), scored.truth]
    coverage = {"all": mean_over_groups(right, groups)}
    for name in order:
        of_class, nothing = scored.labels == name, f"no {scored.task.names[name]} image in the set"
        coverage[name] = mean_over_groups(right[of_class], groups[of_class], nothing)
    size = held.sum(axis=1)
    return {
        "wanted": sets.coverage,
        "least": sets.least or None,
        "mean_size": float(size.mean()),
        "single": proportion(size == 1, groups),
        "empty": proportion(size == 0, groups),
        "coverage": coverage,
    }
