"""AUROCs: coverage where the truth is known, and the figures of scikit-learn, DeLong and Newcombe."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from cxrflow.statistics.figure import missing
from cxrflow.statistics.intervals import Question, aurocs, newcombe, weighted_auroc
from cxrflow.statistics.resampling import Bootstrap, too_few_groups


@pytest.mark.parametrize("area", [0.7, 0.9])
@pytest.mark.parametrize(("yes", "no", "most", "correlation"), [(12, 40, 1, 0.0), (15, 40, 8, 0.5), (40, 60, 4, 0.5)])
def test_auroc_interval_holds_the_truth_as_often_as_it_says(yes, no, most, correlation, area):
    """Two normal distributions of scores as far apart as the AUROC asks; the images of a group share a part. The width
    of the intervals against the spread of the values shows a wrong one in fewer draws than coverage alone."""
    rng, figures = np.random.default_rng(0), []
    for draw in range(80):
        index = np.repeat(np.arange(yes + no), rng.integers(1, most + 1, yes + no))
        own = np.sqrt(correlation) * rng.normal(size=yes + no)[index]
        scores = own + np.sqrt(1 - correlation) * rng.normal(size=len(index))
        scores += (index < yes) * np.sqrt(2) * stats.norm.ppf(area)
        figures.append(aurocs({"": Question(scores, index < yes, "")}, index, Bootstrap(100, draw))[1])
    assert np.mean([figure.low <= area <= figure.high for figure in figures]) >= 0.9
    widths, spread = [figure.high - figure.low for figure in figures], np.std([figure.value for figure in figures])
    assert 0.9 < np.mean(widths) / (2 * 1.96 * spread) < 1.4


@st.composite
def scored(draw):
    n = draw(st.integers(2, 40))
    scores = draw(st.lists(st.integers(0, 6), min_size=n, max_size=n))  # few values: many ties
    weights = draw(st.lists(st.integers(0, 4), min_size=n, max_size=n))
    positive = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    positive[:2], weights[:2] = [True, False], [1, 2]
    return np.array(scores, float), np.array(positive), np.array(weights)


@given(scored())
@settings(max_examples=60)
def test_weighted_auroc_is_that_of_scikit_learn(case):
    scores, positive, weights = case
    both = weighted_auroc(scores, positive, np.stack([weights, np.ones_like(weights)]))
    assert both[0] == pytest.approx(roc_auc_score(positive, scores, sample_weight=weights))
    assert both[1] == pytest.approx(roc_auc_score(positive, scores))


def study(groups=60, per_group=3, shift=1.2, seed=0):
    rng = np.random.default_rng(seed)
    members = np.repeat(np.arange(groups), per_group)
    positive = members % 3 == 0
    return rng.normal(size=groups)[members] + shift * positive, positive, members


def test_mean_shares_its_resamples_with_the_questions():
    scores, positive, members = study()
    one, mean_of_one = aurocs({"a": Question(scores, positive, "a")}, members, Bootstrap(300, 1))
    # The opposite question is always wrong by as much as the first is right: their mean never moves from 0.5.
    both = {"a": Question(scores, positive, "a"), "b": Question(-scores, positive, "b")}
    _, mean = aurocs(both, members, Bootstrap(300, 1))
    assert mean_of_one == one["a"]
    assert mean.value == pytest.approx(0.5)
    assert mean.high - mean.low < 1e-9
    assert one["a"].high - one["a"].low > 0.05


def test_auroc_interval_counts_groups_and_depends_on_the_seed_alone():
    scores, positive, members = study()
    question = {"a": Question(scores, positive, "a")}
    by_group = aurocs(question, members, Bootstrap(300, 1))[1]
    by_image = aurocs(question, np.arange(len(members)), Bootstrap(300, 1))[1]
    assert by_group.high - by_group.low > 1.3 * (by_image.high - by_image.low)
    assert aurocs(question, members, Bootstrap(300, 1))[1] == by_group
    assert aurocs(question, members, Bootstrap(300, 2))[1] != by_group


def test_auroc_interval_matches_delongs_variance_for_single_images():
    scores, positive, _ = study(groups=400, per_group=1)
    ranks_above = (scores[positive][:, None] > scores[~positive]).astype(float)
    error = np.sqrt(
        ranks_above.mean(axis=1).var(ddof=1) / positive.sum() + ranks_above.mean(axis=0).var(ddof=1) / (~positive).sum()
    )
    figure = aurocs({"a": Question(scores, positive, "a")}, np.arange(400), Bootstrap(1000, 0))[1]
    assert figure.high - figure.low == pytest.approx(2 * 1.96 * error, rel=0.1)


@pytest.mark.parametrize(("groups", "at_most"), [(6, 0.75), (60, 0.99)])
def test_perfect_auroc_is_not_certain(groups, at_most):
    members = np.arange(groups)
    positive = members % 2 == 0
    figures, mean = aurocs({"a": Question(positive * 1.0, positive, "a")}, members, Bootstrap(200, 0))
    assert figures["a"].value == mean.high == 1
    assert 0.2 < mean.low < at_most


def test_a_perfect_class_keeps_the_mean_uncertain():
    scores, positive, members = study()
    questions = {"a": Question(positive * 1.0, positive, "a"), "b": Question(scores, positive, "b")}
    figures, mean = aurocs(questions, members, Bootstrap(200, 0))
    assert mean.low == pytest.approx((figures["a"].low + figures["b"].low) / 2)
    assert figures["a"].low < 1


@pytest.mark.parametrize("value", [0.5, 0.8, 1.0])
def test_newcombes_limits_solve_his_equation(value):
    low, high = newcombe(value, 30, 50)
    assert low < value <= high
    for theta in {low, high} - {0.0, 1.0}:
        spread = 1 + 39 * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        error = np.sqrt(theta * (1 - theta) / (30 * 50) * spread)
        assert abs(value - theta) / error == pytest.approx(1.96, abs=1e-3)
    assert newcombe(1 - value, 30, 50) == pytest.approx((1 - high, 1 - low))


def test_counts_where_groups_are_few_and_reasons_where_nothing_can_be_said():
    scores, positive, members = study(groups=30, per_group=1)

    def of(positive, groups=members):
        return aurocs({"a": Question(scores, positive, "flu")}, groups, Bootstrap(100, 0))[1]

    assert of(positive).counts == "10 flu, 20 others"
    assert of(positive & False) == missing("no flu image in the set")
    assert of(positive | True) == missing("every image in the set is flu")
    assert of(positive, members * 0) == missing(too_few_groups(1, 2))
    once = of(members == 0)
    assert once.high - once.low > 0.5


def test_a_question_without_an_answer_leaves_the_others_their_figures():
    scores, positive, members = study()
    absent, asked = Question(scores, positive & False, "none"), Question(scores, positive, "a")
    figures, mean = aurocs({"none": absent, "a": asked}, members, Bootstrap(100, 0))
    assert list(figures) == ["none", "a"]
    assert figures["a"] == aurocs({"a": asked}, members, Bootstrap(100, 0))[0]["a"]
    assert mean == figures["none"] == missing("no none image in the set")
