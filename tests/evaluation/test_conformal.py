"""Prediction sets: the quantile of MAPIE and of hand, and coverage where the truth is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mapie.classification import SplitConformalClassifier
from sklearn.base import BaseEstimator, ClassifierMixin

from cxrflow.bundle import PredictionSets
from cxrflow.evaluation.conformal import fit_sets, lower_quantile, set_figures
from cxrflow.records import CLASSES

NAMES = np.array(CLASSES)


class AsGiven(ClassifierMixin, BaseEstimator):
    """A classifier whose input is its answer."""

    def __init__(self) -> None:
        self.classes_ = np.arange(3)

    def fit(self, X: np.ndarray, y: np.ndarray) -> "AsGiven":
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        return X

    def predict(self, X: np.ndarray) -> np.ndarray:
        return X.argmax(axis=1)


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_single_images_of_one_class_give_mapies_sets(coverage: float) -> None:
    rng = np.random.default_rng(0)
    calibration, new = rng.dirichlet(np.ones(3), 137), rng.dirichlet(np.ones(3), 50)
    labels = rng.integers(0, 3, 137)
    mapie = SplitConformalClassifier(AsGiven(), confidence_level=coverage, conformity_score="lac", prefit=True)
    expected = mapie.conformalize(calibration, labels).predict_set(new)[1][:, :, 0]
    least = lower_quantile(calibration[np.arange(137), labels], np.arange(137), coverage)
    assert np.array_equal(PredictionSets(coverage=coverage, least=dict.fromkeys(CLASSES, least)).held(new), expected)


def test_quantile_counted_by_hand() -> None:
    scores = np.arange(1, 20) / 20
    assert lower_quantile(scores, np.arange(19), 0.9) == 0.1  # the second of 19: 0.1 * 20
    assert lower_quantile(scores[:9], np.arange(9), 0.9) == 0.05
    assert lower_quantile(scores[:8], np.arange(8), 0.9) == 0  # too few to exclude anything
    # Groups of 1/20 each: three images of the first share it, so the lowest two weigh 1/60 each.
    grouped = np.r_[[0, 0, 0], np.arange(1, 19)]
    assert lower_quantile(np.r_[[0.01, 0.02, 0.9], scores[1:]], grouped, 0.9) == 0.1


@settings(max_examples=30)
@given(st.integers(1, 40), st.integers(1, 5), st.floats(0.5, 0.99))
def test_repeats_of_every_image_change_nothing(groups: int, times: int, coverage: float) -> None:
    scores = np.random.default_rng(groups).random(groups)
    once = lower_quantile(scores, np.arange(groups), coverage)
    assert lower_quantile(np.repeat(scores, times), np.repeat(np.arange(groups), times), coverage) == once


def draw(rng: np.random.Generator, groups: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images of patients, 1 to 8 of each and alike, one in ten with COVID-19."""
    truth = rng.choice(3, groups, p=[0.1, 0.5, 0.4])
    own = rng.normal(size=(groups, 3)) + 1.5 * np.eye(3)[truth]
    index = np.repeat(np.arange(groups), rng.integers(1, 9, groups))
    logits = own[index] + 0.5 * rng.normal(size=(len(index), 3))
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), NAMES[truth[index]], index


def test_sets_hold_each_class_as_often_as_they_say_though_patients_are_alike() -> None:
    rng = np.random.default_rng(1)
    covered = {name: [] for name in CLASSES}
    for _ in range(100):
        sets = fit_sets(*draw(rng, 200), coverage=0.8)
        probabilities, labels, index = draw(rng, 200)
        first = np.unique(index, return_index=True)[1]  # an image of each new patient
        held = sets.held(probabilities[first])
        for c, name in enumerate(CLASSES):
            covered[name].append(held[labels[first] == name, c].mean())
    for name in CLASSES:
        assert 0.78 <= np.mean(covered[name]) <= 0.87, name


def test_coverage_is_that_of_patients_where_those_with_many_images_are_the_hard_ones() -> None:
    """One patient in ten has 20 images, none of them like the others': the sets hold what they promise of a new
    patient's image, and far fewer of all images; the figure is the former, as is what its interval holds."""

    def study(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        truth = rng.integers(0, 3, 300)
        hard = rng.random(300) < 0.1
        index = np.repeat(np.arange(300), np.where(hard, 20, 1))
        logits = rng.normal(size=(len(index), 3)) + np.where(hard, 0.0, 2.0)[index, None] * np.eye(3)[truth[index]]
        return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), NAMES[truth[index]], index

    rng = np.random.default_rng(2)
    sets = fit_sets(*study(rng), coverage=0.9)
    values, images, intervals = [], [], []
    for _ in range(100):
        probabilities, labels, index = study(rng)
        right = sets.held(probabilities)[np.arange(len(labels)), [CLASSES.index(label) for label in labels]]
        figure = set_figures(probabilities, labels, index, sets)["coverage"]["all"]
        assert figure["value"] == pytest.approx(np.mean([right[index == patient].mean() for patient in range(300)]))
        values.append(figure["value"])
        images.append(right.mean())
        intervals.append((figure["low"], figure["high"]))
    assert 0.88 <= np.mean(values) <= 0.95
    assert np.mean(images) < 0.8
    assert 0.92 <= np.mean([low <= np.mean(values) <= high for low, high in intervals]) <= 1


def test_a_patient_counts_once_by_hand() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1]] * 2 + [[0.1, 0.8, 0.1]] * 4)
    sets = PredictionSets(coverage=0.9, least=dict.fromkeys(CLASSES, 0.5))
    coverage = set_figures(probabilities, NAMES[[0] * 6], np.array([0, 1, 1, 2, 2, 2]), sets)["coverage"]["covid"]
    assert coverage["value"] == pytest.approx((1 + 1 / 2 + 0) / 3)  # 2 of 6 images
    assert (coverage["n"], coverage["groups"], coverage["counts"]) == (6, 3, "3 groups")


def test_figures_of_sets_counted_by_hand() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.3, 0.4, 0.3], [0.1, 0.8, 0.1], [0.15, 0.15, 0.7]])
    sets = PredictionSets(coverage=0.9, least={"covid": 0.2, "normal": 0.35, "pneumonia": 0.75})
    figures = set_figures(probabilities, NAMES[[0, 0, 1, 2]], np.arange(4), sets)
    assert figures["coverage"]["all"]["value"] == 0.75
    assert figures["coverage"]["covid"]["value"] == 1
    assert figures["coverage"]["pneumonia"]["value"] == 0
    assert figures["mean_size"] == 1  # {covid}, {covid, normal}, {normal}, {}
    assert (figures["single"]["value"], figures["empty"]["value"]) == (0.5, 0.25)
    without = set_figures(probabilities, NAMES[[0, 0, 1, 2]], np.arange(4), None)
    assert "train it again" in without["coverage"]["covid"]["reason"]
    assert set(without) == set(figures)
