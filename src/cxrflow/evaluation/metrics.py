"""Every figure of an evaluation from a table of images and their class probabilities."""

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from cxrflow.errors import CxrflowError
from cxrflow.records import CLASSES
from cxrflow.statistics.intervals import Figure, Question, aurocs, proportion

Probabilities = NDArray[np.floating[Any]]


def evaluate(table: pd.DataFrame, probabilities: Probabilities, bootstrap: int, seed: int) -> dict[str, Any]:
    """All figures of one test set, as JSON takes them.

    table: one row per image with label (one of CLASSES), source and group_id; its index plays no part.
    probabilities: float (n, 3) in the order of CLASSES, rows sum to 1; the prediction is the largest, the
    first of equals. bootstrap: resamples of groups for each AUROC, drawn from ``seed``.

    Returns ``test`` (macro_auroc, accuracy, and for each class sensitivity, specificity, ppv and auroc, one
    class against the rest), ``by_source`` (for each source and each pair of classes it has, ``<a>_vs_<b>``:
    the AUROC of p_a / (p_a + p_b) among its images of the two, where knowing the source cannot help),
    ``confusion`` (counts, by_row, by_column), ``n`` and ``groups``. Figures are as in ``intervals.Figure``.

    Raises CxrflowError where the inputs do not fit together.
    """
    probabilities = _checked(table, probabilities)
    truth, groups = _truth(table), table["group_id"].to_numpy()
    predicted = probabilities.argmax(axis=1)
    per_class, macro = _one_against_rest(truth, probabilities, groups, bootstrap, seed)
    test: dict[str, Any] = {"macro_auroc": macro, "accuracy": proportion(predicted == truth, groups)}
    for c, name in enumerate(CLASSES):
        is_class, called = truth == c, predicted == c
        absent, full = f"no {name} image in the set", f"every image in the set is {name}"
        test[name] = {
            "sensitivity": proportion(called[is_class], groups[is_class], absent),
            "specificity": proportion(~called[~is_class], groups[~is_class], full),
            "ppv": proportion(is_class[called], groups[called], f"no image was called {name}"),
            "auroc": per_class[name],
        }
    return {
        "test": test,
        "by_source": _by_source(table["source"].to_numpy(), truth, probabilities, groups, bootstrap, seed),
        "confusion": confusion(truth, predicted),
        "n": len(table),
        "groups": int(table["group_id"].nunique()),
    }


def macro_auroc(table: pd.DataFrame, probabilities: Probabilities, bootstrap: int, seed: int) -> Figure:
    """Mean of the classes' AUROC, one against the rest, alone; arguments and errors as for ``evaluate``."""
    probabilities = _checked(table, probabilities)
    return _one_against_rest(_truth(table), probabilities, table["group_id"].to_numpy(), bootstrap, seed)[1]


def confusion(truth: NDArray[np.integer[Any]], predicted: NDArray[np.integer[Any]]) -> dict[str, Any]:
    """Confusion matrix, true class on rows, from class numbers (n,).

    ``counts`` int 3 x 3; ``by_row`` shares of each true class (sensitivity on the diagonal); ``by_column``
    shares of each predicted class (PPV on the diagonal); None where a row or column is empty.
    """
    counts = confusion_matrix(truth, predicted, labels=range(len(CLASSES)))

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


def _one_against_rest(
    truth: NDArray[np.int64], probabilities: Probabilities, groups: NDArray[Any], bootstrap: int, seed: int
) -> tuple[dict[str, Figure], Figure]:
    questions = {name: Question(probabilities[:, c], truth == c, name) for c, name in enumerate(CLASSES)}
    return aurocs(questions, groups, bootstrap, seed)


def _by_source(
    sources: NDArray[Any],
    truth: NDArray[np.int64],
    probabilities: Probabilities,
    groups: NDArray[Any],
    bootstrap: int,
    seed: int,
) -> dict[str, dict[str, Figure]]:
    figures: dict[str, dict[str, Figure]] = {}
    for source in sorted(set(sources)):
        pairs = {}
        for a, b in combinations(range(len(CLASSES)), 2):
            among = (sources == source) & np.isin(truth, (a, b))
            if len(set(truth[among])) < 2:
                continue
            p_a, p_b = probabilities[among, a], probabilities[among, b]
            share = np.divide(p_a, p_a + p_b, out=np.full(len(p_a), 0.5), where=p_a + p_b > 0)
            question = Question(share, truth[among] == a, CLASSES[a], CLASSES[b])
            pairs[f"{CLASSES[a]}_vs_{CLASSES[b]}"] = aurocs({"": question}, groups[among], bootstrap, seed)[1]
        figures[str(source)] = pairs
    return figures


def _truth(table: pd.DataFrame) -> NDArray[np.int64]:
    return np.array([CLASSES.index(label) for label in table["label"]], dtype=np.int64)


def _checked(table: pd.DataFrame, probabilities: Probabilities) -> Probabilities:
    values = np.asarray(probabilities)
    absent = [name for name in ("label", "source", "group_id") if name not in table]
    if absent:
        raise CxrflowError(f"The table to evaluate lacks the column {absent[0]}; pass records.")
    if len(table) == 0:
        raise CxrflowError("There is no image to evaluate; see which records are kept and in the test split.")
    if values.shape != (len(table), len(CLASSES)):
        raise CxrflowError(
            f"Probabilities of shape {values.shape} do not fit {len(table)} images; "
            f"pass one row per image with the columns {', '.join(CLASSES)}."
        )
    unknown = sorted({str(label) for label in table["label"]} - set(CLASSES))
    if unknown:
        raise CxrflowError(f"Label {unknown[0]} is not one of {', '.join(CLASSES)}; leave such images out.")
    for name in ("source", "group_id"):
        if table[name].isna().any():
            count = int(table[name].isna().sum())
            raise CxrflowError(f"{count} of the images to evaluate have no {name}; give every image one.")
    if not np.issubdtype(values.dtype, np.floating) or not np.isfinite(values).all():
        raise CxrflowError("Some probabilities are not finite; see whether the training loss became NaN.")
    if values.min() < 0 or np.abs(values.sum(axis=1, dtype=np.float64) - 1).max() > 1e-3:
        raise CxrflowError("Some rows are not probabilities adding up to 1; pass softmax outputs.")
    return values
