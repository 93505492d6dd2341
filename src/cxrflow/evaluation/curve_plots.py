"""Plots of ``curves`` and ``calibration``, as SVG or PNG bytes, in the style of ``plots``."""

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from cxrflow.evaluation.curves import Curve
from cxrflow.evaluation.plots import ACCENT, FAINT, INK, PANEL, SOFT, Kind, new_canvas
from cxrflow.statistics.figure import Figure, in_words
from cxrflow.task import Task

_DASHED, _WIDE = (0, (4, 3)), 4.6  # inches


def curve_panel(
    curves: Mapping[str, Curve | Figure], figures: Mapping[str, Any], task: Task, name: str, kind: Kind = "svg"
) -> bytes:
    """ROC curve of a class and, below it, its precision-recall curve, both with their bands.

    curves   of this class, from ``curves.curves``; a missing one has its reason in its place
    figures  as returned by ``metrics.evaluate``, with ``operating_points``, which the positive class shows. The share
             of the class among the images is the chance level of its precision-recall curve
    """
    share = sum(figures["confusion"]["counts"][task.order.index(name)]) / figures["n"]
    auroc = in_words(figures["test"][name]["auroc"])
    with new_canvas(PANEL, 2 * PANEL + 0.3, kind) as (canvas, out):
        roc, precision = (canvas.add_subplot(2, 1, row + 1) for row in range(2))
        roc.plot([0, 1], [0, 1], color=FAINT, linewidth=0.9, linestyle=_DASHED)
        precision.axhline(share, color=FAINT, linewidth=0.9, linestyle=_DASHED)
        for axes, key in ((roc, "roc"), (precision, "precision_recall")):
            _band(axes, curves[key], task.colours[name])
        for point, marker in zip(figures["operating_points"].values(), "osD", strict=True):
            sensitivity, specificity, ppv = (point[key] for key in ("sensitivity", "specificity", "ppv"))
            look: dict[str, Any] = {"color": INK, "markersize": 5, "zorder": 5, "clip_on": False}
            if name == task.positive and sensitivity.known and specificity.known:
                roc.plot(1 - specificity.value, sensitivity.value, marker, **look)
            if name == task.positive and sensitivity.known and ppv.known:
                precision.plot(sensitivity.value, ppv.value, marker, **look)
        said = task.names[name].replace("$", r"\$")  # else matplotlib would read mathematics
        roc.set(title=f"{said}\nROC, AUROC {auroc}", xlabel="1 − specificity", ylabel="sensitivity")
        precision.set(title="Precision-recall (dashed: chance)")
        precision.set(xlabel="sensitivity (recall)", ylabel="PPV (precision)")
        for axes in (roc, precision):
            axes.set(xlim=(0, 1), ylim=(0, 1.01))
    return out.getvalue()


def reliability_panel(calibration: Mapping[str, Any], classes: int, kind: Kind = "svg") -> bytes:
    """Reliability diagram from ``calibration.calibration``, for ``classes`` classes, with the number of images in each
    bin above it."""
    bins = calibration["bins"]
    with new_canvas(_WIDE, PANEL + 0.6, kind) as (canvas, out):
        axes = canvas.add_subplot()
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=0.9, linestyle=_DASHED)
        _bars(axes, [row["confidence"] for row in bins], [row["right"] for row in bins])
        for at, row in enumerate(bins):
            place = (row["confidence"], 1.05 + 0.06 * (at % 2))  # two lines, as bins may lie close together
            axes.annotate(f"{row['right'].n:,}", place, ha="center", fontsize=8.5, color=SOFT, annotation_clip=False)
        axes.set(xlim=(1 / classes - 1 / 30, 1.02), ylim=(0, 1.02), xlabel="probability of the predicted class")
        axes.set(ylabel="share that is right")
        axes.set_title("Reliability (numbers: images)", pad=34)
    return out.getvalue()


def abstention_panel(abstention: Sequence[Mapping[str, Any]], kind: Kind = "svg") -> bytes:
    """Risk-coverage curve from ``calibration.abstention``."""
    with new_canvas(_WIDE, PANEL + 0.6, kind) as (canvas, out):
        axes = canvas.add_subplot()
        _bars(axes, [row["answered"] for row in abstention], [row["risk"] for row in abstention], "-")
        most = max(row["risk"].high for row in abstention)
        axes.set(xlim=(0.45, 1.02), ylim=(0, min(1.0, 1.15 * most)), ylabel="share of the answered that is wrong")
        axes.set(xlabel="share of images answered, the surest first")
        axes.set_title("Abstention: risk against coverage", pad=34)
    return out.getvalue()


def _band(axes: Axes, curve: Curve | Figure, colour: str) -> None:
    if isinstance(curve, Figure):
        lines = "\n".join(wrap(f"unknown ({curve.reason})", 34))
        axes.text(0.5, 0.5, lines, ha="center", va="center", color=SOFT)
        return
    axes.fill_between(curve["x"], curve["low"], curve["high"], color=colour, alpha=0.2, linewidth=0)
    for edge in ("low", "high"):
        axes.plot(curve["x"], curve[edge], color=colour, linewidth=0.7, alpha=0.8)
    axes.plot(curve["x"], curve["y"], color=colour, clip_on=False)


def _bars(axes: Axes, x: Sequence[float], figures: Sequence[Figure], line: str = "") -> None:
    values = np.array([(figure.value, figure.low, figure.high) for figure in figures]).T
    errors = np.abs(values[1:] - values[0])
    axes.errorbar(x, values[0], errors, fmt=f"o{line}", color=ACCENT, markersize=4.5, linewidth=1.3)
