"""The plots of the audit."""

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from cxrflow.audit.heat import Heat
from cxrflow.audit.pictures import Pictures, evenly
from cxrflow.audit.verdicts import Result
from cxrflow.audit.words import CLEAR, FOUND, SIGNS, YES
from cxrflow.evaluation.learned import CHANCE
from cxrflow.evaluation.plots import INK, SOFT, Kind, Row
from cxrflow.evaluation.plots import forest as draw
from cxrflow.explanation.overlay import overlay
from cxrflow.statistics.figure import Figure

_COLOURS = {FOUND: "#C8553D", CLEAR: "#3A7D7C", YES: "#3A7D7C"}
_SHOWN, _ROWS, _GAP = 200, 5, 6  # pixels; pictures; pixels


def forest(results: Mapping[str, Result], pooled: Figure, kind: Kind = "svg") -> bytes:
    """Forest plot of the figures that decide the verdicts, by test, with the sign and colour of the verdict: AUROCs
    above, shares and changes of probability below.

    pooled  the network's macro AUROC
    """
    areas: list[Row] = [("the network, pooled", pooled, INK)]
    changes: list[Row] = []
    for result in results.values():
        colour = _COLOURS.get(result.verdict, SOFT)
        for rows in result.rows:
            panel = areas if rows.panel == "auroc" else changes
            panel.append((f"{SIGNS[result.verdict]} {rows.title}", None, INK))
            panel += [(name, figure, colour) for name, figure in rows.figures.items()]
    shown = [(areas, CHANCE, (0, 1), "AUROC (dashed: chance)")]
    return draw([*shown, *([(changes, 0.0, None, "share or change (dashed: none)")] if changes else [])], kind)


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


def _enlarged(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(picture, (_SHOWN, _SHOWN), interpolation=cv2.INTER_CUBIC), np.uint8)
