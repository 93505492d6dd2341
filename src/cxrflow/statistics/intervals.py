"""Proportions and areas under ROC curves, with 95 % intervals that count groups, not images.

The images of one patient are alike: ten pictures of one person say less than ten of ten people. A group is a
patient with all duplicates (``group_id`` of the record).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

from cxrflow.statistics.resampling import group_index, resamples

#: What goes into JSON. Either value, low, high (floats in [0, 1]), n (images) and groups (patients), with
#: counts ("9 of 12" images; "12 covid, 30 others"; "12 groups") where there are few groups; or value None and a reason.
Figure = dict[str, Any]

#: Below this many groups a figure also gives its counts.
FEW_GROUPS = 20
#: Below this many groups with the rarer outcome, the variance between groups is not relied on.
_RARE_GROUPS = 4
_Z = float(stats.norm.ppf(0.975))


def missing(reason: str) -> Figure:
    """A figure that cannot be computed, and why."""
    return {"value": None, "reason": reason}


def proportion(successes: NDArray[np.bool_], groups: NDArray[Any], nothing: str = "no images") -> Figure:
    """Share of successes with a 95 % Wilson interval on the effective sample size.

    successes: bool (n,); groups: (n,). Without images the value is None and ``nothing`` the reason.

    The design effect is the linearised between-group variance of the ratio, with K/(K-1), over the variance
    of n independent images, times (t/z)^2 for K-1 degrees of freedom (Korn and Graubard, Survey Methodology
    1998; 24: 193-201); n over it goes into Wilson's interval (Dean and Pagano, J Surv Stat Methodol 2015; 3:
    484-503). K is the effective number of groups, n^2 / sum(m^2) for m images in a group: the plain number
    promises too much where a few groups hold most images. The effect stays between 1 and the largest group's
    size: a group counts for at least one image. Where fewer than four groups have the rarer outcome, or none,
    the variance cannot be trusted and the effect is at least Kish's sum(m^2) / n, which takes a group's
    images for identical (Kish, Survey Sampling, 1965, section 5.4).

    Simulated coverage (10,000 draws; 12 to 300 groups, p from 0.1 to 0.97): 0.92 to 0.98 for groups of 1;
    0.93 to 0.985 for groups of 1 to 8 and intra-class correlations of 0, 0.3 and 0.7. It falls short, 0.89 at
    worst, where group sizes are very uneven (1 to 40) and p is near 0 or 1.
    """
    n = len(successes)
    if n == 0:
        return missing(nothing)
    sizes, hits = _sizes_and_hits(successes, groups)
    p = float(hits.sum() / n)
    counts = f"{int(hits.sum())} of {n}" if len(sizes) < FEW_GROUPS else None
    return _figure(p, _wilson(p, n / _design_effect(sizes, hits, n)), n, len(sizes), counts)


def mean_over_groups(successes: NDArray[np.bool_], groups: NDArray[Any], nothing: str = "no images") -> Figure:
    """Mean of the groups' shares of successes: the chance of success of an image drawn from a group drawn at random.

    As ``proportion``, of groups of one size whose successes are these shares, worth at most as many images as there
    are; ``counts`` are groups. Simulated coverage (1,000 draws; 12 to 150 groups of 1 to 8 and 1 to 30 images, a
    mean of 0.6 or 0.9, groups from alike to all or none): 0.92 to 0.98.
    """
    n = len(successes)
    if n == 0:
        return missing(nothing)
    sizes, hits = _sizes_and_hits(successes, groups)
    shares, count = hits / sizes, len(sizes)
    p = float(shares.mean())
    counts = f"{count} groups" if count < FEW_GROUPS else None
    return _figure(p, _wilson(p, count / _design_effect(np.ones(count), shares, n)), n, count, counts)


@dataclass(frozen=True)
class Question:
    """Does ``scores`` (float (n,), higher for yes) tell ``positive`` (bool (n,)) from the others?

    yes, no: what the two sides are called.
    """

    scores: NDArray[np.floating[Any]]
    positive: NDArray[np.bool_]
    yes: str
    no: str = "others"


def aurocs(
    questions: Mapping[str, Question], groups: NDArray[Any], bootstrap: int, seed: int
) -> tuple[dict[str, Figure], Figure]:
    """The AUROC of each question and their plain mean, all from the same resamples of groups.

    groups: (n,), as long as each question's arrays; bootstrap: number of resamples, drawn with replacement;
    one that leaves a question without yes or no is drawn again. The mean is None where any AUROC is.

    The interval is symmetric on the logit scale, with the standard error of the bootstrap over groups (Field
    and Welsh, J R Stat Soc B 2007; 69: 369-390; logit: Qin and Hotilovac, Stat Methods Med Res 2008; 17:
    207-221) and t for the effective number of groups on the smaller side. Where the AUROC is 0 or 1, which
    every resample would repeat, or a side has fewer than four groups, it is ``newcombe`` on the effective
    number of groups of each side; the mean's interval is then the mean of the limits, as though all errors
    were alike, its widest.

    Simulated coverage (300 draws each, 12 to 100 groups on a side, of 1 to 8 images, intra-class correlation
    up to 0.6): 0.92 to 1.00 for an AUROC of 0.6 to 0.95, 0.87 to 0.99 for 0.99; shortest with 12 groups on
    one side. Plain percentiles of the same resamples covered 0.79 to 0.96, and 0.52 to 0.93 for 0.99.
    """
    index = group_index(groups)
    figures = {name: missing(_unanswerable(question, index)) for name, question in questions.items()}
    asked = {name: question for name, question in questions.items() if not figures[name]["reason"]}
    smallest, counts = float("inf"), None
    draws = _bootstrap(list(asked.values()), index, bootstrap, seed)
    for name, column in zip(asked, draws.T, strict=True):
        figures[name], effective = _auroc(asked[name], index, column)
        if effective < smallest:
            smallest, counts = effective, figures[name].get("counts")
    unknown = [name for name in figures if figures[name]["value"] is None]
    if unknown:
        return figures, missing(figures[unknown[0]]["reason"])
    each = list(figures.values())
    value = float(np.mean([figure["value"] for figure in each]))
    if all(_spread(figure["value"], smallest) for figure in each):
        limits = _logit_interval(value, float(draws.mean(axis=1).std(ddof=1)), smallest)
    else:
        limits = (np.mean([figure["low"] for figure in each]), np.mean([figure["high"] for figure in each]))
    return figures, _figure(value, limits, len(index), len(np.unique(index)), counts)


def weighted_auroc(
    scores: NDArray[np.floating[Any]], positive: NDArray[np.bool_], weights: NDArray[Any]
) -> NDArray[np.float64]:
    """AUROC under each row of weights: chance that a positive scores above a negative, ties counted half.

    scores: float (n,); positive: bool (n,), with both values; weights: numbers >= 0 (b, n), each row with
    weight on both sides. Returns float64 (b,). One sort serves all rows (Mann-Whitney form; Hanley and
    McNeil, Radiology 1982; 143: 29-36).
    """
    order = np.argsort(scores, kind="stable")
    ranked = np.asarray(scores)[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    yes = np.asarray(positive)[order]
    ordered = np.asarray(weights, np.float64)[:, order]
    up = np.add.reduceat(ordered * yes, starts, axis=1)
    down = np.add.reduceat(ordered * ~yes, starts, axis=1)
    won = (up * (np.cumsum(down, axis=1) - down / 2)).sum(axis=1)
    return np.asarray(won / (up.sum(axis=1) * down.sum(axis=1)))


def newcombe(value: float, positives: float, negatives: float) -> tuple[float, float]:
    """95 % interval of an AUROC from its value and the number of positives and negatives (>= 1) alone.

    Hanley and McNeil's variance solved for the AUROC, as Wilson does for a proportion, so that it stays open
    where the AUROC is 1 (Newcombe, Stat Med 2006; 25: 559-573, method 5).
    """
    mean = (positives + negatives) / 2 - 1

    def beyond(theta: float) -> float:
        spread = 1 + mean * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        return (value - theta) ** 2 - _Z**2 * theta * (1 - theta) / (positives * negatives) * spread

    tiny = 1e-9
    low = 0.0 if value <= tiny else float(optimize.brentq(beyond, 0, value - tiny))
    high = 1.0 if value >= 1 - tiny else float(optimize.brentq(beyond, value + tiny, 1))
    return low, high


def _sizes_and_hits(successes: NDArray[np.bool_], groups: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    index = group_index(groups)
    return np.bincount(index).astype(float), np.bincount(index, weights=successes).astype(float)


def _wilson(p: float, n: float) -> tuple[float, float]:
    centre = (p + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * np.sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2))
    return float(centre - half), float(centre + half)


def _design_effect(sizes: NDArray[Any], hits: NDArray[Any], images: int) -> float:
    """n = sum of ``sizes`` over the number of images that say as much, which are ``images`` at most."""
    n, largest = sizes.sum(), sizes.max()
    p, kish = hits.sum() / n, float((sizes**2).sum() / n)
    rarer = min(np.count_nonzero(hits), np.count_nonzero(hits < sizes))
    if rarer == 0 or len(sizes) == 1:
        return kish
    freedom = max(n / kish - 1, 1.0)
    variance = (freedom + 1) / freedom * ((hits - p * sizes) ** 2).sum() / n**2
    effect = variance / (p * (1 - p) / n) * (stats.t.ppf(0.975, freedom) / _Z) ** 2
    return float(np.clip(effect, kish if rarer < _RARE_GROUPS else n / images, largest))


def _unanswerable(question: Question, index: NDArray[np.intp]) -> str:
    if not question.positive.any():
        return f"no {question.yes} image in the set"
    if question.positive.all():
        return f"every image in the set is {question.yes}"
    return "" if index.max() > 0 else "all images are in one group"


def _bootstrap(asked: Sequence[Question], index: NDArray[np.intp], count: int, seed: int) -> NDArray[np.float64]:
    """AUROC of each question in each resample of groups, float64 (count, questions)."""
    if not asked:
        return np.empty((count, 0))
    sides = [side for question in asked for side in (question.positive, ~question.positive)]
    drawn = [
        np.stack([weighted_auroc(question.scores, question.positive, weights) for question in asked], axis=1)
        for weights in resamples(sides, index, count, seed)
    ]
    return np.concatenate(drawn)


def _auroc(question: Question, index: NDArray[np.intp], draws: NDArray[np.float64]) -> tuple[Figure, float]:
    """The figure, and the effective number of groups on the smaller side."""
    positive = question.positive
    value = float(weighted_auroc(question.scores, positive, np.ones((1, len(positive))))[0])
    sizes = [np.bincount(index[side]) for side in (positive, ~positive)]
    effective = [float(m.sum() ** 2 / (m**2).sum()) for m in sizes]
    smaller = min(effective)
    if _spread(value, smaller):
        limits = _logit_interval(value, float(draws.std(ddof=1)), smaller)
    else:
        limits = newcombe(value, *effective)
    few = min(np.count_nonzero(m) for m in sizes) < FEW_GROUPS
    counts = f"{positive.sum()} {question.yes}, {(~positive).sum()} {question.no}" if few else None
    return _figure(value, limits, len(positive), int(index.max()) + 1, counts), smaller


def _spread(value: float, smaller: float) -> bool:
    """Whether resamples of groups can tell how an AUROC varies."""
    return 1e-12 < value < 1 - 1e-12 and smaller >= _RARE_GROUPS


def _logit_interval(value: float, error: float, groups: float) -> tuple[float, float]:
    half = stats.t.ppf(0.975, groups - 1) * error / (value * (1 - value))
    low, high = special.expit(special.logit(value) + np.array([-half, half]))
    return float(low), float(high)


def _figure(value: float, limits: tuple[Any, Any], n: int, groups: int, counts: str | None) -> Figure:
    low, high = limits
    figure: Figure = {
        "value": value,
        "low": float(min(max(low, 0.0), value)),
        "high": float(max(min(high, 1.0), value)),
        "n": n,
        "groups": groups,
    }
    return figure if counts is None else {**figure, "counts": counts}
