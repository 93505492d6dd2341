"""Test pictures in which it is known where the disease shows, with heat maps for their true class."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cxrflow.audit.pictures import evenly
from cxrflow.explanation.heat import HeatMaps
from cxrflow.explanation.inside import figures, measure
from cxrflow.explanation.masks import Masks
from cxrflow.statistics.figure import Figure
from cxrflow.terminal import track


@dataclass
class Marks:
    """Pictures with masks of their disease.

    shown  the pictures
    masks  bool (n, size, size)
    """

    shown: HeatMaps
    masks: NDArray[np.bool_]

    @cached_property
    def maps(self) -> dict[str, NDArray[np.float32]]:
        """Grad-CAM and occlusion map for the true class, each float32 (n, size, size)."""
        maps: dict[str, list[NDArray[np.float32]]] = {"Grad-CAM": [], "occlusion": []}
        for k, label in enumerate(track(self.shown.canvas.labels, "heat maps of the disease")):
            maps["Grad-CAM"].append(self.shown.gradcam(k, label))
            maps["occlusion"].append(self.shown.occlusion(k, label))
        return {name: np.array(each, np.float32) for name, each in maps.items()}

    def figures(self) -> dict[str, dict[str, Figure]]:
        """For each kind of map, the figures of ``explanation.inside``."""
        found = {}
        for name, maps in self.maps.items():
            measured = [measure(heat, mask) for heat, mask in zip(maps, self.masks, strict=True)]
            known = [(each, group) for each, group in zip(measured, self.shown.canvas.groups, strict=True) if each]
            inside, groups = [each for each, _ in known], [str(group) for _, group in known]
            found[name] = figures(inside, groups, "it is not known where the disease shows in any picture")
        return found


def find_marks(shown: HeatMaps, masks: Masks, most: int) -> Marks:
    """At most ``most`` pictures of ``shown``, evenly spaced, with the true opacity or, of real data, radiologists'
    boxes.

    masks  of ``shown.canvas``
    """
    found = {k: mask for k in range(len(masks.dataset)) if (mask := masks.disease(k)) is not None and mask.any()}
    at = [list(found)[k] for k in evenly(len(found), most)]
    size = masks.dataset.size
    chosen = np.array([found[k] for k in at], np.bool_).reshape(-1, size, size)
    return Marks(shown.where(np.array(at, np.int64)), chosen)
