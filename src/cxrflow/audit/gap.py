"""Does the network do worse within a source than over all sources?

Within a source, the source cannot give the class away. The pooled AUROC also compares pictures of different sources,
and these comparisons explain its excess over the AUROC within sources (Zech et al., PLoS Med 2018; 15: e1002683). So
does case mix: a source with many and severe cases and one with few and mild ones give an honest network the same
excess. Only pictures of equal severity tell the two apart.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from cxrflow.audit.context import Audited
from cxrflow.audit.verdicts import AuditTest, Limit, Result, Rows, any_found, one_source, simultaneous
from cxrflow.audit.words import FOUND
from cxrflow.explanation.heat import HeatMaps
from cxrflow.explanation.masks import Masks
from cxrflow.statistics.figure import Figure, in_words, missing
from cxrflow.statistics.intervals import weighted_auroc
from cxrflow.statistics.resampling import LEAST_GROUPS, resamples, too_few_groups
from cxrflow.statistics.scored import Scored
from cxrflow.statistics.within import stratified_auroc

#: Limit of the pooled AUROC minus the AUROC within sources.
LIMIT = Limit(0.03)

_STRATA = 5  # of severity, within a class


def run(context: Audited) -> Result:
    """For each pair of classes: the AUROC over all their pictures, the AUROC within the sources that have both, and the
    difference; where the severity of the disease is known, at equal severity."""
    names = context.task.names
    severity = severities(context)
    pairs = {(a, b): pooled_and_within(context.scored, a, b, severity) for a, b in context.task.pairs}
    for pair in pairs.values():
        pair["gap"] = simultaneous(pair["gap"], context.claims)
    words = "; ".join(
        f"{names[a]} against {names[b]}: "
        + (
            f"pooled {in_words(pair['pooled'])}, within sources {in_words(pair['within'])}, gap {in_words(pair['gap'])}"
            if pair["gap"].known
            else in_words(pair["gap"])
        )
        for (a, b), pair in pairs.items()
    )
    verdict = any_found([LIMIT.judge(pair["gap"]) for pair in pairs.values()])
    words = f"AUROC{'' if severity is None else ', at equal severity,'} of {words}."
    if severity is None:
        words += (
            " How severe the disease is in each picture is not known: sources that differ in it give an honest network "
            "a gap, too."
        )
        if verdict == FOUND:
            words += " The gap is there, but counts as a shortcut only where another test finds one."
    gaps = {f"{names[a]} vs {names[b]}": pair["gap"] for (a, b), pair in pairs.items()}
    return Result(
        verdict,
        words,
        {"pairs": {f"{a}_vs_{b}": pair for (a, b), pair in pairs.items()}},
        (Rows("change", "pooled minus within source, AUROC", gaps),),
        alone=severity is not None,
    )


def severities(context: Audited) -> NDArray[np.float64] | None:
    """The area of the true opacity in each predicted picture, share of the picture, float64 (n,); None unless it is
    known for all of them."""
    masks = Masks(HeatMaps.of(context.predictor, context.predicted).canvas, context.root)
    areas: list[float] = []
    for k in range(len(context.predicted)):
        mask = masks.opacity(k)
        if mask is None:
            return None
        areas.append(float(mask.mean()))
    return np.array(areas)


def pooled_and_within(scored: Scored, a: str, b: str, severity: NDArray[np.float64] | None = None) -> dict[str, Figure]:
    """AUROC of p_a / (p_a + p_b): ``pooled``, ``within`` and ``gap`` (pooled minus within), from the same resamples of
    groups.

    severity  of each image, float (n,), or None if it is not known

    ``within`` is the AUROC over all pairs of a picture of a and one of b from the same source (``stratified_auroc``).
    With ``severity``, each class is cut into fifths of it, and ``pooled`` is standardised to the pairs of fifths that
    meet within sources, so that both compare equally severe cases.
    Intervals are the value +- t times the bootstrap's standard error; the degrees of freedom are the number of groups
    minus 1 of the class with fewer groups in sources that have both. Missing with fewer than LEAST_GROUPS such groups.
    """
    among = scored.among(a, b)
    positive, sources, groups = (scored.labels == a)[among], scored.sources[among], scored.groups[among]
    if not positive.any() or positive.all():
        return _missing("a class has no picture")
    shared = np.isin(sources, np.intersect1d(sources[positive], sources[~positive]))
    if not shared.any():
        return _missing("no source has both classes")
    fewest = min(len(set(groups[shared & side])) for side in (positive, ~positive))
    if fewest < LEAST_GROUPS:
        return _missing(too_few_groups(fewest, of="a class in sources with both"))
    scores = scored.share(a, b)[among]
    everyone = np.ones(len(groups), np.bool_)
    drawn = list(resamples([everyone], groups, scored.bootstrap))  # one without a within-source pair is ignored
    weights = np.concatenate([np.ones((1, len(groups))), *drawn])
    fifths = np.zeros(len(groups), np.intp) if severity is None else _fifths(severity[among], positive)
    pooled, within = _standardised(scores, positive, sources, fifths, weights)
    known = np.isfinite(pooled) & np.isfinite(within)
    t = float(stats.t.ppf(0.975, fewest - 1))

    def figure(values: NDArray[Any], least: float) -> Figure:
        value, half = float(values[0]), t * float(values[1:][known[1:]].std(ddof=1))
        return Figure(value, max(value - half, least), min(value + half, 1.0), len(groups), len(np.unique(groups)))

    return {"pooled": figure(pooled, 0), "within": figure(within, 0), "gap": figure(pooled - within, -1)}


def _fifths(severity: NDArray[np.float64], positive: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Which fifth of its class's severity each image is in, int (n,)."""
    fifths = np.zeros(len(severity), np.intp)
    for side in (positive, ~positive):
        edges = np.quantile(severity[side], np.arange(1, _STRATA) / _STRATA)
        fifths[side] = np.searchsorted(edges, severity[side])
    return fifths


def _standardised(
    scores: NDArray[np.float64],
    positive: NDArray[np.bool_],
    sources: NDArray[np.str_],
    fifths: NDArray[np.intp],
    weights: NDArray[Any],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pooled AUROC and AUROC within sources under each row of weights, float64 (b,) each: of every pair of fifths, and
    then their mean, weighted by the number of pairs of pictures within sources; NaN where there is none."""
    sums = np.zeros((2, len(weights)))
    pairs = np.zeros(len(weights))
    for own in np.unique(fifths[positive]):
        for other in np.unique(fifths[~positive]):
            here = fifths == np.where(positive, own, other)
            yes, drawn, source = positive[here], weights[:, here], sources[here]
            meet = np.zeros(len(weights))
            for name in np.unique(source):
                meet += drawn[:, (source == name) & yes].sum(axis=1) * drawn[:, (source == name) & ~yes].sum(axis=1)
            both = meet > 0
            if not both.any():
                continue
            areas = (
                weighted_auroc(scores[here], yes, drawn[both]),
                stratified_auroc(scores[here], yes, source, drawn[both]),
            )
            for total, area in zip(sums, areas, strict=True):
                total[both] += meet[both] * area
            pairs += meet
    pooled, within = np.divide(sums, pairs, out=np.full(sums.shape, np.nan), where=pairs > 0)
    return pooled, within


def _missing(reason: str) -> dict[str, Figure]:
    return dict.fromkeys(("pooled", "within", "gap"), missing(reason))


TEST = AuditTest(
    "gap",
    "Does the network do worse where the source is the same?",
    LIMIT,
    lambda task: len(task.pairs),
    "source",
    run,
    one_source,
)
