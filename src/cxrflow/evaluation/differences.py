"""Differences between two scorings of the same images, with intervals from a paired bootstrap."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from cxrflow.bundle import OperatingPoint
from cxrflow.evaluation.metrics import one_against_rest
from cxrflow.statistics.figure import Figure, missing
from cxrflow.statistics.intervals import proportion, weighted_auroc
from cxrflow.statistics.resampling import LEAST_GROUPS, effective_groups, group_index, resamples
from cxrflow.statistics.scored import Scored

#: Said where two bundles, such as a bundle and a copy, have the same weights.
SAME_WEIGHTS = "A and B have the same weights: there is nothing to compare, but what was chosen after training."

Points = tuple[OperatingPoint | None, OperatingPoint | None]


def differences(first: Scored, second: Scored, points: Points) -> dict[str, dict[str, Figure]]:
    """``macro_auroc``, ``positive_auroc``, and ``sensitivity`` and ``specificity`` at the operating point for a wanted
    specificity: for each the figures ``a``, ``b`` and ``difference`` (b - a, in [-1, 1]).

    first, second  the same images, scored by A and by B
    points         each bundle's operating point for a wanted specificity, or None; sensitivity and specificity are
                   missing if one is None, or if the wanted specificities differ

    The difference's interval is value +- t times the standard error of a paired bootstrap: the same resamples of groups
    for both (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13), with t for the smallest
    effective number of groups: among all classes for the macro AUROC, among the positive class and the rest for the
    positive class's AUROC. If the two bundles differ in fewer than four groups, the interval is that of two independent
    figures (Newcombe, Stat Med 1998; 17: 873-890, method 10), which is conservative.
    """
    task, groups, pair = first.task, first.groups, (first, second)
    sides = [first.labels == name for name in task.order]
    auroc = [one_against_rest(scored) for scored in pair]
    differ = len(np.unique(groups[(np.abs(first.probabilities - second.probabilities) > 1e-9).any(axis=1)]))
    figures = {
        "macro_auroc": {"a": auroc[0][1], "b": auroc[1][1]},
        "positive_auroc": {"a": auroc[0][0][task.positive], "b": auroc[1][0][task.positive]},
    }
    asked = {
        "macro_auroc": (sides, list(range(len(task.order)))),
        "positive_auroc": ([first.positive, ~first.positive], [task.positive_column]),
    }
    for name, (needed, columns) in asked.items():
        error, fewest = 0.0, min(effective_groups(groups[side]) for side in needed)
        if figures[name]["a"].known:
            drawn = [
                _auroc_gaps(pair, [(c, sides[c]) for c in columns], weights)
                for weights in resamples(needed, groups, first.bootstrap)
            ]
            error = float(np.concatenate(drawn).std(ddof=1))
        figures[name]["difference"] = _difference(figures[name]["a"], figures[name]["b"], error, fewest, differ)
    for name, side in (("sensitivity", first.positive), ("specificity", ~first.positive)):
        figures[name] = _at_points(pair, points, side)
    return figures


def _at_points(pair: tuple[Scored, Scored], points: Points, side: NDArray[np.bool_]) -> dict[str, Figure]:
    """Share of the images of ``side``, bool (n,), that each bundle calls correctly at its operating point."""
    a, b = points
    if a is None or b is None or a.wanted != b.wanted or not side.any():
        why = "a bundle has no operating point"
        if a and b:
            why = f"operating points for different specificities, {a.wanted:g} and {b.wanted:g}"
        reason = missing(why if side.any() else "no image of that kind in the set")
        return {"a": reason, "b": reason, "difference": reason}
    right = [
        (scored.positive_scores[side] >= at.threshold) == scored.positive[side]
        for scored, at in zip(pair, (a, b), strict=True)
    ]
    within, bootstrap = pair[0].groups[side], pair[0].bootstrap
    first, second = (proportion(each, within) for each in right)
    gap = right[1].astype(float) - right[0]
    everyone = [np.ones(len(gap), bool)]
    means = np.concatenate(
        [(weights @ gap) / weights.sum(axis=1) for weights in resamples(everyone, within, bootstrap)]
    )
    differ = int(np.count_nonzero(np.bincount(group_index(within), weights=np.abs(gap))))
    difference = _difference(first, second, float(means.std(ddof=1)), effective_groups(within), differ)
    return {"a": first, "b": second, "difference": difference}


def _auroc_gaps(
    pair: tuple[Scored, Scored], sides: list[tuple[int, NDArray[np.bool_]]], weights: NDArray[Any]
) -> NDArray[np.float64]:
    """In each resample, B's mean AUROC over the classes (column, and its images) minus A's: float64 (b,)."""
    first, second = (scored.probabilities for scored in pair)
    gaps = [
        weighted_auroc(second[:, c], side, weights) - weighted_auroc(first[:, c], side, weights) for c, side in sides
    ]
    return np.asarray(np.mean(gaps, axis=0))


def _difference(a: Figure, b: Figure, error: float, groups: float, differ: int) -> Figure:
    """b - a with its interval, from the bootstrap's standard ``error``. If the error is 0, or if there are fewer than
    LEAST_GROUPS effective ``groups`` or groups in which the bundles ``differ``, it comes from the two intervals."""
    for figure in (a, b):
        if not figure.known:
            return figure
    value = b.value - a.value
    if error == 0 or min(differ, groups) < LEAST_GROUPS:
        low = value - np.hypot(b.value - b.low, a.high - a.value)
        high = value + np.hypot(b.high - b.value, a.value - a.low)
    else:
        half = stats.t.ppf(0.975, groups - 1) * error
        low, high = value - half, value + half
    return Figure(value, float(max(low, -1.0)), float(min(high, 1.0)), a.n, a.groups)
