"""Calibration: figures counted by hand and those of torchmetrics and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import brier_score_loss
from torchmetrics.functional.classification import multiclass_calibration_error

from cxrflow.evaluation.calibration import abstention, calibration, mean_figure
from cxrflow.records import CLASSES

NAMES = np.array(CLASSES)


def drawn(sharpen: float = 1.0, n: int = 600, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels drawn from the probabilities, which are then sharpened: calibrated at 1, overconfident above."""
    rng = np.random.default_rng(seed)
    true = rng.dirichlet(np.ones(3), n)
    labels = NAMES[[rng.choice(3, p=row) for row in true]]
    said = true**sharpen
    return said / said.sum(axis=1, keepdims=True), labels, np.arange(n)


def test_the_error_is_that_of_torchmetrics() -> None:
    probabilities, labels, groups = drawn(2.0)
    # Bins of 1/15 from 0 on are ours of (1/3, 1] and five empty ones.
    target = torch.tensor([CLASSES.index(label) for label in labels])
    expected = multiclass_calibration_error(torch.tensor(probabilities), target, 3, n_bins=15, norm="l1")
    assert calibration(probabilities, labels, groups, 100, 0)["ece"] == pytest.approx(float(expected), abs=1e-6)


def test_the_brier_score_is_that_of_scikit_learn() -> None:
    probabilities, labels, groups = drawn()
    brier = calibration(probabilities, labels, groups, 100, 0)["brier"]
    expected = brier_score_loss(labels, probabilities, labels=list(CLASSES), scale_by_half=False)
    assert brier["value"] == pytest.approx(expected)
    assert brier["low"] < expected < brier["high"]


def test_calibrated_probabilities_are_not_called_off_and_sharpened_ones_are() -> None:
    def off(sharpen: float) -> list[bool]:
        found = [calibration(*drawn(sharpen, 200, seed), 100, seed) for seed in range(20)]
        return [each["ece"] > each["ece_if_calibrated"]["p95"] for each in found]

    assert sum(off(1.0)) <= 4
    assert sum(off(3.0)) == 20


def test_bins_hold_every_image_once() -> None:
    bins = calibration(*drawn(), 100, 0)["bins"]
    assert sum(row["right"]["n"] for row in bins) == 600
    assert [row["confidence"] for row in bins] == sorted(row["confidence"] for row in bins)


def test_abstention_counted_by_hand() -> None:
    sure = np.array([0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5])
    probabilities = np.stack([sure, 1 - sure, 0 * sure], axis=1)
    rows = abstention(probabilities, NAMES[[0, 0, 0, 0, 0, 1, 0, 1, 0, 1]], np.arange(10))
    assert [row["answered"] for row in rows] == [1, 0.9, 0.8, 0.7, 0.6, 0.5]
    assert [row["least"] for row in rows] == [0.5, 0.55, 0.6, 0.65, 0.7, 0.75]
    assert [row["risk"]["value"] for row in rows] == pytest.approx([0.3, 2 / 9, 2 / 8, 1 / 7, 1 / 6, 0])


def test_the_interval_of_a_mean_holds_the_truth_though_groups_are_alike() -> None:
    rng = np.random.default_rng(0)
    held = []
    for _ in range(400):
        index = np.repeat(np.arange(25), rng.integers(1, 5, 25))
        figure = mean_figure(rng.normal(size=25)[index] + rng.normal(size=len(index)), index)
        held.append(figure["low"] <= 0 <= figure["high"])
    assert 0.92 <= np.mean(held) <= 0.98
    assert mean_figure(np.ones(3), np.zeros(3, int)) == {"value": None, "reason": "too few groups"}
