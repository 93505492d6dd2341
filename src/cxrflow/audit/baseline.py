"""Does the table alone, without a pixel, do as well as the network?"""

import numpy as np
from scipy import stats

from cxrflow.audit.context import Audited
from cxrflow.audit.verdicts import AuditTest, Limit, Result, Rows, simultaneous
from cxrflow.audit.words import CLEAR, FOUND, UNTOLD, Verdict
from cxrflow.statistics.figure import Figure, in_words, missing
from cxrflow.statistics.resampling import LEAST_GROUPS, effective_groups, resamples, too_few_groups
from cxrflow.statistics.scored import Scored
from cxrflow.statistics.within import stratified_auroc

#: Limit of the macro AUROC, of the table and of the network: below it, they tell nothing of the class.
LIMIT = Limit(0.55)
#: Among pictures of which the table says about the same, the network adds next to nothing if the whole interval of its
#: macro AUROC minus the table's lies below this.
ADDED = 0.1
#: Limit of the network's macro AUROC minus the table's: the network is better if the whole interval lies above it.
BETTER = 0.05

_STRATA = 5  # remove nine tenths of a confounder's effect (Cochran, Biometrics 1968; 24: 295-313)


def run(context: Audited) -> Result:
    """The macro AUROC of the table, which knows source, view, age and sex alone, that of the network, their difference
    from the same resamples of groups, and their difference among pictures of which the table says about the same."""
    compared = context.compared
    figures = {
        "network": simultaneous(compared["b"], context.claims, 0),
        "without_a_pixel": simultaneous(compared["a"], context.claims, 0),
        "difference": simultaneous(compared["difference"], context.claims),
        "added": simultaneous(added(context.scored, context.table), context.claims),
    }
    verdict = judge(figures["without_a_pixel"], figures["network"], figures["difference"], figures["added"])
    words = (
        f"Source, view, age and sex alone give a macro AUROC of {in_words(figures['without_a_pixel'])}; the network, "
        f"{in_words(figures['network'])}; the difference is {in_words(figures['difference'])}. Among pictures of which "
        f"these four say about the same, the difference is {in_words(figures['added'])}."
    )
    return Result(
        verdict,
        words,
        dict(figures),
        (
            Rows("auroc", "without a pixel", {"source, view, age, sex": figures["without_a_pixel"]}),
            Rows(
                "change",
                "network minus baseline, AUROC",
                {"macro": figures["difference"], "macro, table alike": figures["added"]},
            ),
        ),
        closing={
            FOUND: "The network knows next to nothing that a table without a pixel does not say.",
            CLEAR: "The table does not explain the network's result.",
            UNTOLD: "It cannot be told how much of the network's result the table explains.",
        },
    )


def judge(table: Figure, network: Figure, difference: Figure, added: Figure) -> Verdict:
    """The verdict from the macro AUROC of the table and of the network, the network's minus the table's, and the same
    among pictures of which the table says about the same.

    Shortcut found if table and network both tell the class, but the network adds next to nothing to the table. That the
    table does as well is no shortcut by itself: where hospitals differ in their patients, an honest network may be no
    better. No shortcut found if the network is better than the table, or the table does not tell the class.
    """
    if not difference.known:
        return UNTOLD
    told = LIMIT.judge(table)
    if told == LIMIT.judge(network) == FOUND and added.known and added.high < ADDED:
        return FOUND
    return CLEAR if told == CLEAR or difference.low > BETTER else UNTOLD


def added(network: Scored, table: Scored) -> Figure:
    """The network's macro AUROC minus the table's, each class against the rest, among pictures whose score of that
    class by the table is in the same fifth: about 0 for a network that repeats the table.

    The interval is the value +- t times the standard error of the group bootstrap, with t for the fewest effective
    groups of a class. Missing if there is no pair of pictures to compare for some class.
    """
    order, groups = network.task.order, network.groups
    sides = [network.labels == name for name in order]
    if not all(side.any() for side in sides):
        return missing("a class has no picture")
    everyone = np.ones(len(groups), np.bool_)
    weights = np.concatenate([np.ones((1, len(groups))), *resamples([everyone], groups, network.bootstrap)])
    gains = []
    for side, ours, theirs in zip(sides, network.probabilities.T, table.probabilities.T, strict=True):
        fifths = np.searchsorted(np.quantile(theirs, np.arange(1, _STRATA) / _STRATA), theirs)
        one, other = (stratified_auroc(scores, side, fifths, weights) for scores in (ours, theirs))
        gains.append(one - other)
    macro = np.mean(gains, axis=0)
    if not np.isfinite(macro[0]):
        return missing("the table says the same of no two pictures of different classes")
    fewest = min(effective_groups(groups[side]) for side in sides)
    if fewest < LEAST_GROUPS:
        return missing(too_few_groups(int(fewest)))
    value, half = float(macro[0]), float(stats.t.ppf(0.975, fewest - 1) * np.nanstd(macro[1:], ddof=1))
    return Figure(value, max(value - half, -1.0), min(value + half, 1.0), len(groups), len(np.unique(groups)))


TEST = AuditTest("baseline", "Does the table alone, without a pixel, do as well?", LIMIT, lambda _: 4, "source", run)
