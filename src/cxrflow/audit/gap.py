"""Does the network do worse within a source than over all sources?

If both classes come from one hospital, the hospital cannot give the class away. The pooled AUROC also compares pictures
of different hospitals, and these comparisons explain its excess over the AUROC within sources (Zech et al., PLoS Med
2018; 15: e1002683).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from cxrflow.audit.context import Audited
from cxrflow.audit.verdicts import AuditTest, Limit, Result, Rows, any_found, simultaneous
from cxrflow.statistics.figure import Figure, in_words, missing
from cxrflow.statistics.intervals import weighted_auroc
from cxrflow.statistics.resampling import LEAST_GROUPS, resamples, too_few_groups
from cxrflow.statistics.scored import Scored
from cxrflow.statistics.within import stratified_auroc

#: Limit of the pooled AUROC minus the AUROC within sources.
LIMIT = Limit(0.03)


def run(context: Audited) -> Result:
    """For each pair of classes: the AUROC over all their pictures, the AUROC within the sources that have both, and the
    difference."""
    names = context.task.names
    pairs = {(a, b): pooled_and_within(context.scored, a, b) for a, b in context.task.pairs}
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
    gaps = {f"{names[a]} vs {names[b]}": pair["gap"] for (a, b), pair in pairs.items()}
    return Result(
        any_found([LIMIT.judge(gap) for gap in gaps.values()]),
        f"AUROC of {words}.",
        {"pairs": {f"{a}_vs_{b}": pair for (a, b), pair in pairs.items()}},
        (Rows("change", "pooled minus within source, AUROC", gaps),),
    )


def pooled_and_within(scored: Scored, a: str, b: str) -> dict[str, Figure]:
    """AUROC of p_a / (p_a + p_b): ``pooled``, ``within`` and ``gap`` (pooled minus within), from the same resamples of
    groups.

    ``within`` is the AUROC over all pairs of a picture of a and one of b from the same source (``stratified_auroc``).
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
    with np.errstate(invalid="ignore"):
        pooled = weighted_auroc(scores, positive, weights)
    within = stratified_auroc(scores, positive, sources, weights)
    known = np.isfinite(pooled) & np.isfinite(within)
    t = float(stats.t.ppf(0.975, fewest - 1))

    def figure(values: NDArray[Any], least: float) -> Figure:
        value, half = float(values[0]), t * float(values[1:][known[1:]].std(ddof=1))
        return Figure(value, max(value - half, least), min(value + half, 1.0), len(groups), len(np.unique(groups)))

    return {"pooled": figure(pooled, 0), "within": figure(within, 0), "gap": figure(pooled - within, -1)}


def _missing(reason: str) -> dict[str, Figure]:
    return dict.fromkeys(("pooled", "within", "gap"), missing(reason))


TEST = AuditTest(
    "gap",
    "Does the network do worse where the hospital is the same?",
    LIMIT,
    lambda task: len(task.pairs),
    "source",
    run,
)
