"""Calibration: figures counted by hand and those of torchmetrics and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import brier_score_loss
from torchmetrics.functional.classification import multiclass_calibration_error

from cxrflow.evaluation.calibration import abstention, calibration
from cxrflow.task import Task


@pytest.fixture(scope="module")
def drawn(score):
    def make(task, sharpen=1.0, n=600, seed=0):
        """Labels drawn from the probabilities, which are then sharpened: calibrated at 1, overconfident above."""
        rng = np.random.default_rng(seed)
        true = rng.dirichlet(np.ones(len(task.order)), n)
        truth = (rng.random(n)[:, None] > true.cumsum(axis=1)[:, :-1]).sum(axis=1)
        said = true**sharpen
        return score(task, truth, said / said.sum(axis=1, keepdims=True), seed=seed)

    return make


SIX = Task(
    classes={name: (name,) for name in ("atelectasis", "edema", "effusion", "emphysema", "fibrosis", "hernia")},
    positive="edema",
)


@pytest.mark.parametrize(("classes", "bins"), [(2, 20), (3, 15), (6, 12)])
def test_the_error_is_that_of_torchmetrics(two, task, drawn, classes, bins):
    """So many bins of [0, 1] are our ten of [1/k, 1] and a whole number of empty ones."""
    scored = drawn({2: two, 3: task, 6: SIX}[classes], 2.0)
    target, probabilities = torch.tensor(scored.truth), torch.tensor(scored.probabilities)
    expected = multiclass_calibration_error(probabilities, target, classes, n_bins=bins, norm="l1")
    assert calibration(scored)["ece"] == pytest.approx(float(expected), abs=1e-6)


def test_the_brier_score_is_that_of_scikit_learn(any_task, drawn):
    scored = drawn(any_task)
    brier = calibration(scored)["brier"]
    labels = sorted(any_task.order)  # scikit-learn wants columns by the alphabet
    columns = [any_task.order.index(label) for label in labels]
    expected = brier_score_loss(scored.labels, scored.probabilities[:, columns], labels=labels, scale_by_half=False)
    assert brier.value == pytest.approx(expected)
    assert brier.low < expected < brier.high


@pytest.mark.parametrize(("of_wrong", "limit"), [(0.99, "high"), (0.01, "low")])
def test_the_interval_of_the_brier_score_stays_in_its_range(two, score, of_wrong, limit):
    """One image of five that differs: a mean and its interval by t would go beyond 0 or 2."""
    chance = np.full(5, 0.5 + np.copysign(0.499, of_wrong - 0.5))
    chance[0] = 0.5
    brier = calibration(score(two, np.zeros(5, int), np.c_[1 - chance, chance]))["brier"]
    assert getattr(brier, limit) == {"low": 0, "high": 2}[limit]
    assert brier.low <= 2 * np.mean(chance**2) <= brier.high


def test_calibrated_probabilities_are_not_called_off_and_sharpened_ones_are(task, drawn):
    def off(sharpen):
        found = [calibration(drawn(task, sharpen, 200, seed)) for seed in range(20)]
        return [each["ece"] > each["ece_if_calibrated"]["p95"] for each in found]

    assert sum(off(1.0)) <= 4
    assert sum(off(3.0)) == 20


def test_bins_hold_every_image_once_from_the_least_to_the_greatest(any_task, drawn):
    bins = calibration(drawn(any_task))["bins"]
    assert sum(row["right"].n for row in bins) == 600
    confidences = [row["confidence"] for row in bins]
    assert confidences == sorted(confidences)
    assert len(bins) == 10
    least, width = 1 / len(any_task.order), (1 - 1 / len(any_task.order)) / 10
    assert all(least + width * b <= each <= least + width * (b + 1) for b, each in enumerate(confidences))


def test_abstention_counted_by_hand(task, score):
    sure = np.array([0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5])
    probabilities = np.stack([sure, 1 - sure, 0 * sure], axis=1)
    rows = abstention(score(task, [0, 0, 0, 0, 0, 1, 0, 1, 0, 1], probabilities))
    assert [row["answered"] for row in rows] == [1, 0.9, 0.8, 0.7, 0.6, 0.5]
    assert [row["least"] for row in rows] == [0.5, 0.55, 0.6, 0.65, 0.7, 0.75]
    assert [row["risk"].value for row in rows] == pytest.approx([0.3, 2 / 9, 2 / 8, 1 / 7, 1 / 6, 0])
