"""The plots of an evaluation, as SVG or PNG bytes; they draw given figures and compute none."""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from cxrflow.statistics.figure import Figure, in_words
from cxrflow.task import Task

Kind = Literal["svg", "png"]

#: Colours of text and lines, of grid and chance lines, and of data that belong to no class.
INK, FAINT, ACCENT = "#2B2F33", "#8A9096", "#3A7D7C"
_BLUES = LinearSegmentedColormap.from_list("ink", ["#F7F9FB", "#8FB0CC", "#1F4E79"])
_WIDEST_FLAT = 11  # characters of a class name under a cell of the confusion matrix
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


def confusion_panels(confusion: Mapping[str, Any], task: Task, kind: Kind = "svg") -> bytes:
    """The confusion matrix of ``metrics.confusion`` as counts, as shares of each row and of each column."""
    panels = (
        ("counts", "Images"),
        ("by_row", "Share of each true class\n(diagonal: sensitivity)"),
        ("by_column", "Share of each predicted class\n(diagonal: PPV)"),
    )
    names = [_plain(task.names[name]) for name in task.order]
    long = max(map(len, names)) > _WIDEST_FLAT
    turned: dict[str, Any] = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if long else {}
    more = max(len(names) - 3, 0) * 0.75  # inches, for the cells of a fourth class and so on
    with new_canvas(10.2 + 3 * more, 3.9 + more, kind) as (canvas, out):
        canvas.get_layout_engine().set(wspace=0.06)  # type: ignore[union-attr, call-arg]
        for column, (key, title) in enumerate(panels):
            axes = canvas.add_subplot(1, 3, column + 1)
            values = np.array(confusion[key], dtype=float)  # None becomes NaN
            shade = values / max(np.nanmax(values, initial=0), 1) if key == "counts" else values
            axes.imshow(np.nan_to_num(shade), cmap=_BLUES, vmin=0, vmax=1)
            for (row, col), value in np.ndenumerate(values):
                text = "–" if np.isnan(value) else f"{value:,.0f}" if key == "counts" else f"{value:.2f}"
                style: dict[str, Any] = {"color": "white" if shade[row, col] > 0.55 else INK, "fontsize": 12}
                weight = "bold" if row == col else "regular"
                axes.text(col, row, text, ha="center", va="center", fontweight=weight, **style)
            axes.set_xticks(range(len(names)), names, **turned)
            axes.set_yticks(range(len(names)), names if column == 0 else [])
            between = np.arange(0.5, len(names) - 1)
            axes.set_xticks(between, minor=True)
            axes.set_yticks(between, minor=True)
            axes.grid(which="minor", color="white", linewidth=2)
            axes.tick_params(which="both", length=0)
            axes.spines[:].set_visible(False)
            axes.set_title(title)
            axes.set_xlabel("predicted class")
            if column == 0:
                axes.set_ylabel("true class")
    return out.getvalue()


def training_curves(history: pd.DataFrame, task: Task, chosen: int | None, kind: Kind = "svg") -> bytes:
    """Losses, and sensitivity and PPV of each class on val, by epoch, counted from 1; the chosen epoch is marked.

    history  one row per epoch: epoch (from 0), train_loss, val_loss, val_macro_auroc, and for each class
             val_sensitivity_<class> and val_ppv_<class>; a missing value leaves a gap
    chosen   the epoch (from 0) whose weights are kept, or None
    """
    epochs = history["epoch"] + 1
    marker = "o" if len(history) < 25 else None
    with new_canvas(10.2, 3.5, kind) as (canvas, out):
        panels: list[Axes] = [canvas.add_subplot(1, 3, column + 1) for column in range(3)]
        for axes, title in zip(panels, ("Loss", "Sensitivity on val", "PPV on val"), strict=True):
            axes.set_title(title)
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
            if chosen is not None:
                axes.axvline(chosen + 1, color=FAINT, linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
        for key, name, style in (("train_loss", "train", (0, (3, 1.5))), ("val_loss", "val", "-")):
            look: dict[str, Any] = {"color": INK, "linestyle": style, "marker": marker, "markersize": 3}
            panels[0].plot(epochs, history[key], label=name, **look)
        panels[0].set_ylim(bottom=0)
        panels[0].legend(loc="best", handlelength=1.8)
        for axes, key in zip(panels[1:], ("sensitivity", "ppv"), strict=True):
            for name in task.order:
                values, said = history[f"val_{key}_{name}"], _plain(task.names[name])
                axes.plot(epochs, values, color=task.colours[name], label=said, marker=marker, markersize=3)
            axes.set_ylim(-0.02, 1.02)
        handles, names = panels[1].get_legend_handles_labels()
        canvas.legend(handles, names, loc="outside lower right", ncols=3, handlelength=1.4)
        if chosen is not None:
            canvas.text(0.01, 0.02, f"dashed line: epoch {chosen + 1}, the one kept{_auroc_at(history, chosen)}")
    return out.getvalue()


def within_sources(
    by_source: Mapping[str, Mapping[str, Figure]], pooled: Figure, baseline: Figure, task: Task, kind: Kind = "svg"
) -> bytes:
    """Forest plot: the pooled macro AUROC of the network and of the baseline without a pixel, then the AUROC of each
    pair of classes within each source.

    by_source: as returned by ``metrics.evaluate``. A missing figure keeps its row, with the reason.
    """
    rows: list[tuple[str, Figure | None, str, str]] = [
        ("all sources, macro", None, INK, ""),
        ("this model", pooled, INK, "D"),
        ("source, view, age, sex only", baseline, FAINT, "D"),
    ]
    for source, pairs in by_source.items():
        if pairs:
            rows.append((_plain(source), None, INK, ""))
        for pair, within in pairs.items():
            first, second = pair.split("_vs_")
            said = _plain(f"{task.names[first]} vs {task.names[second]}")
            rows.append((said, within, task.colours[first], "o"))
    # The labels take 0.46 of the width of the axes, and more if they are longer than the first three.
    more = 0.017 * max(max(len(row[0]) for row in rows) - 27, 0)
    with new_canvas(7.4 + 4 * more, 1.1 + 0.3 * len(rows), kind) as (canvas, out):
        axes = canvas.add_subplot()
        for place, (label, figure, colour, marker) in enumerate(rows):
            side = axes.get_yaxis_transform()
            start, weight = (-0.46, "bold") if figure is None else (-0.43, "regular")
            axes.text(start - more, place, label, transform=side, va="center", fontweight=weight)
            if figure is None:
                continue
            axes.text(1.03, place, _plain(in_words(figure)), transform=side, va="center")
            if figure.known:
                axes.plot([figure.low, figure.high], [place, place], color=colour, linewidth=1.6)
                axes.plot(figure.value, place, marker, color=colour, markersize=4.5, clip_on=False)
        axes.axvline(0.5, color=FAINT, linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
        axes.set(xlim=(0, 1), ylim=(len(rows) - 0.4, -0.6), xlabel="AUROC (95 % interval; dashed: chance)")
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
    return out.getvalue()


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


def _auroc_at(history: pd.DataFrame, epoch: int) -> str:
    value = history.loc[history["epoch"] == epoch, "val_macro_auroc"]
    return f" (macro AUROC on val {value.iloc[0]:.3f})" if len(value) and value.notna().all() else ""
