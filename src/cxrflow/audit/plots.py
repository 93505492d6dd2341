"""The pictures of the audit."""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from cxrflow.audit.pictures import Pictures, evenly
from cxrflow.audit.verdicts import FOUND, NOT_FOUND, Test
from cxrflow.audit.where import Heat
from cxrflow.evaluation.plots import FAINT, INK, Kind, in_words, new_canvas
from cxrflow.explanation.explain import overlay
from cxrflow.statistics.intervals import Figure

_COLOURS = {FOUND: "#C8553D", NOT_FOUND: "#3A7D7C"}
_SHOWN, _ROWS, _GAP = 200, 5, 6  # pixels; pictures
#: Inches of the forest plot: its width; each panel's labels, axes and figures; what lies below the axes.
_WIDTH, _LABELS, _AXES, _BELOW = 11.5, 2.3, 2.0, 0.6


def forest(tests: Mapping[str, Test], pooled: Figure, kind: Kind = "svg") -> bytes:
    """The figures that the verdicts rest on, by test, in the colour of the verdict: AUROCs at the left, shares and
    changes of probability at the right.

    tests  as ``audit.conclude`` gives them; pooled  the network's macro AUROC
    """
    areas, shares = _rows(tests, pooled)
    height = 1.2 + 0.29 * max(len(areas), len(shares))
    with new_canvas(_WIDTH, height, kind) as (canvas, out):
        canvas.set_layout_engine("none")  # none knows of text beside the axes
        panels = (areas, "AUROC (dashed: chance)", (0, 1), 0.5), (shares, "share or change (dashed: none)", None, 0)
        for column, (rows, label, limits, none) in enumerate(panels):
            left = (column * _WIDTH / 2 + _LABELS) / _WIDTH
            axes = canvas.add_axes((left, _BELOW / height, _AXES / _WIDTH, 1 - (_BELOW + 0.1) / height))
            for place, (name, figure, colour) in enumerate(rows):
                side = axes.get_yaxis_transform()
                weight = "bold" if figure is None else "normal"
                start = 0.1 - _LABELS / _AXES
                axes.text(start, place, name, transform=side, va="center", fontweight=weight, color=colour)
                if figure is None:
                    continue
                if figure["value"] is None:
                    axes.text(0.02, place, _shortened(in_words(figure)), transform=side, va="center", color=FAINT)
                    continue
                axes.text(1.03, place, in_words(figure), transform=side, va="center")
                axes.plot([figure["low"], figure["high"]], [place, place], color=colour, linewidth=1.6)
                axes.plot(figure["value"], place, "o", color=colour, markersize=4.5, clip_on=False)
            axes.axvline(none, color=FAINT, linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
            axes.set(ylim=(max(len(areas), len(shares)) - 0.4, -0.6), xlabel=label)
            if limits:
                axes.set(xlim=limits)
            axes.set_yticks([])
            axes.spines["left"].set_visible(False)
    return out.getvalue()


def panels(pictures: Pictures, heat: Heat) -> bytes:
    """PNG: some pictures with the outline of their lungs, and beside each Grad-CAM, occlusion, and Grad-CAM of the
    network with random weights."""
    rows = []
    for k in evenly(pictures.table, _ROWS).index:
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


def _rows(tests: Mapping[str, Test], pooled: Figure) -> tuple[list[tuple[str, Figure | None, str]], ...]:
    areas: list[tuple[str, Figure | None, str]] = [("the network, pooled", pooled, INK)]
    shares: list[tuple[str, Figure | None, str]] = []

    def add(to: list[Any], test: str, title: str, figures: Mapping[str, Figure]) -> None:
        if test in tests:
            colour = _COLOURS.get(tests[test]["verdict"], FAINT)
            to.append((title, None, INK))
            to += [(f"  {name}", figure, colour) for name, figure in figures.items()]

    found: Any = {name: test["figures"] for name, test in tests.items()}
    if "source_probe" in found:
        told = found["source_probe"]["source"]
        names = (("features", "overall"), ("features", "within a class"), ("small picture", "within a class"))
        probes = {f"{view}, {what}": told[view][what] for view, what in names}
        add(
            areas,
            "source_probe",
            "the source is told",
            probes | {"class from source": found["source_probe"]["class_from_source"]},
        )
    if "baseline" in found:
        add(areas, "baseline", "without a pixel", {"source, view, age, sex": found["baseline"]["without_a_pixel"]})
        add(shares, "baseline", "network less no pixel, AUROC", {"macro": found["baseline"]["difference"]})
    if "retraining" in found:
        add(areas, "retraining", "trained again", found["retraining"]["macro_auroc"])
    if "gap" in found:
        gaps = {name.replace("_vs_", " vs "): pair["gap"] for name, pair in found["gap"]["pairs"].items()}
        add(shares, "gap", "pooled less within source, AUROC", gaps)
    if "where" in found:
        missed = {name: shown["missed"] for name, shown in found["where"]["shares"].items()}
        add(shares, "where", "lungs' share of area less heat", missed)
    if "swaps" in found:
        add(shares, "swaps", "towards the class pasted from", found["swaps"]["towards"])
        add(shares, "swaps", "predictions that flip", found["swaps"]["flips"])
    if "sanity" in found:
        add(shares, "sanity", "heat of random weights", found["sanity"])
    return areas, shares


def _enlarged(picture: np.ndarray) -> np.ndarray:
    return cv2.resize(picture, (_SHOWN, _SHOWN), interpolation=cv2.INTER_CUBIC)


def _shortened(text: str) -> str:
    return text if len(text) <= 48 else f"{text[:47]}…"
