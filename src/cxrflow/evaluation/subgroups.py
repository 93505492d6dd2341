"""Figures of subgroups of a test set: by collection, view, sex, age and day after onset."""

from typing import Any

import numpy as np
import pandas as pd

from cxrflow.statistics.intervals import Question, aurocs, proportion
from cxrflow.statistics.scored import Scored

_AGES: dict[str, tuple[float, float]] = {
    "under 18": (0, 18),
    "18 to 39": (18, 40),
    "40 to 59": (40, 60),
    "60 to 79": (60, 80),
    "80 and over": (80, 200),
}
#: Early disease often looks normal (figure 1 of the paper).
_DAYS = {"day 0 to 3": (-np.inf, 4), "day 4 to 7": (4, 8), "day 8 to 14": (8, 15), "day 15 and later": (15, np.inf)}
UNKNOWN = "unknown"


def subgroups(scored: Scored) -> dict[str, dict[str, dict[str, Any]]]:
    """``by_collection``, ``by_view``, ``by_sex``, ``by_age`` and ``by_day``: for each subgroup the number of images
    ``n``, of ``groups`` and of ``images`` by class, and the figures ``accuracy``, ``sensitivity``, ``specificity`` and
    ``auroc``, the last three of the positive class against the rest. The prediction is the most probable class.

    scored  its table also has view, sex, age (years) and day. Images with an unknown value are a subgroup of their own.
            ``by_day`` has images of the positive class only; days count from onset or admission, whichever the
            collection uses.
    """
    table = scored.table
    known = traits(table)
    parts = {
        "by_collection": known["source"],
        "by_view": known["view"],
        "by_sex": known["sex"],
        "by_age": known["age"],
        "by_day": _bands(table.day, _DAYS).where(table.label == scored.task.positive, None),
    }
    order = [*sorted(set(table.source)), "PA", "AP", "other", "F", "M", *_AGES, *_DAYS, UNKNOWN]
    return {
        name: {
            str(part): _figures(scored.where(inside))
            for part in dict.fromkeys(order)
            if (inside := (values == part).to_numpy(bool)).any()
        }
        for name, values in parts.items()
    }


def traits(table: pd.DataFrame) -> dict[str, pd.Series]:
    """What records say of each image: ``source``, ``view``, ``sex`` and ``age`` in words.

    table  columns source, view, sex and age (years)
    """
    return {
        "source": table.source.astype(object),
        "view": table["view"].map(_direction),
        "sex": table.sex.astype(object).where(table.sex.notna(), UNKNOWN),
        "age": _bands(table.age, _AGES),
    }


def _direction(view: object) -> str:
    """PA or AP, erect or supine; ``other`` for any other view."""
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


def _figures(scored: Scored) -> dict[str, Any]:
    task, labels, groups, positive = scored.task, scored.labels, scored.groups, scored.positive
    called, name = scored.predicted == task.positive_column, task.positive_name
    question = Question(scored.positive_scores, positive, name)
    return {
        "n": len(scored),
        "groups": len(np.unique(groups)),
        "images": {each: int((labels == each).sum()) for each in task.order},
        "accuracy": proportion(scored.predicted == scored.truth, groups),
        "sensitivity": proportion(called[positive], groups[positive], f"no {name} image in the set"),
        "specificity": proportion(~called[~positive], groups[~positive], f"every image in the set is {name}"),
        "auroc": aurocs({"": question}, groups, scored.bootstrap)[1],
    }
