"""The figures of parts of a test set: by collection, view, sex, age and day after onset, where known."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrflow.records import CLASSES
from cxrflow.statistics.intervals import Figure, Question, aurocs, proportion

_COVID = CLASSES.index("covid")
_AGES: dict[str, tuple[float, float]] = {
    "under 18": (0, 18),
    "18 to 39": (18, 40),
    "40 to 59": (40, 60),
    "60 to 79": (60, 80),
    "80 and over": (80, 200),
}
#: Early disease often looks normal: figure 1 of the paper.
_DAYS = {"day 0 to 3": (-np.inf, 4), "day 4 to 7": (4, 8), "day 8 to 14": (8, 15), "day 15 and later": (15, np.inf)}
UNKNOWN = "unknown"


def subgroups(
    table: pd.DataFrame, probabilities: NDArray[Any], bootstrap: int, seed: int
) -> dict[str, dict[str, dict[str, Any]]]:
    """``by_collection``, ``by_view``, ``by_sex``, ``by_age`` and ``by_day``: for each part ``n`` images, ``groups``,
    ``images`` of each class, and the figures ``accuracy``, and of COVID-19 against the rest ``sensitivity`` and
    ``specificity`` (the prediction is the most probable class) and ``auroc``.

    table  label, group_id, source, view, sex, age, day of each image; probabilities  float (n, 3) in the order of
    CLASSES. Images of which it is not known are a part of their own; ``by_day`` is of COVID-19 images alone, days as
    the collection counts them, from onset or admission.
    """
    views = table.view.map(_direction)
    parts = {
        "by_collection": table.source.astype(object),
        "by_view": views,
        "by_sex": table.sex.astype(object).where(table.sex.notna(), UNKNOWN),
        "by_age": _bands(table.age, _AGES),
        "by_day": _bands(table.day, _DAYS).where(table.label == "covid", None),
    }
    order = [*sorted(set(table.source)), "PA", "AP", "other", "F", "M", *_AGES, *_DAYS, UNKNOWN]
    return {
        name: {
            str(part): _figures(table[inside], probabilities[inside], bootstrap, seed)
            for part in dict.fromkeys(order)
            if (inside := (values == part).to_numpy()).any()
        }
        for name, values in parts.items()
    }


def _direction(view: object) -> str:
    """PA or AP, however the patient lay; other for any other view."""
    if not isinstance(view, str):
        return UNKNOWN
    first = view.split()[0].upper()
    return first if first in ("PA", "AP") else "other"


def _bands(numbers: pd.Series, bands: dict[str, tuple[float, float]]) -> pd.Series:
    values = pd.to_numeric(numbers)
    out = pd.Series(UNKNOWN, index=numbers.index, dtype=object)
    for name, (low, high) in bands.items():
        out[(values >= low) & (values < high)] = name
    return out


def _figures(table: pd.DataFrame, probabilities: NDArray[Any], bootstrap: int, seed: int) -> dict[str, Any]:
    labels, groups = table.label.to_numpy(str), table.group_id.to_numpy(str)
    predicted = np.array(CLASSES)[probabilities.argmax(axis=1)]
    covid, called = labels == "covid", predicted == "covid"
    question = Question(probabilities[:, _COVID], covid, "covid")
    auroc: Figure = aurocs({"covid": question}, groups, bootstrap, seed)[1]
    return {
        "n": len(table),
        "groups": int(table.group_id.nunique()),
        "images": {name: int((labels == name).sum()) for name in CLASSES},
        "accuracy": proportion(predicted == labels, groups),
        "sensitivity": proportion(called[covid], groups[covid], "no covid image in the set"),
        "specificity": proportion(~called[~covid], groups[~covid], "every image in the set is covid"),
        "auroc": auroc,
    }
