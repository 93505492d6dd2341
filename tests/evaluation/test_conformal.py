"""Prediction sets: the quantile of MAPIE and of hand, and coverage where the truth is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mapie.classification import SplitConformalClassifier
from sklearn.base import BaseEstimator, ClassifierMixin

from cxrflow.bundle import PredictionSets
from cxrflow.evaluation.conformal import fit_cross_sets, fit_sets, lower_quantile, set_figures


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
def test_single_images_of_one_class_give_mapies_sets(coverage, task):
    rng = np.random.default_rng(0)
    calibration, new = rng.dirichlet(np.ones(3), 137), rng.dirichlet(np.ones(3), 50)
    labels = rng.integers(0, 3, 137)
    mapie = SplitConformalClassifier(AsGiven(), confidence_level=coverage, conformity_score="lac", prefit=True)
    expected = mapie.conformalize(calibration, labels).predict_set(new)[1][:, :, 0]
    least = lower_quantile(calibration[np.arange(137), labels], np.arange(137), coverage)
    sets = PredictionSets(coverage=coverage, least=dict.fromkeys(task.order, least))
    assert np.array_equal(sets.held(new[None], task.order), expected)


def test_quantile_counted_by_hand():
    scores = np.arange(1, 20) / 20
    assert lower_quantile(scores, np.arange(19), 0.9) == 0.1  # the second of 19: 0.1 * 20
    assert lower_quantile(scores[:9], np.arange(9), 0.9) == 0.05
    assert lower_quantile(scores[:8], np.arange(8), 0.9) == 0  # too few to exclude anything
    # Groups of 1/20 each: three images of the first share it, so the lowest two weigh 1/60 each.
    grouped = np.r_[[0, 0, 0], np.arange(1, 19)]
    assert lower_quantile(np.r_[[0.01, 0.02, 0.9], scores[1:]], grouped, 0.9) == 0.1


@settings(max_examples=30)
@given(st.integers(1, 40), st.integers(1, 5), st.floats(0.5, 0.99))
def test_repeats_of_every_image_change_nothing(groups, times, coverage):
    scores = np.random.default_rng(groups).random(groups)
    once = lower_quantile(scores, np.arange(groups), coverage)
    assert lower_quantile(np.repeat(scores, times), np.repeat(np.arange(groups), times), coverage) == once


def test_sets_hold_each_class_as_often_as_they_say_though_patients_are_alike(four, score):
    """Patients of 1 to 8 similar images, one in ten of the first class."""
    rng, k = np.random.default_rng(1), len(four.order)

    def study():
        truth = rng.choice(k, 200, p=[0.1, *[0.9 / (k - 1)] * (k - 1)])
        own = rng.normal(size=(200, k)) + 1.5 * np.eye(k)[truth]
        index = np.repeat(np.arange(200), rng.integers(1, 9, 200))
        logits = own[index] + 0.5 * rng.normal(size=(len(index), k))
        return score(four, truth[index], np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), index)

    covered = {name: [] for name in four.order}
    for _ in range(60):
        sets, new = fit_sets(study(), coverage=0.8), study()
        first = np.unique(new.groups, return_index=True)[1]  # an image of each new patient
        held = sets.held(new.probabilities[None, first], four.order)
        for c, name in enumerate(four.order):
            covered[name].append(held[new.labels[first] == name, c].mean())
    for name in four.order:
        assert 0.78 <= np.mean(covered[name]) <= 0.87, name


def test_coverage_is_that_of_patients_where_those_with_many_images_are_the_hard_ones(task, score):
    """One patient in ten has 20 images, none of them like the others': the sets hold what they promise of a new
    patient's image, and far fewer of all images; the figure is the former, as is what its interval holds."""

    def study(rng):
        truth = rng.integers(0, 3, 300)
        hard = rng.random(300) < 0.1
        index = np.repeat(np.arange(300), np.where(hard, 20, 1))
        logits = rng.normal(size=(len(index), 3)) + np.where(hard, 0.0, 2.0)[index, None] * np.eye(3)[truth[index]]
        return score(task, truth[index], np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), index)

    rng = np.random.default_rng(2)
    sets = fit_sets(study(rng), coverage=0.9)
    figures, images = [], []
    for _ in range(100):
        scored = study(rng)
        right = sets.held(scored.probabilities[None], task.order)[np.arange(len(scored)), scored.truth]
        figure = set_figures(scored, scored.probabilities[None], sets)["coverage"]["all"]
        patient = np.unique(scored.groups, return_inverse=True)[1]
        assert figure.value == pytest.approx(np.mean(np.bincount(patient, right) / np.bincount(patient)))
        figures.append(figure)
        images.append(right.mean())
    truth = np.mean([figure.value for figure in figures])
    assert 0.88 <= truth <= 0.95
    assert np.mean(images) < 0.8
    assert 0.92 <= np.mean([figure.low <= truth <= figure.high for figure in figures]) <= 1


