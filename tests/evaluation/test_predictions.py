"""Predictions as they are read again: what the figures were computed from."""

from pathlib import Path

import numpy as np
import pandas as pd

from cxrflow.evaluation.predictions import write_predictions
from cxrflow.records import CLASSES
from cxrflow.statistics.within import within_sources


def test_a_very_sure_networks_order_is_not_lost(tmp_path: Path) -> None:
    """It takes all images for COVID-19, to within 1e-7; normal is still scored above pneumonia in normal images."""
    rest = np.random.default_rng(0).uniform(1e-9, 1e-7, (40, 2))
    rest[:20], rest[20:] = -np.sort(-rest[:20], axis=1), np.sort(rest[20:], axis=1)
    probabilities = np.column_stack([1 - rest.sum(axis=1), rest])
    scored = pd.DataFrame({"image_id": [f"x:{k}" for k in range(40)], "source": "x", "other": 1})
    scored["group_id"], scored["label"] = scored.image_id, ["normal"] * 20 + ["pneumonia"] * 20
    write_predictions(scored, probabilities, tmp_path / "predictions.csv", fold=np.arange(40) % 2)
    table = pd.read_csv(tmp_path / "predictions.csv")
    assert list(table) == ["image_id", "source", "group_id", "label", "fold", *CLASSES]
    read = table[list(CLASSES)].to_numpy()
    assert np.allclose(read, probabilities, rtol=1e-8, atol=0)
    before = within_sources(scored, probabilities, ("normal", "pneumonia"), 100, 0)
    assert before["value"] == 1
    assert within_sources(table, read, ("normal", "pneumonia"), 100, 0) == before


def test_an_image_without_a_score_keeps_its_row(tmp_path: Path) -> None:
    scored = pd.DataFrame({"image_id": ["a", "b"], "source": "x", "group_id": ["g", "h"], "label": "normal"})
    write_predictions(scored, np.array([[0.2, 0.3, 0.5], [np.nan] * 3]), tmp_path / "p.csv")
    assert pd.read_csv(tmp_path / "p.csv").covid.isna().tolist() == [False, True]
