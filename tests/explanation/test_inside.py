"""The share of the heat inside the true opacity, on a heat map that is known."""

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest

from cxrflow.explanation.explain import TRUE_OPACITY, _inside_opacity
from cxrflow.images.prepare import Store
from cxrflow.params import Images

STEPS = Images(size=32, channels=1, crop_top=0.0, equalise="none", clahe_clip=2.0, clahe_tiles=8, lungs="none")


def test_heat_share_is_heat_inside_over_all_heat(tmp_path: Path) -> None:
    mask = np.zeros((64, 64), dtype=np.uint8)
    mask[:32] = 255  # the upper half of an image of twice the size
    (tmp_path / TRUE_OPACITY / "c").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / TRUE_OPACITY / "c" / "ill.png"), mask)
    cv2.imwrite(str(tmp_path / TRUE_OPACITY / "c" / "well.png"), np.zeros((64, 64), dtype=np.uint8))
    heat = np.zeros((32, 32), dtype=np.float32)
    heat[8, 4], heat[8, 20], heat[24, 9] = 1, 0.5, 0.5  # three quarters of it in the upper half
    predictor = SimpleNamespace(bundle=SimpleNamespace(images=STEPS), heat_map=lambda image, label: heat)
    rows = pd.DataFrame({"path": ["c/ill.jpg", "c/well.jpg", "c/none.jpg"], "store": 0, "label": "covid"})
    store = Store(np.zeros((1, 32, 32), dtype=np.uint8), pd.DataFrame(), "")
    found = _inside_opacity(predictor, rows, store, tmp_path)  # type: ignore[arg-type]
    assert found == {"heat": pytest.approx(0.75), "area": 0.5, "images": 1}
    assert _inside_opacity(predictor, rows[2:], store, tmp_path) is None  # type: ignore[arg-type]