def test_a_patient_counts_once_by_hand(task, score):
    probabilities = np.array([[0.7, 0.2, 0.1]] * 2 + [[0.1, 0.8, 0.1]] * 4)
    sets = PredictionSets(coverage=0.9, least=dict.fromkeys(task.order, 0.5))
    scored = score(task, [0] * 6, probabilities, [0, 1, 1, 2, 2, 2])
    coverage = set_figures(scored, probabilities[None], sets)["coverage"]["flu"]
    assert coverage.value == pytest.approx((1 + 1 / 2 + 0) / 3)  # 2 of 6 images
    assert (coverage.n, coverage.groups, coverage.counts) == (6, 3, "3 groups")


def test_figures_of_sets_counted_by_hand(task, score):
    probabilities = np.array([[0.7, 0.2, 0.1], [0.3, 0.4, 0.3], [0.1, 0.8, 0.1], [0.15, 0.15, 0.7]])
    # The thresholds in another order than the task's: they belong to classes, not to columns.
    sets = PredictionSets(coverage=0.9, least={"other": 0.75, "clear": 0.35, "flu": 0.2})
    scored = score(task, [0, 0, 1, 2], probabilities)
    figures = set_figures(scored, scored.probabilities[None], sets)
    assert figures["coverage"]["all"].value == 0.75
    assert figures["coverage"]["flu"].value == 1
    assert figures["coverage"]["other"].value == 0
    assert figures["mean_size"] == 1  # {flu}, {flu, clear}, {clear}, {}
    assert (figures["single"].value, figures["empty"].value) == (0.5, 0.25)
    without = set_figures(scored, scored.probabilities[None], None)
    assert "train it again" in without["coverage"]["flu"].reason
    assert set(without) == set(figures)
    assert set(without["coverage"]) == set(figures["coverage"]) == {"all", *task.order}


def test_of_one_fold_sets_by_left_out_scores_are_those_of_the_quantile(two_classes, score):
    """CV+ with one fold is split conformal prediction."""
    for groups in (1, 2, 5, 12, 40):
        for images, coverage in ((1, 0.9), (3, 0.9), (4, 0.55), (2, 0.99)):
            rng = np.random.default_rng(groups)
            index, truth = np.repeat(np.arange(2 * groups), images), np.repeat(np.arange(2 * groups) % 2, images)
            scored = score(two_classes, truth, rng.dirichlet(np.ones(2), len(index)).round(1), index)  # with ties
            new = rng.dirichlet(np.ones(2), 50).round(1)[None]
            one = fit_cross_sets(scored, np.zeros(len(index), np.int64), 1, coverage).held(new, two_classes.order)
            assert np.array_equal(one, fit_sets(scored, coverage).held(new, two_classes.order))


def test_left_out_scores_are_compared_with_those_of_the_same_networks(task, score):
    """Nineteen groups of a class in two folds; the networks of the second give all images half the score."""
    scores, fold = np.arange(1, 20) / 20, np.arange(19) % 2
    own = np.where(fold == 1, scores / 2, scores)
    probabilities = np.r_[np.column_stack([own, 1 - own, np.zeros(19)]), [[0.5, 0.3, 0.2], [0.2, 0.3, 0.5]]]
    scored = score(task, np.r_[np.zeros(19, int), 1, 2], probabilities)
    sets = fit_cross_sets(scored, np.r_[fold, 0, 1], 2, 0.9)
    # The second of 19 decides, as without folds: 0.1 by the scale of the first fold's networks, 0.05 by the other's.
    new = np.array([[[0.101, 0, 0], [0.099, 0, 0]], [[0.0505, 0, 0], [0.0499, 0, 0]]])
    assert sets.held(new, task.order)[:, 0].tolist() == [True, False]
