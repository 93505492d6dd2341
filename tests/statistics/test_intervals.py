import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from cxrflow.statistics.intervals import Question, aurocs, mean_over_groups, newcombe, proportion, weighted_auroc


def coverage(groups, sizes, correlation, p, draws=500, seed=0):
    """Share of simulated studies whose interval holds the true proportion; beta-binomial groups."""
    rng = np.random.default_rng(seed)
    held = 0
    for _ in range(draws):
        m = rng.integers(1, sizes + 1, groups)
        of_group = np.full(groups, p)
        if correlation:
            scale = (1 - correlation) / correlation
            of_group = rng.beta(p * scale, (1 - p) * scale, groups)
        members = np.repeat(np.arange(groups), m)
        figure = proportion(rng.random(len(members)) < of_group[members], members)
        held += figure["low"] <= p <= figure["high"]
    return held / draws


# With 500 draws the standard error is 0.01: 0.92 to 0.98 within about two of them.
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9, 0.97])
@pytest.mark.parametrize(
    ("groups", "sizes", "correlation"),
    [(12, 1, 0.0), (30, 1, 0.0), (12, 8, 0.3), (20, 8, 0.7), (30, 8, 0.7), (100, 8, 0.3)],
)
def test_proportion_interval_holds_the_truth_as_often_as_it_says(groups, sizes, correlation, p):
    assert 0.90 <= coverage(groups, sizes, correlation, p) <= 0.995


# The shares of groups are drawn from a beta distribution: from alike to nearly all or none.
@pytest.mark.parametrize(("a", "b"), [(9, 1), (0.9, 0.1), (3, 2)])
@pytest.mark.parametrize(("groups", "most"), [(12, 8), (40, 8), (40, 30), (150, 30)])
def test_mean_over_groups_interval_holds_the_truth_as_often_as_it_says(groups, most, a, b):
    rng, held = np.random.default_rng(0), 0
    for _ in range(500):
        members = np.repeat(np.arange(groups), rng.integers(1, most + 1, groups))
        figure = mean_over_groups(rng.random(len(members)) < rng.beta(a, b, groups)[members], members)
        held += figure["low"] <= a / (a + b) <= figure["high"]
    assert 0.91 <= held / 500 <= 0.99


@pytest.mark.parametrize("area", [0.7, 0.9])
@pytest.mark.parametrize(("yes", "no", "most", "correlation"), [(12, 40, 1, 0.0), (15, 40, 8, 0.5), (40, 60, 4, 0.5)])
def test_auroc_interval_holds_the_truth_as_often_as_it_says(yes, no, most, correlation, area):
    """Two normal distributions of scores as far apart as the AUROC asks; the images of a group share a part."""
    rng = np.random.default_rng(0)
    held = 0
    for draw in range(200):
        index = np.repeat(np.arange(yes + no), rng.integers(1, most + 1, yes + no))
        own = np.sqrt(correlation) * rng.normal(size=yes + no)[index]
        scores = own + np.sqrt(1 - correlation) * rng.normal(size=len(index))
        scores += (index < yes) * np.sqrt(2) * stats.norm.ppf(area)
        figure = aurocs({"": Question(scores, index < yes, "")}, index, 100, draw)[1]
        held += figure["low"] <= area <= figure["high"]
    assert 0.90 <= held / 200 <= 1.0


def test_single_images_give_wilsons_interval():
    hits = np.arange(40) < 31
    wilson = stats.binomtest(31, 40).proportion_ci(method="wilson")
    figure = proportion(hits, np.arange(40))
    assert (figure["low"], figure["high"]) == pytest.approx((wilson.low, wilson.high))
    assert (figure["value"], figure["n"], figure["groups"]) == (31 / 40, 40, 40)
    assert "counts" not in figure


def test_repeats_of_an_image_add_nothing():
    hits = np.arange(30) < 24
    once = proportion(hits, np.arange(30))
    five = proportion(np.repeat(hits, 5), np.repeat(np.arange(30), 5))
    assert five["n"] == 150
    assert five["value"] == once["value"]
    assert five["high"] - five["low"] >= once["high"] - once["low"] - 1e-9


def test_all_right_is_not_certain():
    figure = proportion(np.ones(12, bool), np.arange(12))
    wilson = stats.binomtest(12, 12).proportion_ci(method="wilson")
    assert figure["low"] == pytest.approx(wilson.low)
    assert figure["high"] == 1
    assert figure["counts"] == "12 of 12"


