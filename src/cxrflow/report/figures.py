"""Figures of the page: plots as part of it, and their numbers as CSV, to be taken from it."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup, escape

from cxrflow.csv_files import to_csv
from cxrflow.evaluation.plots import CONFUSION, TRAINING, training_panel
from cxrflow.report.read import read_svg
from cxrflow.statistics.figure import Figure
from cxrflow.task import Task

_ID = re.compile(r'(\bid="|url\(#|href="#)')
_OF_FIGURE = ("value", "low", "high", "images", "groups")
_METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)


def drawn(svg: Markup, name: str, about: str) -> Markup:
    """An SVG as an element of the page: ``about`` for those who do not see it, and ``name`` before each of its ids, as
    matplotlib gives the same ones in every plot."""
    element = _METADATA.sub("", svg[svg.index("<svg") :])
    element = _ID.sub(rf"\g<1>{name}-", element)
    return Markup(element.replace("<svg", f'<svg role="img" aria-label="{escape(about)}"', 1))  # noqa: S704


def tables(figures: Mapping[str, Any], curves: Mapping[str, Any], task: Task) -> dict[str, str]:
    """The numbers of the plots of an evaluation as CSV, by plot.

    figures  contents of ``metrics.json``, typed; ``curves``, of ``curves.json``
    """
    confusion = figures["confusion"]
    shares = [confusion[key] for key in ("counts", "by_row", "by_column")]
    cells = [(a, b) for a in range(len(task.order)) for b in range(len(task.order))]
    bands = [(name, kind, curve) for name, both in curves.items() for kind, curve in both.items()]
    points = [
        (name, kind, *point)
        for name, kind, curve in bands
        if not isinstance(curve, Figure)
        for point in zip(*(curve[key] for key in ("x", "y", "low", "high")), strict=True)
    ]
    within = [("all", "macro", figures["test"]["macro_auroc"]), ("all", "baseline", figures["baseline"]["macro_auroc"])]
    within += [(source, pair, found) for source, pairs in figures["by_source"].items() for pair, found in pairs.items()]
    sure = [("reliability", row["confidence"], row["right"]) for row in figures["calibration"]["bins"]]
    sure += [("risk", row["answered"], row["risk"]) for row in figures["abstention"]]
    return {
        "confusion": _csv(
            [(task.order[a], task.order[b], *(part[a][b] for part in shares)) for a, b in cells],
            ["true", "predicted", "images", "share_of_true", "share_of_predicted"],
        ),
        "curves": _csv(points, ["class", "curve", "x", "y", "low", "high"]),
        "within": _csv([(*at, *_parts(found)) for *at, found in within], ["source", "pair", *_OF_FIGURE]),
        "calibration": _csv([(*at, *_parts(found)) for *at, found in sure], ["curve", "x", *_OF_FIGURE]),
    }


def audited(audit: Mapping[str, Any]) -> str:
    """Every figure of the audit as CSV: its test, where it stands in ``audit.json``, and its parts.

    audit  contents of ``audit.json``, typed
    """
    found = [(test, *each) for test, result in audit["tests"].items() for each in _named(result["figures"])]
    rows = [(test, " / ".join(names), *_parts(figure)) for test, names, figure in found]
    return _csv(rows, ["test", "figure", *_OF_FIGURE])


def _named(value: Any, *names: str) -> Iterator[tuple[tuple[str, ...], Figure]]:
    if isinstance(value, Figure):
        yield names, value
    elif isinstance(value, (Mapping, list)):
        for name, each in value.items() if isinstance(value, Mapping) else enumerate(value, start=1):
            yield from _named(each, *names, str(name))


def plots(folder: Path, task: Task) -> dict[str, list[Markup]]:
    """The plots of an evaluation by figure of the page, each of one panel or more."""
    files = {
        "confusion": [f"confusion-{key}" for key in CONFUSION],
        "curves": [f"curves-{name}" for name in task.order],
        "within": ["within_sources"],
        "calibration": ["reliability", "abstention"],
    }
    return {figure: [read_svg(folder / f"{name}.svg") for name in names] for figure, names in files.items()}


def training(history: pd.DataFrame, task: Task, chosen: int | None) -> dict[str, Any]:
    """The curves of a network's training, ``panels``, and their numbers, ``csv``; ``chosen`` is the epoch kept."""
    panels = [training_panel(history, task, chosen, key) for key in TRAINING]
    said = history.assign(epoch=history.epoch + 1)  # people count from 1
    return {"panels": [Markup(svg.decode()) for svg in panels], "csv": to_csv(said).decode()}  # noqa: S704


def _parts(figure: Figure) -> tuple[float | None, ...]:
    if not figure.known:
        return (None,) * 5
    return figure.value, figure.low, figure.high, figure.n, figure.groups


def _csv(rows: list[tuple[Any, ...]], columns: list[str]) -> str:
    table = pd.DataFrame(rows, columns=columns)
    counts = {name: "Int64" for name in ("images", "groups") if name in columns}  # whole, even where one is missing
    return to_csv(table.astype(counts), float_format="%.4g").decode()
