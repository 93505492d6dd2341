"""The share of the heat inside the true opacity and the lungs, on a heat map that is known."""

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest

from cxrflow.dataset import Dataset
from cxrflow.explanation.explain import _inside
from cxrflow.explanation.masks import TRUE_OPACITY, Masks
from cxrflow.images.prepare import Store
from cxrflow.task import Task

HEAT = np.zeros((32, 32), dtype=np.float32)
HEAT[8, 4], HEAT[8, 20], HEAT[24, 9] = 1, 0.5, 0.5  # three quarters of it in the upper half
PREDICTOR = SimpleNamespace(heat_map=lambda image, label: HEAT)


def masks_of(root: Path, task: Task, lungs: np.ndarray | None, top: int, side: int) -> Masks:
    """Three pictures, each showing a window of its radiograph."""
    ids = ["ill", "well", "none"]
    records = pd.DataFrame({"image_id": ids, "path": [f"c/{name}.jpg" for name in ids], "label": task.order[0]})
    index = pd.DataFrame({"image_id": ids, "left_out": None, "top": top, "left": 0, "side": side})
    store = Store(np.zeros((3, 32, 32), dtype=np.uint8), lungs, index, "")
    return Masks(Dataset.join(records, store, task), root)


@pytest.mark.parametrize(("top", "side", "heat", "area"), [(0, 64, 0.75, 0.5), (16, 32, 0.75, 0.5), (0, 32, 1.0, 1.0)])
def test_heat_share_is_heat_inside_over_all_heat(
    tmp_path: Path, task: Task, top: int, side: int, heat: float, area: float
) -> None:
    """The upper half of a radiograph of 64 x 64 is ill; the stored image shows all of it or a window."""
    mask = np.zeros((64, 64), dtype=np.uint8)
    mask[:32] = 255
    (tmp_path / TRUE_OPACITY / "c").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / TRUE_OPACITY / "c" / "ill.png"), mask)
    cv2.imwrite(str(tmp_path / TRUE_OPACITY / "c" / "well.png"), np.zeros((64, 64), dtype=np.uint8))
    masks = masks_of(tmp_path, task, None, top, side)
    found = _inside(PREDICTOR, masks, range(3))  # type: ignore[arg-type]
    expected = {"heat": pytest.approx(heat), "area": area, "images": 1}
    assert found == {"inside_opacity": expected, "inside_lungs": None}
    assert _inside(PREDICTOR, masks, range(2, 3))["inside_opacity"] is None  # type: ignore[arg-type]


def test_the_same_inside_stored_lungs(tmp_path: Path, two_classes: Task) -> None:
    lungs = np.zeros((3, 32, 32), dtype=bool)
    lungs[:, 16:] = True
    found = _inside(PREDICTOR, masks_of(tmp_path, two_classes, lungs, 0, 32), range(3))  # type: ignore[arg-type]
    expected = {"heat": pytest.approx(0.25), "area": 0.5, "images": 3}
    assert found == {"inside_opacity": None, "inside_lungs": expected}
