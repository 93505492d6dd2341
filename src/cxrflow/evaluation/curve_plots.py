"""Plots of ``curves`` and ``calibration``, as SVG or PNG bytes, in the style of ``plots``."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from cxrflow.evaluation.curves import Curve
from cxrflow.evaluation.plots import ACCENT, FAINT, INK, Kind, new_canvas
from cxrflow.statistics.figure import Figure, in_words
from cxrflow.task import Task

_DASHED = (0, (4, 3))


def curve_panels(
    curves: Mapping[str, Mapping[str, Curve | Figure]],
    figures: Mapping[str, Any],
    task: Task,
    kind: Kind = "svg",
) -> bytes:
    """ROC and precision-recall curves of ``curves.curves`` with their bands, and the operating points.

    figures  as returned by ``metrics.evaluate``, with ``operating_points``. The legend shows the AUROC of each class;
             the class's share of the images is the chance level of its precision-recall curve
    The legend gives the reason for a missing curve.
    """
    images = [sum(row) for row in figures["confusion"]["counts"]]
    with new_canvas(10.2, 5.0, kind) as (canvas, out):
        roc, precision = (canvas.add_subplot(1, 2, column + 1) for column in range(2))
        roc.plot([0, 1], [0, 1], color=FAINT, linewidth=0.9, linestyle=_DASHED)
        for name, count in zip(task.order, images, strict=True):
            colour = task.colours[name]
            for axes, key in ((roc, "roc"), (precision, "precision_recall")):
                curve = curves[name][key]
                label = f"{task.names[name]}: {in_words(figures['test'][name]['auroc'])}" if axes is roc else None
                if isinstance(curve, Figure):
                    axes.plot([], [], color=colour, label=label)
                    continue
                axes.plot(curve["x"], curve["y"], color=colour, label=label, clip_on=False)
                alpha = 0.2 if name == task.positive else 0.1
                axes.fill_between(curve["x"], curve["low"], curve["high"], color=colour, alpha=alpha, linewidth=0)
            precision.axhline(count / figures["n"], color=colour, linewidth=0.9, linestyle=_DASHED)
        for point, marker in zip(figures["operating_points"].values(), "osD", strict=True):
            sensitivity, specificity, ppv = (point[key] for key in ("sensitivity", "specificity", "ppv"))
            look: dict[str, Any] = {"color": INK, "markersize": 4.5, "zorder": 5, "clip_on": False}
            if sensitivity.known and specificity.known:
                roc.plot(1 - specificity.value, sensitivity.value, marker, **look)
            if sensitivity.known and ppv.known:
                precision.plot(sensitivity.value, ppv.value, marker, **look)
        for axes, title, x, y in (
            (roc, "ROC, one class against the rest", "1 − specificity", "sensitivity"),
            (precision, "Precision and recall (dashed: chance)", "sensitivity (recall)", "PPV (precision)"),
        ):
            axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel=x, ylabel=y, title=title)
        look = {"alignment": "left", "handlelength": 1.4, "frameon": True, "edgecolor": "none"}
        roc.legend(loc="lower right", title="AUROC (95 % interval)", **look)
    return out.getvalue()


def calibration_panels(
    calibration: Mapping[str, Any], abstention: Sequence[Mapping[str, Any]], classes: int, kind: Kind = "svg"
) -> bytes:
    """Reliability diagram from ``calibration.calibration``, for ``classes`` classes, and risk-coverage curve from
    ``calibration.abstention``."""
    with new_canvas(10.2, 4.4, kind) as (canvas, out):
        reliability, risk = (canvas.add_subplot(1, 2, column + 1) for column in range(2))
        reliability.plot([0, 1], [0, 1], color=FAINT, linewidth=0.9, linestyle=_DASHED)
        _bars(
            reliability,
            [row["confidence"] for row in calibration["bins"]],
            [row["right"] for row in calibration["bins"]],
        )
        for row in calibration["bins"]:
            at = (row["confidence"], 0.02)
            reliability.annotate(str(row["right"].n), at, ha="center", fontsize=8, color=FAINT)
        reliability.set(xlim=(1 / classes - 1 / 30, 1.02), ylim=(0, 1.02), xlabel="probability of the predicted class")
        reliability.set(ylabel="share that is right", title="Reliability (below: images)")
        _bars(risk, [row["answered"] for row in abstention], [row["risk"] for row in abstention], "-")
        most = max(row["risk"].high for row in abstention)
        risk.set(
            xlim=(0.45, 1.02), ylim=(0, min(1.0, 1.15 * most)), xlabel="share of images answered, the surest first"
        )
        risk.set(ylabel="share of the answered that is wrong", title="Abstention: risk against coverage")
    return out.getvalue()


def _bars(axes: Axes, x: Sequence[float], figures: Sequence[Figure], line: str = "") -> None:
    values = np.array([(figure.value, figure.low, figure.high) for figure in figures]).T
    errors = np.abs(values[1:] - values[0])
    axes.errorbar(x, values[0], errors, fmt=f"o{line}", color=ACCENT, markersize=4.5, linewidth=1.3)
