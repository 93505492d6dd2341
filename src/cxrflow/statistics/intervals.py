"""Proportions, means and areas under ROC curves, with 95 % intervals clustered by group of images.

Images of one patient are correlated: ten images of one person carry less information than one image each of ten people.
A group is a patient with all duplicates (``group_id`` of the record).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats
from statsmodels.stats.proportion import proportion_confint

from cxrflow.statistics.figure import Figure, missing
from cxrflow.statistics.resampling import (
    LEAST_GROUPS,
    Bootstrap,
    effective_groups,
    group_index,
    resamples,
    too_few_groups,
)
from cxrflow.text import number_of

#: A figure computed from fewer groups than this also states its counts.
FEW_GROUPS = 20
_Z = float(stats.norm.ppf(0.975))


def proportion(successes: NDArray[np.bool_], groups: NDArray[Any], nothing: str = "no images") -> Figure:
    """Share of successes with a 95 % Wilson interval on the effective sample size.

    successes: bool (n,); groups: (n,). Without images the figure is missing, with the reason ``nothing``.

    The effective sample size is n over the design effect (Dean and Pagano, J Surv Stat Methodol 2015; 3: 484-503).
    The design effect is the linearised between-group variance of the ratio, with K/(K-1), over the variance of n
    independent images, times (t/z)^2 for K-1 degrees of freedom (Korn and Graubard, Survey Methodology 1998; 24:
    193-201). K is the effective number of groups, n^2 / sum(m^2) for m images in a group: where a few groups hold
    most images, the plain number of groups would give too narrow intervals. The design effect is at least 1 and at
    most the size of the largest group. Where fewer than LEAST_GROUPS groups have the rarer outcome, the variance is
    unreliable and the design effect is at least Kish's sum(m^2) / n, which assumes that a group's images are identical
    (Kish, Survey Sampling, 1965, section 5.4).

    Simulated coverage (10,000 draws; 12 to 300 groups, p from 0.1 to 0.97): 0.92 to 0.98 for groups of 1;
    0.93 to 0.985 for groups of 1 to 8 and intra-class correlations of 0, 0.3 and 0.7. Coverage drops, to 0.89 at
    worst, where group sizes are very uneven (1 to 40) and p is near 0 or 1.
    """
    n = len(successes)
    if n == 0:
        return missing(nothing)
    sizes, hits = _sizes_and_hits(successes, groups)
    p = float(hits.sum() / n)
    counts = f"{int(hits.sum())} of {n}" if len(sizes) < FEW_GROUPS else None
    return _figure(p, wilson(p, n / _design_effect(sizes, hits, n)), n, len(sizes), counts)


def mean_over_groups(successes: NDArray[np.bool_], groups: NDArray[Any], nothing: str = "no images") -> Figure:
    """Mean of the groups' shares of successes: the probability of success for a random image of a random group.

    Arguments as ``proportion``. The interval is that of ``proportion`` for equally sized groups with these shares of
    successes; the effective sample size is at most the number of images. ``counts`` counts groups. Simulated coverage
    (1,000 draws; 12 to 150 groups of 1 to 8 and 1 to 30 images, a mean of 0.6 or 0.9, intra-class correlation from
    near 0 to near 1): 0.92 to 0.98.
    """
    n = len(successes)
    if n == 0:
        return missing(nothing)
    sizes, hits = _sizes_and_hits(successes, groups)
    shares, count = hits / sizes, len(sizes)
    p = float(shares.mean())
    counts = number_of(count, "group") if count < FEW_GROUPS else None
    return _figure(p, wilson(p, count / _design_effect(np.ones(count), shares, n)), n, count, counts)


def clustered_mean(values: NDArray[Any], groups: NDArray[Any], nothing: str = "no images") -> Figure:
    """Mean of any real numbers with a 95 % cluster-robust interval, which is not clipped to a range.

    values: float or bool (n,); groups: (n,). The variance is the linearised between-group variance, with K/(K-1); t has
    K-1 degrees of freedom. K is the effective number of groups, as in ``proportion``, and at least 2. Missing without
    images, with the reason ``nothing``, and with fewer than LEAST_GROUPS groups.
    """
    n = len(values)
    if n == 0:
        return missing(nothing)
    index = group_index(groups)
    count = int(index.max()) + 1
    if count < LEAST_GROUPS:
        return missing(too_few_groups(count))
    value = float(np.mean(values))
    variance, effective = _variance(np.asarray(values, np.float64) - value, index)
    half = float(stats.t.ppf(0.975, effective - 1) * np.sqrt(variance))
    return Figure(value, value - half, value + half, n, count)


def _variance(residuals: NDArray[np.float64], index: NDArray[Any]) -> tuple[float, float]:
    """Of a mean, from residuals (n,) in groups (n,): the between-group variance, and the effective number of groups."""
    n, sizes = len(residuals), np.bincount(index).astype(float)
    effective = max(n**2 / float((sizes**2).sum()), 2.0)
    between = float((np.bincount(index, weights=residuals) ** 2).sum())
    return effective / (effective - 1) * between / n**2, effective


def multiway_mean(values: NDArray[Any], *groupings: NDArray[Any]) -> Figure:
    """Mean of any real numbers that depend on each other in several ways, such as on a patient and on a donor, with a
    95 % interval, which is not clipped.

    values: float (n,), at least one; groupings: (n,) each, the first of which gives the figure's number of groups. The
    variance is that of ``clustered_mean`` for every grouping, less those of their intersections counted twice (Cameron,
    Gelbach and Miller, J Bus Econ Stat 2011; 29: 238-249, equation 2.13), and at least the largest of one grouping. The
    degrees of freedom of t are those of the grouping with the fewest. Missing if a grouping has fewer than LEAST_GROUPS
    groups.
    """
    alone = [clustered_mean(values, grouping) for grouping in groupings]
    if lacking := next((figure for figure in alone if not figure.known), None):
        return lacking
    residuals = np.asarray(values, np.float64) - np.mean(values)
    labels = [group_index(grouping) for grouping in groupings]
    single = [_variance(residuals, index) for index in labels]
    together = sum(variance for variance, _ in single)
    for count in range(2, len(labels) + 1):
        for some in combinations(labels, count):
            joint = np.unique(np.stack(some), axis=1, return_inverse=True)[1].reshape(-1)
            together += (-1) ** (count + 1) * _variance(residuals, joint)[0]
    error = np.sqrt(max(together, *(variance for variance, _ in single)))
    half = float(stats.t.ppf(0.975, min(effective for _, effective in single) - 1) * error)
    first = alone[0]
    return replace(first, low=first.value - half, high=first.value + half)


@dataclass(frozen=True)
class Question:
    """How well do scores separate the positive images from the others?

    scores     float (n,), higher for positive
    positive   bool (n,)
    yes, no    names of the positives and of the others in reasons and counts
    """

    scores: NDArray[np.floating[Any]]
    positive: NDArray[np.bool_]
    yes: str
    no: str = "others"


def aurocs(
    questions: Mapping[str, Question], groups: NDArray[Any], bootstrap: Bootstrap
) -> tuple[dict[str, Figure], Figure]:
    """The AUROC of each question and their unweighted mean, all from the same resamples of groups.

    groups: (n,), as long as each question's arrays. A resample that leaves a question without positives or without
    negatives is drawn again. The mean is missing if any AUROC is missing.

    Each interval is that of ``auroc_interval``, with the standard error of the group bootstrap. Where that does not use
    the resamples, the limits of the mean are the means of the limits: the widest interval, for fully correlated errors.

    Simulated coverage (300 draws each; 12 to 100 groups of positives and of negatives, of 1 to 8 images each,
    intra-class correlation up to 0.6): 0.92 to 1.00 for an AUROC of 0.6 to 0.95, 0.87 to 0.99 for 0.99; lowest with
    12 groups on one side. Plain percentiles of the same resamples covered 0.79 to 0.96, and 0.52 to 0.93 for 0.99.
    """
    index = group_index(groups)
    reasons = {name: _unanswerable(question, index) for name, question in questions.items()}
    figures = {name: missing(reason) for name, reason in reasons.items() if reason}
    asked = {name: question for name, question in questions.items() if not reasons[name]}
    smallest, counts = float("inf"), None
    draws = _bootstrap(list(asked.values()), index, bootstrap)
    for (name, question), column in zip(asked.items(), draws.T, strict=True):
        sides = [effective_groups(index[side]) for side in (question.positive, ~question.positive)]
        figures[name] = _auroc(question, index, (sides[0], sides[1]), column)
        if min(sides) < smallest:
            smallest, counts = min(sides), figures[name].counts
    figures = {name: figures[name] for name in questions}
    each = list(figures.values())
    if unknown := [figure for figure in each if not figure.known]:
        return figures, missing(unknown[0].reason)
    value = float(np.mean([figure.value for figure in each]))
    if all(_resamples_vary(figure.value, smallest) for figure in each):
        limits = _logit_interval(value, float(draws.mean(axis=1).std(ddof=1)), smallest)
    else:
        limits = float(np.mean([figure.low for figure in each])), float(np.mean([figure.high for figure in each]))
    fewest = f"fewest: {counts}" if counts and len(each) > 1 else counts
    return figures, _figure(value, limits, len(index), len(np.unique(index)), fewest)


def weighted_auroc(
    scores: NDArray[np.floating[Any]], positive: NDArray[np.bool_], weights: NDArray[Any]
) -> NDArray[np.float64]:
    """AUROC under each row of weights: the probability that a positive scores above a negative, ties counted half.

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


