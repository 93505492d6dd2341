"""The plots of the audit."""

from collections.abc import Mapping

import cv2
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from cxrflow.audit.heat import Heat
from cxrflow.audit.pictures import Pictures, evenly
from cxrflow.audit.verdicts import Result
from cxrflow.audit.words import CLEAR, FOUND, SIGNS, YES
from cxrflow.evaluation.plots import FAINT, INK, Kind, new_canvas
from cxrflow.explanation.explain import overlay
from cxrflow.statistics.figure import Figure, in_words

_COLOURS = {FOUND: "#C8553D", CLEAR: "#3A7D7C", YES: "#3A7D7C"}
_SHOWN, _ROWS, _GAP = 200, 5, 6  # pixels; pictures; pixels
#: Inches of the forest plot: labels (at least), axes and text of a panel; room below the axes; a letter's width.
_LABELS, _AXES, _TEXT, _BELOW, _LETTER = 2.3, 2.0, 1.45, 0.6, 0.068

#: A row of the forest plot: name, figure (None for a title), colour.
_Row = tuple[str, Figure | None, str]


def forest(results: Mapping[str, Result], pooled: Figure, kind: Kind = "svg") -> bytes:
    """Forest plot of the figures that decide the verdicts, by test, with the sign and colour of the verdict: AUROCs on
    the left, shares and changes of probability on the right.

    pooled  the network's macro AUROC
    """
    areas: list[_Row] = [("the network, pooled", pooled, INK)]
    changes: list[_Row] = []
    for result in results.values():
        colour = _COLOURS.get(result.verdict, FAINT)
        for rows in result.rows:
            panel = areas if rows.panel == "auroc" else changes
            panel.append((f"{SIGNS[result.verdict]} {rows.title}", None, INK))
            panel += [(f"  {name}", figure, colour) for name, figure in rows.figures.items()]
    most = max(len(areas), len(changes))
    height = 1.2 + 0.29 * most
    longest = max(len(name) for name, figure, _ in (*areas, *changes) if figure is not None)
    labels = max(_LABELS, _LETTER * longest + 0.19)
    width = labels + _AXES + _TEXT
    with new_canvas(2 * width, height, kind) as (canvas, out):
        canvas.set_layout_engine("none")  # layout engines ignore the text beside the axes
        shown = (areas, 0.5, "AUROC (dashed: chance)"), (changes, 0.0, "share or change (dashed: none)")
        for column, (panel, none, label) in enumerate(shown):
            left, bottom = (column * width + labels) / (2 * width), _BELOW / height
            axes = canvas.add_axes((left, bottom, _AXES / (2 * width), 1 - bottom - 0.1 / height))
            _draw(axes, panel, labels)
            axes.axvline(none, color=FAINT, linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
            axes.set(ylim=(most - 0.4, -0.6), xlabel=label)
            if panel is areas:
                axes.set_xlim(0, 1)
    return out.getvalue()


def panels(pictures: Pictures, heat: Heat) -> bytes:
    """PNG: some pictures with the outline of their lungs; beside each its Grad-CAM, occlusion map, and Grad-CAM of the
    network with random weights."""
    rows = []
    for k in evenly(len(pictures), _ROWS):
        image = pictures.images[k]
        outlined = cv2.cvtColor(_enlarged(image), cv2.COLOR_GRAY2BGR)
        lungs = _enlarged(pictures.lungs[k].astype(np.uint8) * 255) > 127
        edges, _ = cv2.findContours(lungs.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(outlined, edges, -1, (120, 200, 80), 1, cv2.LINE_AA)
        maps = (heat.gradcam[k], heat.occlusion[k], heat.random[k])
        hot = [_enlarged(overlay(image, m / m.max() if m.max() > 0 else m)) for m in maps]
        rows.append(np.concatenate([outlined, *hot], axis=1))
    between = np.full((_GAP, rows[0].shape[1], 3), 255, np.uint8)
    stacked = np.concatenate([part for row in rows for part in (row, between)][:-1], axis=0)
    return bytes(cv2.imencode(".png", stacked)[1])


def _draw(axes: Axes, rows: list[_Row], labels: float) -> None:
    side = axes.get_yaxis_transform()
    for place, (name, figure, colour) in enumerate(rows):
        weight = "bold" if figure is None else "regular"
        start = 0.1 - labels / _AXES
        name = name.replace("$", r"\$")  # else matplotlib would read mathematics
        axes.text(start, place, name, transform=side, va="center", fontweight=weight, color=colour)
        if figure is None:
            continue
        if not figure.known:
            axes.text(0.02, place, _shortened(figure.reason), transform=side, va="center", color=FAINT)
            continue
        axes.text(1.03, place, in_words(figure), transform=side, va="center")
        axes.plot([figure.low, figure.high], [place, place], color=colour, linewidth=1.6)
        axes.plot(figure.value, place, "o", color=colour, markersize=4.5, clip_on=False)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)


def _enlarged(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(picture, (_SHOWN, _SHOWN), interpolation=cv2.INTER_CUBIC), np.uint8)


def _shortened(text: str) -> str:
    return text if len(text) <= 48 else f"{text[:47]}…"
