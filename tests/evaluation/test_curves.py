"""Curves: scikit-learn's where it has them, and bands that hold the truth."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from cxrflow.evaluation.curves import GRID, curves
from cxrflow.records import CLASSES

NAMES = np.array(CLASSES)


def case(rng: np.random.Generator, groups: int, most: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """COVID-19 in one group of four, its probability 1.5 standard deviations higher; images of a group are alike."""
    index = np.repeat(np.arange(groups), rng.integers(1, most + 1, groups))
    truth = np.where(index % 4 == 0, 0, 1 + index % 2)
    own = rng.normal(size=groups)[index] * np.sqrt(0.5) + rng.normal(size=len(index)) * np.sqrt(0.5)
    covid = stats.norm.cdf(own + 1.5 * (truth == 0) - 1)
    return np.stack([covid, (1 - covid) * 0.6, (1 - covid) * 0.4], axis=1), NAMES[truth], index


def test_curves_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    labels, groups = NAMES[rng.integers(0, 3, 400)], np.arange(400) // 2
    probabilities = rng.dirichlet(np.ones(3), 400)
    probabilities[:, 0] = np.round(probabilities[:, 0], 1)  # ties
    for c, name in enumerate(CLASSES):
        found, positive = curves(probabilities, labels, groups, 100, 0)[name], labels == name
        area = np.trapezoid(found["roc"]["y"], GRID)
        assert area == pytest.approx(roc_auc_score(positive, probabilities[:, c]), abs=0.006)
        precision, recall, _ = precision_recall_curve(positive, probabilities[:, c])
        for x, y in zip(GRID, found["precision_recall"]["y"], strict=True):
            expected = precision[recall >= max(x, 1e-9) - 1e-12][-1]
            assert y == pytest.approx(expected)
        average = average_precision_score(positive, probabilities[:, c])
        assert np.mean(found["precision_recall"]["y"]) == pytest.approx(average, abs=0.02)


def test_a_curve_counted_by_hand() -> None:
    covid = np.array([0.9, 0.8, 0.7, 0.6])
    probabilities = np.stack([covid, 1 - covid, 0 * covid], axis=1)
    found = curves(probabilities, NAMES[[0, 1, 0, 1]], np.arange(4), 100, 0)
    roc, precision = found["covid"]["roc"], found["covid"]["precision_recall"]
    assert [roc["y"][k] for k in (0, 49, 50, 100)] == [0.5, 0.5, 1, 1]
    assert [precision["y"][k] for k in (0, 50, 51, 100)] == pytest.approx([1, 1, 2 / 3, 2 / 3])
    assert found["pneumonia"]["roc"] == {"value": None, "reason": "no pneumonia image in the set"}


def test_a_perfect_curve_is_not_certain() -> None:
    labels = NAMES[np.arange(30) % 3]
    found = curves(np.eye(3)[np.arange(30) % 3], labels, np.arange(30), 100, 0)["covid"]["roc"]
    assert found["y"] == [1.0] * 101
    assert 0.6 < found["low"][0] < 0.8  # Wilson, 10 of 10: 0.72
    assert found["low"][0] == found["low"][50]


@pytest.mark.parametrize(("groups", "most"), [(60, 1), (120, 6)])
def test_bands_hold_the_true_curve(groups: int, most: int) -> None:
    rng = np.random.default_rng(2)
    places = (5, 10, 20, 40)
    # The sensitivity at a false-alarm share x is that of two normal distributions, 1.5 apart.
    truth = stats.norm.cdf(stats.norm.ppf(GRID[list(places)]) + 1.5)
    held = []
    for seed in range(60):
        band = curves(*case(rng, groups, most), 100, seed)["covid"]["roc"]
        held.append([band["low"][k] <= y <= band["high"][k] for k, y in zip(places, truth, strict=True)])
    assert 0.92 <= np.mean(held) <= 0.995
