"""Curves: scikit-learn's where it has them, and bands that hold the truth."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score
from statsmodels.stats.proportion import proportion_confint

from cxrflow.evaluation.curves import GRID, curves
from cxrflow.statistics.figure import missing


def test_curves_are_those_of_scikit_learn(any_task, score):
    rng, k = np.random.default_rng(0), len(any_task.order)
    truth, probabilities = rng.integers(0, k, 400), rng.dirichlet(np.ones(k), 400)
    rounded = np.round(probabilities[:, 0], 1)  # ties
    probabilities = np.c_[rounded, (1 - rounded)[:, None] * (probabilities[:, 1:] + 0.01)]
    probabilities[:, 1:] *= ((1 - rounded) / np.maximum(probabilities[:, 1:].sum(axis=1), 1e-9))[:, None]
    found = curves(score(any_task, truth, probabilities, np.arange(400) // 2, draws=4))
    for c, name in enumerate(any_task.order):
        positive, scores = truth == c, probabilities[:, c]
        assert np.trapezoid(found[name]["roc"]["y"], GRID) == pytest.approx(roc_auc_score(positive, scores), abs=0.006)
        precision, recall, _ = precision_recall_curve(positive, scores)
        for x, y in zip(GRID, found[name]["precision_recall"]["y"], strict=True):
            assert y == pytest.approx(precision[recall >= max(x, 1e-9) - 1e-12][-1])
        average = average_precision_score(positive, scores)
        assert np.mean(found[name]["precision_recall"]["y"]) == pytest.approx(average, abs=0.02)


def test_a_curve_counted_by_hand(task, score):
    flu = np.array([0.9, 0.8, 0.7, 0.6])
    found = curves(score(task, [0, 1, 0, 1], np.stack([flu, 1 - flu, 0 * flu], axis=1)))
    roc, precision = found["flu"]["roc"], found["flu"]["precision_recall"]
    assert [roc["y"][k] for k in (0, 49, 50, 100)] == [0.5, 0.5, 1, 1]
    assert [precision["y"][k] for k in (0, 50, 51, 100)] == pytest.approx([1, 1, 2 / 3, 2 / 3])
    assert found["other"]["roc"] == missing("no other image in the set")
    alone = curves(score(task, [0, 0], np.eye(3)[[0, 0]]))
    assert alone["flu"]["precision_recall"] == missing("every image is influenza")


def test_a_perfect_curve_is_not_certain(task, score):
    found = curves(score(task, np.arange(30) % 3, np.eye(3)[np.arange(30) % 3]))["flu"]["roc"]
    assert found["y"] == [1.0] * 101
    assert 0.6 < found["low"][0] < 0.8  # Wilson, 10 of 10: 0.72
    assert found["low"][0] == found["low"][50]


@pytest.mark.parametrize(("groups", "most"), [(60, 1), (120, 6)])
def test_bands_hold_the_true_curve(two, score, groups, most):
    """The positive class in one group of four, its probability 1.5 standard deviations higher; images of a group share
    half of their variance. At a false-alarm share x the sensitivity is that of two normal distributions."""
    rng, places = np.random.default_rng(2), (5, 10, 20, 40)
    truth = stats.norm.cdf(stats.norm.ppf(GRID[list(places)]) + 1.5)
    held = []
    for seed in range(40):
        index = np.repeat(np.arange(groups), rng.integers(1, most + 1, groups))
        own = rng.normal(size=groups)[index] * np.sqrt(0.5) + rng.normal(size=len(index)) * np.sqrt(0.5)
        flu = stats.norm.cdf(own + 1.5 * (index % 4 == 0) - 1)
        scored = score(two, (index % 4 == 0).astype(int), np.stack([1 - flu, flu], axis=1), index, draws=60, seed=seed)
        band = curves(scored)["flu"]["roc"]
        held.append([band["low"][k] <= y <= band["high"][k] for k, y in zip(places, truth, strict=True)])
    assert 0.92 <= np.mean(held) <= 0.995


@pytest.mark.parametrize("positives", [6, 10])
def test_a_band_of_few_groups_is_as_wide_as_students_t_asks(two, score, positives):
    """All negatives have one score and half of the positives a higher one. No false alarm, then, is a sensitivity of
    0.5, a share of the positives, whatever the negatives: its variance is 0.25 E(1/M) for M positives in a resample,
    and Wilson's sample size is p (1 - p) over it and over (t / z)^2, t with ``positives - 1`` degrees of freedom."""
    n = 6 * positives
    truth = (np.arange(n) < positives).astype(int)
    flu = np.where(truth, np.where(np.arange(n) % 2, 0.8, 0.2), 0.5)
    band = curves(score(two, truth, np.stack([1 - flu, flu], axis=1), draws=2000))["flu"]["roc"]
    assert band["y"][0] == 0.5
    drawn = np.arange(1, n + 1)
    chance = stats.binom.pmf(drawn, n, positives / n)
    variance = 0.25 * (chance / drawn).sum() / chance.sum()
    worth = 0.25 / variance / (stats.t.ppf(0.975, positives - 1) / stats.norm.ppf(0.975)) ** 2
    low, high = proportion_confint(worth / 2, worth, method="wilson")
    assert (band["low"][0], band["high"][0]) == pytest.approx((low, high), abs=0.01)
