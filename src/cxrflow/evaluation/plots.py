"""The plots of an evaluation, as SVG or PNG bytes; they draw given figures and compute none."""

import io
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from cxrflow.evaluation.learned import CHANCE
from cxrflow.statistics.figure import Figure, in_words
from cxrflow.task import Task

Kind = Literal["svg", "png"]

#: Colours of text and lines, of grid and chance lines, and of data that belong to no class.
INK, FAINT, ACCENT = "#2B2F33", "#8A9096", "#3A7D7C"
#: Colour of text of second rank: 4.5 to 1 against white, as WCAG 2 asks; FAINT has 3.2.
SOFT = "#5B6876"
#: Width of a panel, inches: a phone shows it whole, a desk three side by side.
PANEL = 3.1
#: A row of a forest plot: name, figure (None for a title), colour.
Row = tuple[str, Figure | None, str]
_BLUES = LinearSegmentedColormap.from_list("ink", ["#F7F9FB", "#8FB0CC", "#1F4E79"])
_WIDEST_LINE = 13  # characters of a line of a class name in the confusion matrix, unless a word is longer
_WIDEST_FLAT = 11  # of a line that fits under a cell, and beside it when turned by 90 degrees
#: Forest plots: width and height of a line of text, inches; lines of a title, a row and the axis; letters across.
_FOREST, _ROW_INCHES, _TITLE, _ROW, _AXIS, _LETTERS = 4.6, 0.24, 1.3, 1.8, 2.5, 62
_DARK = 0.77  # shade of a cell from which white stands out more than black; either by 4.5 to 1
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "cxrflow",
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.titlepad": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.8,
    "ytick.major.width": 0.8,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
}


#: The panels of the confusion matrix, and of the training curves: key and title.
CONFUSION = {
    "counts": "Images\n(diagonal: called rightly)",
    "by_row": "Share of each true class\n(diagonal: sensitivity)",
    "by_column": "Share of each predicted class\n(diagonal: PPV)",
}
TRAINING = {"loss": "Loss", "sensitivity": "Sensitivity on val", "ppv": "PPV on val"}


def confusion_panel(confusion: Mapping[str, Any], task: Task, key: str, kind: Kind = "svg") -> bytes:
    """The confusion matrix of ``metrics.confusion``: one of CONFUSION."""
    wrapped = [textwrap.wrap(task.names[name], _WIDEST_LINE) for name in task.order]
    names = [_plain("\n".join(lines)) for lines in wrapped]
    long = max(len(line) for lines in wrapped for line in lines) > _WIDEST_FLAT
    turned: dict[str, Any] = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if long else {}
    beside: dict[str, Any] = {"ha": "right"} if long else {"rotation": 90}
    more = max(len(names) - 3, 0) * 0.75  # inches, for the cells of a fourth class and so on
    with new_canvas(PANEL + more + (0.5 if long else 0), PANEL + 0.3 + more, kind) as (canvas, out):
        axes = canvas.add_subplot()
        values = np.array(confusion[key], dtype=float)  # None becomes NaN
        shade = values / max(np.nanmax(values, initial=0), 1) if key == "counts" else values
        axes.imshow(np.nan_to_num(shade), cmap=_BLUES, vmin=0, vmax=1)
        for (row, col), value in np.ndenumerate(values):
            text = "–" if np.isnan(value) else f"{value:,.0f}" if key == "counts" else f"{value:.2f}"
            style: dict[str, Any] = {"color": "white" if shade[row, col] > _DARK else "black", "fontsize": 12}
            weight = "bold" if row == col else "regular"
            axes.text(col, row, text, ha="center", va="center", fontweight=weight, **style)
        axes.set_xticks(range(len(names)), names, **turned)
        axes.set_yticks(range(len(names)), names, va="center", **beside)
        between = np.arange(0.5, len(names) - 1)
        axes.set_xticks(between, minor=True)
        axes.set_yticks(between, minor=True)
        axes.grid(which="minor", color="white", linewidth=2)
        axes.tick_params(which="both", length=0)
        axes.spines[:].set_visible(False)
        axes.set(title=CONFUSION[key], xlabel="predicted class", ylabel="true class")
    return out.getvalue()