def auroc_interval(value: float, draws: NDArray[np.float64], sides: tuple[float, float]) -> tuple[float, float]:
    """95 % interval of an AUROC.

    value   the AUROC, in [0, 1]
    draws   the AUROC in each resample of groups, float (b,); NaN if it has none
    sides   effective number of groups of the positives and of the negatives, >= 1

    The interval is symmetric on the logit scale, with the standard error of the draws (Field and Welsh, J R Stat Soc
    B 2007; 69: 369-390; logit: Qin and Hotilovac, Stat Methods Med Res 2008; 17: 207-221) and t for the effective
    number of groups on the smaller side. If the AUROC is 0 or 1, and thus the same in every resample, or if a side has
    fewer than LEAST_GROUPS groups, the interval is that of ``newcombe`` with the effective numbers of groups.
    """
    if _resamples_vary(value, min(sides)):
        return _logit_interval(value, float(np.nanstd(draws, ddof=1)), min(sides))
    return newcombe(value, *sides)


def newcombe(value: float, positives: float, negatives: float) -> tuple[float, float]:
    """95 % interval of an AUROC from its value and the number of positives and negatives (>= 1) alone.

    Solves Hanley and McNeil's variance for the AUROC, as Wilson's interval does for a proportion, so that the width is
    not 0 where the AUROC is 1 (Newcombe, Stat Med 2006; 25: 559-573, method 5).
    """
    mean = (positives + negatives) / 2 - 1

    def beyond(theta: float) -> float:
        spread = 1 + mean * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        return (value - theta) ** 2 - _Z**2 * theta * (1 - theta) / (positives * negatives) * spread

    tiny = 1e-9
    low = 0.0 if value <= tiny else float(optimize.brentq(beyond, 0, value - tiny))
    high = 1.0 if value >= 1 - tiny else float(optimize.brentq(beyond, value + tiny, 1))
    return low, high


