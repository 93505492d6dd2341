"""Does the table alone, without a pixel, do as well as the network?"""

import numpy as np

from cxrflow.audit.context import Audited
from cxrflow.audit.verdicts import FOUND, NOT_FOUND, UNTOLD, AuditTest, Limit, Result, Rows, Verdict, simultaneous
from cxrflow.evaluation.baseline import baseline_probabilities, fit_baseline
from cxrflow.evaluation.differences import differences
from cxrflow.statistics.figure import Figure, in_words
from cxrflow.statistics.scored import Scored

#: Limit of the macro AUROC of the baseline.
LIMIT = Limit(0.55)
#: The table is as good as the network if the whole interval of the network's gain in AUROC lies below this.
AS_GOOD = 0.05


def run(context: Audited) -> Result:
    """The macro AUROC of the baseline, which knows source, view, age and sex alone, the macro AUROC of the network, and
    their difference, from the same resamples of groups."""
    fitted = fit_baseline(context.dataset.split("train").records)
    without = baseline_probabilities(fitted, context.predicted.records, context.task)
    table = Scored(context.task, context.predictions, np.asarray(without), context.bootstrap)
    compared = differences(table, context.scored, (None, None))["macro_auroc"]
    compared["a"] = simultaneous(compared["a"], context.claims, 0)
    compared["difference"] = simultaneous(compared["difference"], context.claims)
    verdict = judge(compared["a"], compared["difference"])
    words = (
        f"Source, view, age and sex alone give a macro AUROC of {in_words(compared['a'])}; the network, "
        f"{in_words(compared['b'])}; the difference is {in_words(compared['difference'])}. "
        + {
            FOUND: "The network does not clearly beat a table without a pixel.",
            NOT_FOUND: "The table does not explain the network's result.",
            UNTOLD: "There are too few images to say which is better.",
        }[verdict]
    )
    return Result(
        verdict,
        words,
        {"network": compared["b"], "without_a_pixel": compared["a"], "difference": compared["difference"]},
        (
            Rows("auroc", "without a pixel", {"source, view, age, sex": compared["a"]}),
            Rows("change", "network minus baseline, AUROC", {"macro": compared["difference"]}),
        ),
    )


def judge(table: Figure, difference: Figure) -> Verdict:
    """The verdict from the table's macro AUROC, and from ``difference``, the network's minus the table's.

    Shortcut found if the table predicts the class and the network is better by less than AS_GOOD. Not found if the
    network is better than the table, or the table does not predict the class.
    """
    if not difference.known:
        return UNTOLD
    told = LIMIT.judge(table)
    if told == FOUND and difference.high < AS_GOOD:
        return FOUND
    return NOT_FOUND if told == NOT_FOUND or difference.low > 0 else UNTOLD


TEST = AuditTest("baseline", "Does the table alone, without a pixel, do as well?", LIMIT, lambda _: 2, "source", run)
