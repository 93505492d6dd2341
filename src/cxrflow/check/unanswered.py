"""What the data cannot answer, in sentences, before any network is trained: the report's own functions, and no other
logic than theirs where they have one."""

from itertools import count
from typing import Any

import numpy as np
import pandas as pd

from cxrflow.check.fingerprint import held
from cxrflow.errors import CxrflowError
from cxrflow.evaluation.limits import HALF_WIDTH, more_groups, unanswerable
from cxrflow.evaluation.subgroups import traits
from cxrflow.metadata.build import Built
from cxrflow.metadata.counts import classes_of_children, groups_of_classes, kept_of, summary, why_left_out
from cxrflow.metadata.groups import check_classes
from cxrflow.params import Metadata
from cxrflow.statistics.figure import Figure
from cxrflow.statistics.intervals import wilson
from cxrflow.task import Task
from cxrflow.text import number_of

#: Assumed sensitivity, before there is a network to measure one of.
_ASSUMED = 0.8
#: A trait that at least _MOST of one class's images have, and at most _FEW of another's, tells the two apart.
_MOST, _FEW = 0.8, 0.2
_TRAITS = {"child": "children from adults", "AP": "AP views from PA views"}


def unanswered(built: Built, task: Task, metadata: Metadata) -> list[str]:
    """Sentences on what a study of these records cannot tell: why it would stop, if it would; what would need more
    patients, and how many; classes that coincide with a source, with children or with a view; what is not known."""
    counted = groups_of_classes(built.table)
    said = []
    try:
        children = classes_of_children(built.table, metadata.paediatric)
        check_classes(counted, task, why_left_out(built), children)
    except CxrflowError as error:
        said.append(f"Anything, as it stands; the study would stop: {error}")
    said += too_few(counted, task)
    said += unanswerable(held(built), task)
    said += confounded(_shares_of_traits(built), task)
    said += summary(built)["unknown_patients"]
    return said + _not_known(built)


def enough() -> int:
    """The fewest patients of a class whose interval of a sensitivity of _ASSUMED is no wider than +-HALF_WIDTH."""
    return next(groups for groups in count(1) if np.diff(wilson(_ASSUMED, groups)) <= 2 * HALF_WIDTH)


def too_few(counted: pd.DataFrame, task: Task) -> list[str]:
    """A sentence for each class with too few patients in test for an interval of +-HALF_WIDTH, and how many more.

    counted  columns label, split, groups, as ``counts.groups_of_classes``
    """
    said = []
    tested = counted[counted.split == "test"].set_index("label").groups
    for label in task.order:
        groups = int(tested.get(label, 0))
        if groups and (more := _more(groups)):
            said.append(
                f"The sensitivity for {task.names[label]} to +-{HALF_WIDTH}: the test split has "
                f"{number_of(groups, 'patient')} of it, and about {more:,} more are needed there if it is about "
                f"{_ASSUMED}."
            )
    return said


def confounded(shares: dict[str, dict[str, float]], task: Task) -> list[str]:
    """A sentence for each pair of classes that a trait tells apart.

    shares  trait -> class -> share of its images with the trait, in [0, 1]; a class of which it is not known is absent
    """
    return [
        f"Whether the network tells {task.names[a]} from {task.names[b]} or {_TRAITS[trait]}: of the images whose "
        f"{'age' if trait == 'child' else 'view'} is known, {of[a]:.0%} of {task.names[a]} and {of[b]:.0%} of "
        f"{task.names[b]} are {'of children' if trait == 'child' else 'AP'}."
        for trait, of in shares.items()
        for a, b in task.pairs
        if a in of and b in of and min(of[a], of[b]) <= _FEW and max(of[a], of[b]) >= _MOST
    ]


def _more(groups: int) -> int:
    """How many patients to add to ``groups``, at the assumed sensitivity."""
    low, high = wilson(_ASSUMED, groups)
    return more_groups(Figure(_ASSUMED, float(low), float(high), groups, groups), groups) or 0


def _shares_of_traits(built: Built) -> dict[str, dict[str, float]]:
    kept = kept_of(built.table)
    keys = ["label", "source", "view", "sex", "age", "paediatric"]
    counted = kept.group_by(keys).agg(images=kept.count()).to_pandas()
    child = counted.paediatric.astype(bool) | (counted.age < 18)
    age_known = child | counted.age.notna()
    view = pd.DataFrame(traits(counted))["view"]
    shares: dict[str, dict[str, float]] = {"child": {}, "AP": {}}
    for trait, has, known in (("child", child, age_known), ("AP", view == "AP", view.isin(("AP", "PA")))):
        for label, rows in counted.assign(has=has)[known].groupby("label"):
            shares[trait][str(label)] = float(rows.images[rows.has].sum() / rows.images.sum())
    return shares


def _not_known(built: Built) -> list[str]:
    """A sentence for each source of which no view, no age or no sex is known."""
    kept = kept_of(built.table)
    counted: Any = kept.group_by("source").agg(
        images=kept.count(), **{name: kept[name].count() for name in ("view", "age", "sex")}
    )
    said = []
    for row in counted.order_by("source").to_pandas().to_dict("records"):
        absent = [name for name in ("view", "age", "sex") if row[name] == 0]
        if absent:
            said.append(
                f"Anything by {' or '.join(absent)} within {row['source']}: it says none of its "
                f"{number_of(int(row['images']), 'image')}."
            )
    return said
