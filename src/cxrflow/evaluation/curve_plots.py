"""The pictures of ``curves`` and ``calibration``, as SVG or PNG bytes, in the style of ``plots``."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from cxrflow.evaluation.plots import COLOURS, FAINT, INK, Kind, in_words, new_canvas
from cxrflow.records import CLASSES, NAMES
from cxrflow.statistics.intervals import Figure

_DASHED = (0, (4, 3))


def curve_panels(
    curves: Mapping[str, Mapping[str, Any]],
    aurocs: Mapping[str, Figure],
    shares: Mapping[str, float],
    points: Mapping[str, Mapping[str, Any]],
    kind: Kind = "svg",
) -> bytes:
    """ROC and precision-recall curves of ``curves.curves`` with their bands, and the operating points for COVID-19.

    aurocs: each class's figure; shares: of each class in the set, a precision-recall curve's floor; points: as
    ``operating.figures_at_points``. A class without a curve keeps its reason in the legend.
    """
    with new_canvas(10.2, 5.0, kind) as (canvas, out):
        roc, precision = (canvas.add_subplot(1, 2, column + 1) for column in range(2))
        roc.plot([0, 1], [0, 1], color=FAINT, linewidth=0.9, linestyle=_DASHED)
        for name in CLASSES:
            colour = COLOURS[name]
            for axes, key in ((roc, "roc"), (precision, "precision_recall")):
                curve = curves[name][key]
                x, y = curve.get("x", []), curve.get("y", [])
                label = f"{NAMES[name]}: {in_words(aurocs[name])}" if axes is roc else None
                axes.plot(x, y, color=colour, label=label, clip_on=False)
                if x:
                    axes.fill_between(
                        x, curve["low"], curve["high"], color=colour, alpha=0.2 if name == "covid" else 0.1, linewidth=0
                    )
            precision.axhline(shares[name], color=colour, linewidth=0.9, linestyle=_DASHED)
        for point, marker in zip(points.values(), "osD", strict=False):
            sensitivity, specificity, ppv = (point[key]["value"] for key in ("sensitivity", "specificity", "ppv"))
            look: dict[str, Any] = {"color": INK, "markersize": 4.5, "zorder": 5, "clip_on": False}
            if sensitivity is not None and specificity is not None:
                roc.plot(1 - specificity, sensitivity, marker, **look)
            if sensitivity is not None and ppv is not None:
                precision.plot(sensitivity, ppv, marker, **look)
        for axes, title, x, y in (
            (roc, "ROC, one class against the rest", "1 − specificity", "sensitivity"),
            (precision, "Precision and recall (dashed: by chance)", "sensitivity (recall)", "PPV (precision)"),
        ):
            axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel=x, ylabel=y, title=title)
        look = {"alignment": "left", "handlelength": 1.4, "frameon": True, "edgecolor": "none"}
        roc.legend(loc="lower right", title="AUROC (95 % interval)", **look)
    return out.getvalue()


def calibration_panels(
    calibration: Mapping[str, Any], abstention: Sequence[Mapping[str, Any]], kind: Kind = "svg"
) -> bytes:
    """Reliability diagram of ``calibration.calibration``, and risk against coverage of ``calibration.abstention``."""
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
            reliability.annotate(str(row["right"]["n"]), at, ha="center", fontsize=8, color=FAINT)
        reliability.set(xlim=(0.3, 1.02), ylim=(0, 1.02), xlabel="probability of the predicted class")
        reliability.set(ylabel="share that is right", title="Reliability (below: images)")
        _bars(risk, [row["answered"] for row in abstention], [row["risk"] for row in abstention], "-")
        most = max(row["risk"]["high"] for row in abstention)
        risk.set(
            xlim=(0.45, 1.02), ylim=(0, min(1.0, 1.15 * most)), xlabel="share of images answered, the surest first"
        )
        risk.set(ylabel="share of the answered that is wrong", title="Abstention: risk against coverage")
    return out.getvalue()


def _bars(axes: Axes, x: Sequence[float], figures: Sequence[Figure], line: str = "") -> None:
    values = np.array([[figure[key] for key in ("value", "low", "high")] for figure in figures]).T
    errors = np.abs(values[1:] - values[0])
    axes.errorbar(x, values[0], errors, fmt=f"o{line}", color=COLOURS["normal"], markersize=4.5, linewidth=1.3)