def test_one_group_counts_as_one_image():
    wilson = stats.binomtest(1, 1).proportion_ci(method="wilson")
    assert proportion(np.ones(50, bool), np.zeros(50))["low"] == pytest.approx(wilson.low)


def test_no_images_have_no_proportion():
    empty = np.array([], bool)
    assert proportion(empty, empty, "no covid image") == {"value": None, "reason": "no covid image"}


@st.composite
def scored(draw):
    n = draw(st.integers(2, 40))
    scores = draw(st.lists(st.integers(0, 6), min_size=n, max_size=n))  # few values: many ties
    weights = draw(st.lists(st.integers(0, 4), min_size=n, max_size=n))
    positive = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    positive[:2], weights[:2] = [True, False], [1, 2]
    return np.array(scores, float), np.array(positive), np.array(weights)


@given(scored())
@settings(max_examples=150, deadline=None)
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
    one, mean_of_one = aurocs({"a": Question(scores, positive, "a")}, members, 300, 1)
    # The opposite question is always wrong by as much as the first is right: their mean never moves from 0.5.
    both = {"a": Question(scores, positive, "a"), "b": Question(-scores, positive, "b")}
    _, mean = aurocs(both, members, 300, 1)
    assert mean_of_one == one["a"]
    assert mean["value"] == pytest.approx(0.5)
    assert mean["high"] - mean["low"] < 1e-9
    assert one["a"]["high"] - one["a"]["low"] > 0.05


def test_auroc_interval_counts_groups_and_depends_on_the_seed_alone():
    scores, positive, members = study()
    question = {"a": Question(scores, positive, "a")}
    by_group = aurocs(question, members, 300, 1)[1]
    by_image = aurocs(question, np.arange(len(members)), 300, 1)[1]
    assert by_group["high"] - by_group["low"] > 1.3 * (by_image["high"] - by_image["low"])
    assert aurocs(question, members, 300, 1)[1] == by_group
    assert aurocs(question, members, 300, 2)[1] != by_group


def test_auroc_interval_matches_delongs_variance_for_single_images():
    scores, positive, _ = study(groups=400, per_group=1)
    ranks_above = (scores[positive][:, None] > scores[~positive]).astype(float)
    error = np.sqrt(
        ranks_above.mean(axis=1).var(ddof=1) / positive.sum() + ranks_above.mean(axis=0).var(ddof=1) / (~positive).sum()
    )
    figure = aurocs({"a": Question(scores, positive, "a")}, np.arange(400), 1000, 0)[1]
    assert figure["high"] - figure["low"] == pytest.approx(2 * 1.96 * error, rel=0.1)


@pytest.mark.parametrize(("groups", "at_most"), [(6, 0.75), (60, 0.99)])
def test_perfect_auroc_is_not_certain(groups, at_most):
    members = np.arange(groups)
    positive = members % 2 == 0
    figures, mean = aurocs({"a": Question(positive * 1.0, positive, "a")}, members, 200, 0)
    assert figures["a"]["value"] == mean["high"] == 1
    assert 0.2 < mean["low"] < at_most


def test_a_perfect_class_keeps_the_mean_uncertain():
    scores, positive, members = study()
    questions = {"a": Question(positive * 1.0, positive, "a"), "b": Question(scores, positive, "b")}
    figures, mean = aurocs(questions, members, 200, 0)
    assert mean["low"] == pytest.approx((figures["a"]["low"] + figures["b"]["low"]) / 2)
    assert figures["a"]["low"] < 1


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
    assert aurocs({"a": Question(scores, positive, "covid")}, members, 100, 0)[1]["counts"] == "10 covid, 20 others"
    absent = aurocs({"a": Question(scores, positive & False, "covid")}, members, 100, 0)[1]
    assert absent == {"value": None, "reason": "no covid image in the set"}
    alone = aurocs({"a": Question(scores, positive, "covid")}, members * 0, 100, 0)[1]
    assert alone == {"value": None, "reason": "all images are in one group"}
    present_once = members == 0
    figure = aurocs({"a": Question(scores, present_once, "covid")}, members, 100, 0)[1]
    assert figure["high"] - figure["low"] > 0.5
