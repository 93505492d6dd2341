"""What the data cannot tell: how many patients are missing, and which questions no number of images would answer."""

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from cxrflow.records import CLASSES, NAMES
from cxrflow.statistics.intervals import Figure

#: Half the width of the interval that is wanted.
HALF_WIDTH = 0.05
#: Patients of a class that a collection must have to be asked anything about it.
FEW = 5
_FIGURES = {"auroc": "AUROC", "sensitivity": "sensitivity", "specificity": "specificity", "ppv": "PPV"}


def cannot_tell(figures: dict[str, Any], test: pd.DataFrame, held: pd.DataFrame) -> dict[str, Any]:
    """What more patients would tell (``needed``) and what they would not (``unanswerable``).

    figures  as ``metrics.evaluate`` gives them, with ``operating_points``
    test     label, source and group_id of the test images; held  the same of all images, of all splits

    ``needed``: for each figure of the test set, and within each source, ``figure``, ``interval`` (low, high, or None),
    and ``more``: for each kind of patient that it rests on ``kind`` (label), ``sources`` (that have such patients, and
    from any of which they may come), ``groups`` (there are now) and ``needed`` (more, or None where there is no
    interval to reckon from, with ``reason``). An interval's width shrinks with the square root of the groups, so that
    f = (width / 0.1)^2 times as many are needed, of each kind; f is at least 1.
    """
    return {"half_width": HALF_WIDTH, "needed": _needed(figures, test), "unanswerable": unanswerable(held)}


def unanswerable(held: pd.DataFrame) -> list[str]:
    """Sentences: what more images of these collections cannot tell, because class and source coincide.

    held  label, source and group_id of all images; a collection that has fewer than FEW groups of a class, of all
          splits, is taken not to have it
    """
    groups = held.groupby(["label", "source"]).group_id.nunique()
    present = {name: [s for s in sorted(set(held.source)) if groups.get((name, s), 0) >= FEW] for name in CLASSES}
    said = [
        f"Anything of {NAMES[name]}: no collection here has {FEW} patients of it."
        for name in CLASSES
        if not present[name]
    ]
    for a, b in combinations([name for name in CLASSES if present[name]], 2):
        both = [source for source in present[a] if source in present[b]]
        if not both:
            said.append(
                f"Whether the network tells {NAMES[a]} from {NAMES[b]} or one hospital from another: no collection "
                f"here has {FEW} patients of each ({NAMES[a]}: {', '.join(present[a])}; "
                f"{NAMES[b]}: {', '.join(present[b])})."
            )
        elif len(both) == 1:
            said.append(
                f"Whether what tells {NAMES[a]} from {NAMES[b]} in {both[0]} does so in another hospital: no other "
                f"collection here has {FEW} patients of each."
            )
    for source in sorted(set(held.source)):
        classes = [name for name in CLASSES if source in present[name]]
        if not classes:
            said.append(f"Anything of {source}: it has fewer than {FEW} patients of every class.")
        if len(classes) == 1:
            said.append(
                f"Anything within {source} alone: of its patients only those with {NAMES[classes[0]]} are {FEW} or "
                f"more."
            )
    return said


def more_groups(figure: Figure, groups: int) -> int | None:
    """How many groups beyond ``groups`` bring a figure's interval to +-HALF_WIDTH; None where it has no interval."""
    if figure["value"] is None:
        return None
    factor = ((figure["high"] - figure["low"]) / (2 * HALF_WIDTH)) ** 2
    return max(int(np.ceil(groups * (factor - 1) - 1e-9)), 0)


def _needed(figures: dict[str, Any], test: pd.DataFrame) -> list[dict[str, Any]]:
    pooled, point = figures["test"], figures["operating_points"]["specificity"]
    every = list(CLASSES)
    rows = [
        _row("macro AUROC", pooled["macro_auroc"], every, None, test),
        _row("accuracy", pooled["accuracy"], every, None, test),
    ]
    for name in CLASSES:
        said, others = NAMES[name], [other for other in CLASSES if other != name]
        kinds = {"auroc": every, "sensitivity": [name], "specificity": others, "ppv": every}
        rows += [_row(f"{said} {_FIGURES[key]}", pooled[name][key], of, None, test) for key, of in kinds.items()]
    for key, of in (("sensitivity", ["covid"]), ("specificity", ["normal", "pneumonia"])):
        rows.append(_row(f"COVID-19 {key} at the wanted specificity", point[key], of, None, test))
    for source, pairs in figures["by_source"].items():
        for pair, figure in pairs.items():
            a, b = pair.split("_vs_")
            rows.append(_row(f"AUROC of {NAMES[a]} against {NAMES[b]} within {source}", figure, [a, b], source, test))
    return rows


def _row(name: str, figure: Figure, kinds: list[str], source: str | None, test: pd.DataFrame) -> dict[str, Any]:
    more = []
    for kind in kinds:
        rows = test[(test.label == kind) & (test.source == source if source is not None else True)]
        groups = int(rows.group_id.nunique())
        sources = sorted(set(rows.source))
        more.append({"kind": kind, "sources": sources, "groups": groups, "needed": more_groups(figure, groups)})
    known = figure["value"] is not None
    row = {"figure": name, "interval": [figure["low"], figure["high"]] if known else None, "more": more}
    return row if known else row | {"reason": figure["reason"]}
