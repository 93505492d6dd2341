"""Tests 2 and 4: what the table alone gives, and how much of a pooled figure is lost within a source.

Where both classes come from one hospital, the hospital cannot be the answer. What the pooled figure has beyond that
comes of comparing pictures of different hospitals (Zech et al., PLoS Med 2018; 15: e1002683).
"""

from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from cxrflow.audit.verdicts import FOUND, NOT_FOUND, UNTOLD, Limits, Test, Verdict, result, spoken
from cxrflow.records import CLASSES, NAMES
from cxrflow.statistics.intervals import Figure, group_index, missing, weighted_auroc
from cxrflow.studies.compare import differences

BASELINE_QUESTION = "Does the table alone, without a pixel, do as well?"
GAP_QUESTION = "Does the network do worse where the hospital is the same?"
#: Of the baseline's AUROC, and of the gap between the pooled AUROC and that within a source.
BASELINE_LIMITS = Limits(found=0.55, clear=0.65, none=0.5)
GAP_LIMITS = Limits(found=0.03, clear=0.15, none=0.0)
#: A network whose AUROC is above the baseline's by less than this, interval and all, is no better than a table.
AS_GOOD = 0.05


def baseline(
    table: pd.DataFrame,
    without: NDArray[np.floating],
    network: NDArray[np.floating],
    bootstrap: int,
    seed: int,
) -> Test:
    """The macro AUROC of source, view, age and sex, that of the network, and their difference, from the same resamples
    of groups.

    table  label and group_id of the test images; without, network  float (n, 3), the probabilities of the baseline and
           of the network, in the order of CLASSES
    """
    compared = differences(table, without, network, (None, None), bootstrap, seed)["macro_auroc"]
    verdict = baseline_verdict(compared["a"], compared["difference"])
    words = (
        f"Source, view, age and sex alone give a macro AUROC of {spoken(compared['a'])}; the network, "
        f"{spoken(compared['b'])}: a difference of {spoken(compared['difference'])}. "
        + {
            FOUND: "The network does not clearly beat a table that sees no pixel.",
            NOT_FOUND: "The table does not explain what the network reaches.",
            UNTOLD: "Too little is known to say which is better.",
        }[verdict]
    )
    named = {"network": compared["b"], "without_a_pixel": compared["a"], "difference": compared["difference"]}
    return result(BASELINE_QUESTION, verdict, words, **named)


def baseline_verdict(table: Figure, difference: Figure) -> Verdict:
    """On the table's macro AUROC, and the network's less the table's on the same images.

    Found where the table tells the class and the network is better by less than AS_GOOD; not found where the network is
    better than the table, or the table tells nothing.
    """
    if difference["value"] is None:
        return UNTOLD
    told = BASELINE_LIMITS.judge(table)
    if told == FOUND and difference["high"] < AS_GOOD:
        return FOUND
    return NOT_FOUND if told == NOT_FOUND or difference["low"] > 0 else UNTOLD


def gap(table: pd.DataFrame, probabilities: NDArray[np.floating], bootstrap: int, seed: int) -> Test:
    """For each pair of classes the AUROC of all pictures of the two, that within the sources that have both, and their
    difference.

    table  label, source, group_id; probabilities  float (n, 3) in the order of CLASSES
    """
    labels, sources, groups = (table[name].to_numpy(str) for name in ("label", "source", "group_id"))
    figures: dict[str, dict[str, Figure]] = {}
    for a, b in combinations(range(len(CLASSES)), 2):
        among = np.isin(labels, (CLASSES[a], CLASSES[b]))
        p_a, p_b = probabilities[among, a], probabilities[among, b]
        share = np.divide(p_a, p_a + p_b, out=np.full(len(p_a), 0.5), where=p_a + p_b > 0)
        pair = pooled_and_within(share, labels[among] == CLASSES[a], sources[among], groups[among], bootstrap, seed)
        figures[f"{CLASSES[a]}_vs_{CLASSES[b]}"] = pair
    judged = {name: GAP_LIMITS.judge(pair["gap"]) for name, pair in figures.items()}
    told = set(judged.values())
    verdict = FOUND if FOUND in told else NOT_FOUND if told == {NOT_FOUND} else UNTOLD
    said = []
    for (one, other), pair in zip(combinations(CLASSES, 2), figures.values(), strict=True):
        values = f"pooled {spoken(pair['pooled'])}, within sources {spoken(pair['within'])}, gap {spoken(pair['gap'])}"
        known = pair["gap"]["value"] is not None
        said.append(f"{NAMES[one]} against {NAMES[other]}: {values if known else spoken(pair['gap'])}")
    words = "; ".join(said)
    return result(GAP_QUESTION, verdict, f"AUROC of {words}.", pairs=figures)


def pooled_and_within(
    scores: NDArray[np.floating],
    positive: NDArray[np.bool_],
    sources: NDArray[np.str_],
    groups: NDArray,
    bootstrap: int,
    seed: int,
) -> dict[str, Figure]:
    """``pooled``, ``within`` and ``gap`` (pooled less within), from the same resamples of groups.

    ``within`` is the AUROC over those pairs of a positive and a negative picture that share their source: the mean of
    the sources' AUROC, weighted by their numbers of pairs. Intervals are the value +- t times the standard error of the
    bootstrap, t with as many degrees of freedom as the side with fewer groups allows; missing below four groups.
    """
    both = [s for s in np.unique(sources) if 0 < positive[sources == s].sum() < (sources == s).sum()]
    nothing = "a class has no picture" if positive.all() or not positive.any() else "no source has both classes"
    if not both:
        return dict.fromkeys(("pooled", "within", "gap"), missing(nothing))
    index = group_index(groups)
    shared = np.isin(sources, both)
    fewest = min(len(set(groups[shared & side])) for side in (positive, ~positive))
    if fewest < 4:
        return dict.fromkeys(
            ("pooled", "within", "gap"), missing(f"only {fewest} group{'s' * (fewest != 1)} of a class in such sources")
        )
    count = int(index.max()) + 1
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=bootstrap)
    weights = np.concatenate([np.ones((1, count)), drawn])[:, index]
    with np.errstate(invalid="ignore"):
        pooled = weighted_auroc(scores, positive, weights)
        pairs = np.zeros((len(weights), len(both)))
        areas = np.zeros_like(pairs)
        for k, source in enumerate(both):
            here = sources == source
            side = [weights[:, here & s].sum(axis=1) for s in (positive, ~positive)]
            pairs[:, k] = side[0] * side[1]
            areas[:, k] = np.nan_to_num(weighted_auroc(scores[here], positive[here], weights[:, here]))
        within = (pairs * areas).sum(axis=1) / pairs.sum(axis=1)
    known = np.isfinite(pooled) & np.isfinite(within)  # a resample may leave no such pair
    t = float(stats.t.ppf(0.975, fewest - 1))

    def figure(values: NDArray[np.float64], least: float) -> Figure:
        value, half = float(values[0]), t * float(values[1:][known[1:]].std(ddof=1))
        n = {"n": len(scores), "groups": count}
        return {"value": value, "low": max(value - half, least), "high": min(value + half, 1.0), **n}

    return {"pooled": figure(pooled, 0), "within": figure(within, 0), "gap": figure(pooled - within, -1)}
