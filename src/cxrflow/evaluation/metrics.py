"""Sensitivity, specificity, PPV, AUROC and the confusion matrix of one test set, pooled and within each source."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from cxrflow.statistics.figure import Figure
from cxrflow.statistics.intervals import Question, aurocs, proportion
from cxrflow.statistics.scored import Scored


def evaluate(scored: Scored) -> dict[str, Any]:
    """All figures of one test set; the predicted class is the most probable one, the first one if several tie.

    ``test``       ``macro_auroc``, ``accuracy``, and for each class, one against the rest, ``sensitivity``,
                   ``specificity``, ``ppv`` and ``auroc``
    ``by_source``  for each source and each pair of classes it has, ``<a>_vs_<b>``: the AUROC of p_a / (p_a + p_b) among
                   its images of the two classes, where knowing the source cannot help
    ``confusion``  as returned by ``confusion``
    ``n``, ``groups``   images and groups of patients
    """
    names, truth, predicted, groups = scored.task.names, scored.truth, scored.predicted, scored.groups
    per_class, macro = one_against_rest(scored)
    test: dict[str, Any] = {"macro_auroc": macro, "accuracy": proportion(predicted == truth, groups)}
    for c, name in enumerate(scored.task.order):
        is_class, called, said = truth == c, predicted == c, names[name]
        absent, full = f"no {said} image in the set", f"every image in the set is {said}"
        test[name] = {
            "sensitivity": proportion(called[is_class], groups[is_class], absent),
            "specificity": proportion(~called[~is_class], groups[~is_class], full),
            "ppv": proportion(is_class[called], groups[called], f"no image was called {said}"),
            "auroc": per_class[name],
        }
    return {
        "test": test,
        "by_source": _by_source(scored),
        "confusion": confusion(truth, predicted, len(scored.task.order)),
        "n": len(scored),
        "groups": len(np.unique(groups)),
    }


def macro_auroc(scored: Scored) -> Figure:
    """Unweighted mean of the AUROC of each class against the rest."""
    return one_against_rest(scored)[1]


def one_against_rest(scored: Scored) -> tuple[dict[str, Figure], Figure]:
    """The AUROC of each class against the rest, and their unweighted mean, from the same resamples of groups."""
    names, truth = scored.task.names, scored.truth
    questions = {
        name: Question(scored.probabilities[:, c], truth == c, names[name]) for c, name in enumerate(scored.task.order)
    }
    return aurocs(questions, scored.groups, scored.bootstrap)


def confusion(
    truth: NDArray[np.integer[Any]], predicted: NDArray[np.integer[Any]], classes: int
) -> dict[str, list[list[Any]]]:
    """Confusion matrix, true class on rows, from class indices (n,).

    ``counts``     int, classes x classes
    ``by_row``     shares of each true class (sensitivity on the diagonal); None where a row is empty
    ``by_column``  shares of each predicted class (PPV on the diagonal); None where a column is empty
    """
    counts = confusion_matrix(truth, predicted, labels=range(classes))

    def shares(totals: NDArray[np.int64]) -> list[list[float | None]]:
        whole = np.broadcast_to(totals, counts.shape)
        return [
            [int(count) / int(total) if total else None for count, total in zip(*row, strict=True)]
            for row in zip(counts, whole, strict=True)
        ]

    return {
        "counts": counts.tolist(),
        "by_row": shares(counts.sum(axis=1, keepdims=True)),
        "by_column": shares(counts.sum(axis=0, keepdims=True)),
    }


def _by_source(scored: Scored) -> dict[str, dict[str, Figure]]:
    names, labels, groups = scored.task.names, scored.labels, scored.groups
    figures: dict[str, dict[str, Figure]] = {}
    for source in sorted(set(scored.sources)):
        pairs = figures[str(source)] = {}
        for a, b in scored.task.pairs:
            among = (scored.sources == source) & scored.among(a, b)
            if len(set(labels[among])) == 2:
                question = Question(scored.share(a, b)[among], labels[among] == a, names[a], names[b])
                pairs[f"{a}_vs_{b}"] = aurocs({"": question}, groups[among], scored.bootstrap)[1]
    return figures
