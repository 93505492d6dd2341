"""Operating points: thresholds counted by hand, PPV and NPV by Bayes, intervals by simulation."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cxrflow.bundle import Bundle, Network
from cxrflow.evaluation.operating import (
    POINTS,
    at_prevalence,
    choose,
    figures_at_points,
    point_names,
    ratio_interval,
    threshold_for_cost,
    threshold_for_specificity,
)
from cxrflow.params import Params
from cxrflow.statistics.figure import Figure, missing, to_json
from cxrflow.statistics.intervals import proportion
from cxrflow.task import Task

# Ten others and four positives, as they are ranked.
SCORES = np.array([0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8, 0.35, 0.55, 0.7, 0.9])
POSITIVE = np.arange(14) >= 10


def bundle(params: Params, task: Task, thresholds: dict) -> Bundle:
    return Bundle(
        cxrflow="0",
        task=task,
        networks=(
            Network(model="resnet18", images=params.images, mean=0.5, std=0.2, temperature=1.0, epoch=0, validation={}),
        ),
        sources={},
        digests={},
        thresholds=thresholds,
    )


def of_positive(task: Task, scores: list) -> np.ndarray:
    """Probabilities with these of the positive class; of the rest the first class has nine tenths."""
    scores, k = np.asarray(scores, float), len(task.order)
    rest = [c for c in range(k) if c != task.positive_column]
    probabilities = np.zeros((len(scores), k))
    probabilities[:, rest] = (1 - scores)[:, None] * [[0.9, *[0.1 / (k - 2)] * (k - 2)] if k > 2 else [1.0]]
    probabilities[:, task.positive_column] = scores
    return probabilities


@pytest.mark.parametrize(
    ("wanted", "threshold", "found"),
    [(0.99, 0.85, 1), (0.9, 0.65, 2), (0.8, 0.525, 3), (0.75, 0.525, 3), (0.5, 0.275, 4)],
)
def test_the_lowest_threshold_that_is_specific_enough(wanted: float, threshold: float, found: int) -> None:
    chosen = threshold_for_specificity(SCORES, POSITIVE, wanted)
    assert chosen == pytest.approx(threshold)
    assert (SCORES[POSITIVE] >= chosen).sum() == found


def test_no_threshold_is_specific_enough_but_one_above_all_scores() -> None:
    chosen = threshold_for_specificity(np.array([0.2, 0.9, 0.9]), np.array([False, True, False]), 0.9)
    assert 0.9 < chosen < 0.9 + 1e-9


@pytest.mark.parametrize(("ratio", "threshold"), [(0.5, 0.85), (1, 0.525), (10, 0.325)])
def test_the_threshold_of_least_cost(ratio: float, threshold: float) -> None:
    """At the set's own prevalence, 4 in 14, the cost is ratio * missed + false alarms. Counted by hand, (missed, false
    alarms) from the highest threshold down: (3, 0), (2, 1), (1, 2), (0, 4); at ratio 1 the lowest of the equals."""
    assert threshold_for_cost(SCORES, POSITIVE, ratio, 4 / 14) == pytest.approx(threshold)


def test_a_rarer_disease_raises_the_threshold_and_a_dearer_miss_lowers_it() -> None:
    at = [threshold_for_cost(SCORES, POSITIVE, 3, share) for share in (0.5, 0.1, 0.01)]
    assert at == sorted(at)
    assert threshold_for_cost(SCORES, POSITIVE, 100, 0.1) < threshold_for_cost(SCORES, POSITIVE, 1, 0.1)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=2, max_size=60), st.floats(0.01, 0.99))
def test_what_val_reaches_is_what_was_wanted_and_one_step_lower_is_not(cases: list, wanted: float) -> None:
    scores = np.array([score for score, _ in cases] + [3, 5]) / 10
    positive = np.array([yes for _, yes in cases] + [True, False])
    threshold = threshold_for_specificity(scores, positive, wanted)
    assert (scores[~positive] < threshold).mean() >= wanted
    next_lower = scores[scores < threshold].max(initial=-1)
    assert next_lower < 0 or (scores[~positive] < next_lower).mean() < wanted or not (scores < threshold).any()


def test_figures_on_test_are_those_of_the_points_chosen_on_val(any_task, score, demo_params: Params) -> None:
    points = choose(SCORES, POSITIVE, demo_params.evaluation.model_copy(update={"specificity": 0.9}))
    assert points["specificity"].specificity == 0.9
    assert points["specificity"].sensitivity == 0.5
    positive, other = any_task.positive_column, 1 if any_task.positive_column == 0 else 0
    truth = [positive] * 3 + [other] * 2
    scored = score(any_task, truth, of_positive(any_task, [0.7, 0.6, 0.2, 0.66, 0.1]))
    figures = figures_at_points(scored, bundle(demo_params, any_task, points), 0.1)
    assert tuple(figures) == tuple(point_names(any_task)) == POINTS
    assert any_task.positive_name in point_names(any_task)["argmax"]
    assert [figures[name]["prevalence"] for name in POINTS] == [None, None, demo_params.evaluation.prevalence]
    at = figures["specificity"]
    assert (at["sensitivity"].value, at["specificity"].value, at["ppv"].value) == (1 / 3, 0.5, 0.5)
    assert at["npv"].value == 1 / 3
    assert at["threshold"] == points["specificity"].threshold
    assert figures["argmax"]["sensitivity"].value == 2 / 3
    assert figures["argmax"]["threshold"] is None
    written = to_json(figures)
    assert json.loads(json.dumps(written, allow_nan=False)) == written


def test_the_prevalence_of_the_least_cost_is_the_bundles_whatever_is_asked_on_test(
    task, score, demo_params: Params
) -> None:
    points = choose(SCORES, POSITIVE, demo_params.evaluation.model_copy(update={"prevalence": 0.3}))
    read = Bundle.model_validate_json(bundle(demo_params, task, points).model_dump_json())
    assert (read.thresholds["cost_ratio"].prevalence, read.thresholds["specificity"].prevalence) == (0.3, None)
    scored = score(task, [0, 1], of_positive(task, [0.8, 0.1]))
    at = {asked: figures_at_points(scored, read, asked)["cost_ratio"] for asked in (0.02, 0.3)}
    assert at[0.02]["prevalence"] == at[0.3]["prevalence"] == 0.3
    assert at[0.02]["sensitivity"] == at[0.3]["sensitivity"]
    assert at[0.02]["threshold"] == at[0.3]["threshold"]


def test_a_bundle_without_operating_points_says_so(task, score, demo_params: Params) -> None:
    scored = score(task, [0, 1], of_positive(task, [0.8, 0.1]))
    figures = figures_at_points(scored, bundle(demo_params, task, {}), 0.1)
    assert figures["argmax"]["sensitivity"].value == 1
    assert "train it again" in figures["specificity"]["sensitivity"].reason
    assert set(figures["specificity"]) == set(figures["argmax"])


def test_what_nothing_is_known_of_names_the_positive_class(task, score, demo_params: Params) -> None:
    scored = score(task, [1, 2], of_positive(task, [0.1, 0.1]))
    at = figures_at_points(scored, bundle(demo_params, task, {}), 0.1)["argmax"]
    assert at["sensitivity"] == at["ppv_at_prevalence"] == missing("no influenza image in the set")
    assert at["ppv"] == missing("no image was called influenza")
    all_called = score(task, [0, 0], of_positive(task, [0.9, 0.9]))
    at = figures_at_points(all_called, bundle(demo_params, task, {}), 0.1)["argmax"]
    assert at["specificity"] == missing("every image in the set is influenza")
    assert at["npv"] == missing("every image was called influenza")


def rates(sensitivity: float, specificity: float, n: int = 1000) -> tuple[Figure, Figure]:
    index = np.arange(n)
    return proportion(index < sensitivity * n, index), proportion(index < specificity * n, index)


def test_ppv_and_npv_at_a_prevalence_are_bayes() -> None:
    ppv, npv = at_prevalence(*rates(0.9, 0.95), 0.02, "flu")
    assert ppv.value == pytest.approx(0.9 * 0.02 / (0.9 * 0.02 + 0.05 * 0.98))
    assert npv.value == pytest.approx(0.95 * 0.98 / (0.95 * 0.98 + 0.1 * 0.02))
    assert ppv.low < ppv.value < ppv.high
    assert npv.low < npv.value < npv.high


def test_the_papers_table_restated() -> None:
    # Its ResNet-18 of iteration 2: sensitivity 0.85 and specificity 0.980 give a PPV of 0.55 at its 2.8 %.
    assert at_prevalence(*rates(0.85, 0.98), 0.028, "flu")[0].value == pytest.approx(0.55, abs=0.005)


@settings(max_examples=40)
@given(st.integers(0, 30), st.integers(0, 30), st.floats(0.001, 0.999))
def test_limits_hold_the_value_at_the_edges_too(found: int, rejected: int, prevalence: float) -> None:
    index = np.arange(30)
    sensitivity, specificity = proportion(index < found, index), proportion(index < rejected, index)
    for figure in at_prevalence(sensitivity, specificity, prevalence, "flu"):
        if figure.known:
            assert 0 <= figure.low <= figure.value <= figure.high <= 1
            assert figure.high - figure.low > 1e-6


def test_nothing_called_has_no_ppv_and_absence_keeps_its_reason() -> None:
    assert at_prevalence(*rates(0.0, 1.0), 0.1, "flu")[0] == missing("no image was called flu")
    assert at_prevalence(*rates(1.0, 0.0), 0.1, "flu")[1] == missing("every image was called flu")
    assert at_prevalence(missing("none there"), rates(1, 1)[1], 0.1, "flu") == (missing("none there"),) * 2


@pytest.mark.parametrize(("sensitivity", "specificity", "n"), [(0.85, 0.98, 40), (0.9, 0.9, 15)])
def test_ppv_interval_holds_the_truth(sensitivity: float, specificity: float, n: int) -> None:
    """Over all outcomes of n positives and 3 n others, by their probabilities: no draw is left to chance."""
    truth = sensitivity * 0.1 / (sensitivity * 0.1 + (1 - specificity) * 0.9)
    found, kept = (np.arange(m + 1) for m in (n, 3 * n))
    chance = np.outer(stats.binom.pmf(found, n, sensitivity), stats.binom.pmf(kept, 3 * n, specificity))
    yes = [proportion(np.arange(n) < k, np.arange(n)) for k in found]
    no = [proportion(np.arange(3 * n) < k, np.arange(3 * n)) for k in kept]
    held = 0.0
    for k, m in zip(*np.nonzero(chance > 1e-5), strict=True):
        ppv = at_prevalence(yes[k], no[m], 0.1, "flu")[0]
        held += chance[k, m] * (ppv.known and ppv.low <= truth <= ppv.high)
    assert 0.92 <= held / chance[chance > 1e-5].sum() <= 0.98


@pytest.mark.parametrize(("groups", "alike"), [(15, 0.3), (40, 0.6), (100, 0.5)])
def test_ppv_and_npv_intervals_hold_the_truth_though_patients_have_many_images(groups: int, alike: float) -> None:
    """Patients of 1 to 8 images whose shares called rightly are beta-distributed; three times as many negative as
    positive; three pairs of sensitivity and specificity, 150 draws each."""
    random = np.random.default_rng(0)

    def rate(count: int, share: float) -> Figure:
        index = np.repeat(np.arange(count), random.integers(1, 9, count))
        scale = (1 - alike) / alike
        of_patient = random.beta(share * scale, (1 - share) * scale, count)
        return proportion(random.random(len(index)) < of_patient[index], index)

    held = np.zeros((3, 2))
    for row, (sensitivity, specificity) in enumerate([(0.85, 0.9), (0.6, 0.9), (0.85, 0.98)]):
        truth = [(0.1 * sensitivity, 0.9 * (1 - specificity)), (0.9 * specificity, 0.1 * (1 - sensitivity))]
        for _ in range(150):
            found = at_prevalence(rate(groups, sensitivity), rate(3 * groups, specificity), 0.1, "flu")
            for k, figure in enumerate(found):
                held[row, k] += figure.known and figure.low <= truth[k][0] / sum(truth[k]) <= figure.high
    assert (held / 150 >= 0.88).all()
    assert (held.mean(axis=0) / 150 >= 0.92).all()
    assert (held.mean(axis=0) / 150 <= 0.99).all()


def test_ratio_of_published_limits() -> None:
    """Newcombe's intervals of single proportions in, Koopman's score interval of their ratio near what comes out."""
    above, below = rates(0.4, 0.5, 100)
    low, high = ratio_interval(above, below)
    score = stats.contingency.relative_risk(40, 100, 50, 100).confidence_interval(0.95)
    assert (low, high) == pytest.approx((score.low, score.high), rel=0.05)
    assert ratio_interval(above, rates(0.0, 0.5, 100)[0])[1] == np.inf