def training_panel(history: pd.DataFrame, task: Task, chosen: int | None, key: str, kind: Kind = "svg") -> bytes:
    """One of TRAINING by epoch, counted from 1: the losses, or sensitivity or PPV of each class on val; the chosen
    epoch is marked.

    history  one row per epoch: epoch (from 0), train_loss, val_loss, and for each class val_sensitivity_<class> and
             val_ppv_<class>; a missing value leaves a gap
    chosen   the epoch (from 0) whose weights are kept, or None
    """
    epochs = history["epoch"] + 1
    marker = "o" if len(history) < 25 else None
    with new_canvas(PANEL, PANEL, kind) as (canvas, out):
        axes = canvas.add_subplot()
        axes.set(title=TRAINING[key], xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
        if chosen is not None:
            axes.axvline(chosen + 1, color=FAINT, linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
        if key == "loss":
            for column, name, style in (("train_loss", "train", (0, (3, 1.5))), ("val_loss", "val", "-")):
                look: dict[str, Any] = {"color": INK, "linestyle": style, "marker": marker, "markersize": 3}
                axes.plot(epochs, history[column], label=name, **look)
            axes.set_ylim(bottom=0)
        else:
            for name in task.order:
                values, said = history[f"val_{key}_{name}"], _plain(task.names[name])
                axes.plot(epochs, values, color=task.colours[name], label=said, marker=marker, markersize=3)
            axes.set_ylim(-0.02, 1.02)
        canvas.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=2, handlelength=1.6)
    return out.getvalue()


def within_sources(
    by_source: Mapping[str, Mapping[str, Figure]], pooled: Figure, baseline: Figure, task: Task, kind: Kind = "svg"
) -> bytes:
    """Forest plot: the pooled macro AUROC of the network and of the baseline without a pixel, then the AUROC of each
    pair of classes within each source.

    by_source: as returned by ``metrics.evaluate``. A missing figure keeps its row, with the reason.
    """
    rows: list[Row] = [
        ("all sources, macro", None, INK),
        ("this model", pooled, INK),
        ("source, view, age, sex only", baseline, SOFT),
    ]
    for source, pairs in by_source.items():
        if pairs:
            rows.append((source, None, INK))
        for pair, within in pairs.items():
            first, second = pair.split("_vs_")
            rows.append((f"{task.names[first]} vs {task.names[second]}", within, task.colours[first]))
    return forest([(rows, CHANCE, (0, 1), "AUROC (95 % interval; dashed: chance)")], kind)


def forest(panels: Sequence[tuple[Sequence[Row], float, tuple[float, float] | None, str]], kind: Kind = "svg") -> bytes:
    """Forest plots, one above the other: over each interval its name and, on the right, the figure in words. Narrow, so
    that a phone shows it whole; a missing figure has its reason in place of an interval.

    panels  each rows, the value of the dashed line, limits of the axis (None: by the data), label of the axis
    """
    heights = [_AXIS + sum(_TITLE if figure is None else _ROW for _, figure, _ in rows) for rows, *_ in panels]
    inches = sum(heights) * _ROW_INCHES
    known = [(name, in_words(figure)) for rows, *_ in panels for name, figure, _ in rows if figure and figure.known]
    letters = max([_LETTERS, *(len(name) + len(said) + 3 for name, said in known)])
    with new_canvas(_FOREST * letters / _LETTERS, inches, kind) as (canvas, out):
        canvas.set_layout_engine("none")  # layout engines ignore the text over the axes
        top = inches
        for (rows, none, limits, label), height in zip(panels, heights, strict=True):
            bottom = top - (height - _AXIS) * _ROW_INCHES
            axes = canvas.add_axes((0.02, bottom / inches, 0.96, (top - bottom) / inches))
            top -= height * _ROW_INCHES
            place = 0.0
            for name, figure, colour in rows:
                if figure is not None and figure.known:  # elsewhere the line would cross words
                    dashed: dict[str, Any] = {"linewidth": 0.9, "linestyle": (0, (4, 3)), "zorder": 0}
                    axes.vlines(none, place, place + _ROW, color=FAINT, **dashed)
                _forest_row(axes, place, (name, figure, colour), letters)
                place += _TITLE if figure is None else _ROW
            axes.set(ylim=(place, 0), xlabel=label)
            if limits:
                axes.set_xlim(*limits)
            axes.set_yticks([])
            axes.spines["left"].set_visible(False)
    return out.getvalue()


def _forest_row(axes: Axes, place: float, row: Row, letters: int) -> None:
    name, figure, colour = row
    behind = {"facecolor": "white", "edgecolor": "none", "pad": 0.4}  # the dashed line ends at a word
    look: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center", "bbox": behind}
    if figure is None:
        axes.text(0, place + 0.7, _plain(name), fontweight="bold", **look)
        return
    axes.text(0, place + 0.4, _plain(name), **look)
    if not figure.known:
        reason = in_words(figure)
        reason = reason if len(reason) <= letters else f"{reason[: letters - 1]}…"
        axes.text(0, place + 1.15, _plain(reason), color=SOFT, **look)
        return
    axes.text(1, place + 0.4, in_words(figure), ha="right", **look)
    axes.plot([figure.low, figure.high], [place + 1.15] * 2, color=colour, linewidth=2.2)
    edge: dict[str, Any] = {"markersize": 7.5, "markeredgecolor": "white", "markeredgewidth": 1.2, "clip_on": False}
    axes.plot(figure.value, place + 1.15, "o", color=colour, zorder=4, **edge)


@contextmanager
def new_canvas(width: float, height: float, kind: Kind) -> Iterator[tuple[Canvas, io.BytesIO]]:
    """A canvas in the house style, ``width`` x ``height`` inches, and its bytes, filled on leaving the context. The
    same drawing gives the same bytes."""
    out = io.BytesIO()
    with mpl.rc_context(_STYLE):  # type: ignore[arg-type]
        canvas = Canvas(figsize=(width, height), layout="constrained", facecolor="white")
        yield canvas, out
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        canvas.savefig(out, format=kind, dpi=160, metadata=metadata, bbox_inches="tight", pad_inches=0.08)


def _plain(text: str) -> str:
    """Text with dollar signs escaped, which matplotlib would read as mathematics."""
    return text.replace("$", r"\$")
