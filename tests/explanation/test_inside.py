"""The share of the heat inside the true opacity, on a heat map that is known."""

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest

from cxrflow.explanation.explain import TRUE_OPACITY, _inside, _lungs, true_opacity
from cxrflow.images.prepare import Store

HEAT = np.zeros((32, 32), dtype=np.float32)
HEAT[8, 4], HEAT[8, 20], HEAT[24, 9] = 1, 0.5, 0.5  # three quarters of it in the upper half
PREDICTOR = SimpleNamespace(heat_map=lambda image, label: HEAT)
ROWS = pd.DataFrame({"path": ["c/ill.jpg", "c/well.jpg", "c/none.jpg"], "store": 0, "label": "covid"})


def store_of(lungs: np.ndarray | None, top: int, left: int, side: int) -> Store:
    index = pd.DataFrame({"top": [top], "left": [left], "side": [side]})
    return Store(np.zeros((1, 32, 32), dtype=np.uint8), lungs, index, "")


@pytest.mark.parametrize(("top", "side", "heat", "area"), [(0, 64, 0.75, 0.5), (16, 32, 0.75, 0.5), (0, 32, 1.0, 1.0)])
def test_heat_share_is_heat_inside_over_all_heat(tmp_path: Path, top: int, side: int, heat: float, area: float) -> None:
    """The upper half of a radiograph of 64 x 64 is ill; the stored image shows all of it or a window."""
    mask = np.zeros((64, 64), dtype=np.uint8)
    mask[:32] = 255
    (tmp_path / TRUE_OPACITY / "c").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / TRUE_OPACITY / "c" / "ill.png"), mask)
    cv2.imwrite(str(tmp_path / TRUE_OPACITY / "c" / "well.png"), np.zeros((64, 64), dtype=np.uint8))
    store = store_of(None, top, 0, side)

    def opacity(path: str, row: int) -> np.ndarray | None:
        return true_opacity(tmp_path, path, store, row)

    found = _inside(PREDICTOR, ROWS, store, {"it": opacity})  # type: ignore[arg-type]
    assert found == {"it": {"heat": pytest.approx(heat), "area": area, "images": 1}}
    assert _inside(PREDICTOR, ROWS[2:], store, {"it": opacity}) == {"it": None}  # type: ignore[arg-type]


def test_the_same_inside_stored_lungs() -> None:
    lungs = np.zeros((1, 32, 32), dtype=bool)
    lungs[:, 16:] = True
    store = store_of(lungs, 0, 0, 32)
    found = _inside(PREDICTOR, ROWS, store, {"it": lambda path, row: _lungs(store, row)})  # type: ignore[arg-type]
    assert found == {"it": {"heat": pytest.approx(0.25), "area": 0.5, "images": 3}}
    without = store_of(None, 0, 0, 32)
    masks = {"it": lambda path, row: _lungs(without, row)}
    assert _inside(PREDICTOR, ROWS, without, masks) == {"it": None}  # type: ignore[arg-type]