def wilson(p: Any, n: Any) -> tuple[Any, Any]:
    """95 % Wilson interval of proportions p in [0, 1] of n > 0 images, floats or arrays; n need not be whole."""
    return proportion_confint(p * n, n, method="wilson")  # type: ignore[no-any-return]


def _sizes_and_hits(successes: NDArray[np.bool_], groups: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    index = group_index(groups)
    return np.bincount(index).astype(float), np.bincount(index, weights=successes).astype(float)


def _design_effect(sizes: NDArray[Any], hits: NDArray[Any], images: int) -> float:
    """The sum n of ``sizes``, divided by the effective sample size, which is at most ``images``."""
    n, largest = sizes.sum(), sizes.max()
    p, kish = hits.sum() / n, float((sizes**2).sum() / n)
    rarer = min(np.count_nonzero(hits), np.count_nonzero(hits < sizes))
    if rarer == 0 or len(sizes) == 1:
        return kish
    freedom = max(n / kish - 1, 1.0)
    variance = (freedom + 1) / freedom * ((hits - p * sizes) ** 2).sum() / n**2
    effect = variance / (p * (1 - p) / n) * (stats.t.ppf(0.975, freedom) / _Z) ** 2
    return float(np.clip(effect, kish if rarer < LEAST_GROUPS else n / images, largest))


def _unanswerable(question: Question, index: NDArray[np.intp]) -> str:
    if not question.positive.any():
        return f"no {question.yes} image in the set"
    if question.positive.all():
        return f"every image in the set is {question.yes}"
    return "" if index.max() > 0 else too_few_groups(1, 2)


def _bootstrap(asked: Sequence[Question], index: NDArray[np.intp], bootstrap: Bootstrap) -> NDArray[np.float64]:
    """AUROC of each question in each resample of groups, float64 (count, questions)."""
    if not asked:
        return np.empty((bootstrap.count, 0))
    sides = [side for question in asked for side in (question.positive, ~question.positive)]
    drawn = [
        np.stack([weighted_auroc(question.scores, question.positive, weights) for question in asked], axis=1)
        for weights in resamples(sides, index, bootstrap)
    ]
    return np.concatenate(drawn)


def _auroc(
    question: Question, index: NDArray[np.intp], sides: tuple[float, float], draws: NDArray[np.float64]
) -> Figure:
    positive = question.positive
    value = float(weighted_auroc(question.scores, positive, np.ones((1, len(positive))))[0])
    counts = counts_of(question, index)
    return _figure(value, auroc_interval(value, draws, sides), len(positive), int(index.max()) + 1, counts)


def counts_of(question: Question, groups: NDArray[Any]) -> str | None:
    """``12 COVID-19, 30 others`` where a side has fewer than FEW_GROUPS groups, else None."""
    positive = question.positive
    if min(len(np.unique(groups[side])) for side in (positive, ~positive)) >= FEW_GROUPS:
        return None
    return f"{positive.sum()} {question.yes}, {(~positive).sum()} {question.no}"


def _resamples_vary(value: float, smaller: float) -> bool:
    """Whether a group bootstrap can estimate the standard error of an AUROC."""
    return 1e-12 < value < 1 - 1e-12 and smaller >= LEAST_GROUPS


def _logit_interval(value: float, error: float, groups: float) -> tuple[float, float]:
    half = stats.t.ppf(0.975, groups - 1) * error / (value * (1 - value))
    low, high = special.expit(special.logit(value) + np.array([-half, half]))
    return float(low), float(high)


def _figure(value: float, limits: tuple[float, float], n: int, groups: int, counts: str | None) -> Figure:
    """A figure in [0, 1], with limits clipped so that rounding cannot exclude the value from the interval."""
    low, high = limits
    return Figure(value, float(min(max(low, 0.0), value)), float(max(min(high, 1.0), value)), n, groups, counts)
