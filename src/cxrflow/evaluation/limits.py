"""What the data cannot tell: how many more patients are needed, and which questions more images would not answer."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from cxrflow.metadata.groups import unknown_patients
from cxrflow.statistics.figure import Figure
from cxrflow.statistics.scored import Scored
from cxrflow.task import Task

#: Wanted half width of an interval.
HALF_WIDTH = 0.05
#: A collection with fewer patients of a class than this counts as not having the class.
FEW = 5
_FIGURES = {"auroc": "AUROC", "sensitivity": "sensitivity", "specificity": "specificity", "ppv": "PPV"}


def cannot_tell(figures: dict[str, Any], scored: Scored, held: pd.DataFrame) -> dict[str, Any]:
    """What more patients would tell (``needed``), and what they would not (``unanswerable``).

    figures  as returned by ``metrics.evaluate``, with ``operating_points``
    scored   the test images
    held     label, source, group_id and patient_id of all images of the collections, of all splits

    ``unknown_patients``: a sentence for each collection whose patients are not all known, so that figures may leak.
    ``needed``: for each figure, of the whole test set and within each source, ``figure`` (its name), ``interval`` (low
    and high; None, with ``reason``, for a missing figure) and ``more``. ``more`` lists each class whose patients the
    figure is computed from: ``kind`` (the class), ``sources`` (that have such patients; more may come from any of
    them), ``groups`` (number now) and ``needed`` (number to add; None without an interval). An interval's width shrinks
    with the square root of the number of groups, so f = (width / 0.1)^2 times as many are needed of each kind; f is at
    least 1.
    """
    return {
        "half_width": HALF_WIDTH,
        "needed": _needed(figures, scored),
        "unanswerable": unanswerable(held, scored.task),
        "unknown_patients": unknown_patients(held),
    }


def unanswerable(held: pd.DataFrame, task: Task) -> list[str]:
    """Sentences on what more images of these collections cannot tell, because class and source coincide.

    held  label, source and group_id of all images. A collection with fewer than FEW groups of a class, over all splits,
          counts as not having the class
    """
    names = task.names
    groups = held.groupby(["label", "source"]).group_id.nunique()
    present = {name: [s for s in sorted(set(held.source)) if groups.get((name, s), 0) >= FEW] for name in task.order}
    said = [
        f"Anything of {names[name]}: no collection here has {FEW} patients of it."
        for name in task.order
        if not present[name]
    ]
    for a, b in task.pairs:
        both = [source for source in present[a] if source in present[b]]
        if present[a] and present[b] and not both:
            said.append(
                f"Whether the network tells {names[a]} from {names[b]} or one hospital from another: no collection "
                f"here has {FEW} patients of each ({names[a]}: {', '.join(present[a])}; "
                f"{names[b]}: {', '.join(present[b])})."
            )
        elif len(both) == 1:
            said.append(
                f"Whether the network, if it tells {names[a]} from {names[b]} in {both[0]}, does so in another "
                f"hospital: no other collection here has {FEW} patients of each."
            )
    for source in sorted(set(held.source)):
        classes = [name for name in task.order if source in present[name]]
        if not classes:
            said.append(f"Anything of {source}: it has fewer than {FEW} patients of every class.")
        if len(classes) == 1:
            said.append(
                f"Anything within {source} alone: {names[classes[0]]} is the only class of which it has {FEW} patients "
                f"or more."
            )
    return said


def more_groups(figure: Figure, groups: int) -> int | None:
    """How many groups to add to ``groups`` for an interval of +-HALF_WIDTH; None for a missing figure."""
    if not figure.known:
        return None
    factor = ((figure.high - figure.low) / (2 * HALF_WIDTH)) ** 2
    return max(int(np.ceil(groups * (factor - 1) - 1e-9)), 0)


def _needed(figures: dict[str, Any], scored: Scored) -> list[dict[str, Any]]:
    task, table = scored.task, scored.table
    pooled, point = figures["test"], figures["operating_points"]["specificity"]

    def others(name: str) -> list[str]:
        return [other for other in task.order if other != name]

    rows = [
        _row("macro AUROC", pooled["macro_auroc"], task.order, table),
        _row("accuracy", pooled["accuracy"], task.order, table),
    ]
    for name in task.order:
        kinds = {"auroc": task.order, "sensitivity": [name], "specificity": others(name), "ppv": task.order}
        for key, of in kinds.items():
            rows.append(_row(f"{task.names[name]} {_FIGURES[key]}", pooled[name][key], of, table))
    for key, of in (("sensitivity", [task.positive]), ("specificity", others(task.positive))):
        rows.append(_row(f"{task.positive_name} {key} at the wanted specificity", point[key], of, table))
    for source, pairs in figures["by_source"].items():
        for pair, figure in pairs.items():
            a, b = pair.split("_vs_")
            named = f"AUROC of {task.names[a]} against {task.names[b]} within {source}"
            rows.append(_row(named, figure, (a, b), table[table.source == source]))
    return rows


def _row(name: str, figure: Figure, kinds: Iterable[str], table: pd.DataFrame) -> dict[str, Any]:
    more = []
    for kind in kinds:
        rows = table[table.label == kind]
        groups = int(rows.group_id.nunique())
        sources = sorted(set(rows.source))
        more.append({"kind": kind, "sources": sources, "groups": groups, "needed": more_groups(figure, groups)})
    row = {"figure": name, "interval": [figure.low, figure.high] if figure.known else None, "more": more}
    return row if figure.known else row | {"reason": figure.reason}
