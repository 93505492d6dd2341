"""Which examples are shown, and how a heat map is laid over one."""

import numpy as np
import pandas as pd

from cxrflow.explanation.explain import _choose
from cxrflow.explanation.overlay import overlay


def test_overlay_leaves_cold_places_as_they_are() -> None:
    image = np.full((8, 8), 90, dtype=np.uint8)
    heat = np.zeros((8, 8), dtype=np.float32)
    heat[2, 3] = 1
    picture = overlay(image, heat)
    assert (picture[heat == 0] == 90).all()
    assert (picture[2, 3] != 90).any()


def test_examples_run_from_the_surest_to_the_least_sure() -> None:
    rows = pd.DataFrame(
        {
            "image_id": [f"i{k}" for k in range(9)],
            "label": "air",
            "prediction": ["air"] * 7 + ["clear"] * 2,
            "score": [0.4, 0.9, 0.5, 0.6, 0.8, 0.7, 0.95, 0.99, 0.5],
        }
    )
    assert _choose(rows, "air", True, 3).image_id.tolist() == ["i6", "i5", "i0"]
    assert _choose(rows, "air", False, 5).image_id.tolist() == ["i7", "i8"]
    assert _choose(rows, "clear", True, 2).empty
