"""Proportions and means: coverage where the truth is known, and the figures of scipy and statsmodels."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.regression.linear_model import OLS

from cxrflow.statistics.figure import missing
from cxrflow.statistics.intervals import clustered_mean, mean_over_groups, proportion
from cxrflow.statistics.resampling import too_few_groups


def coverage(groups, sizes, correlation, p, draws=150):
    """Share of simulated studies whose interval holds the true proportion; beta-binomial groups."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(draws):
        m = rng.integers(1, sizes + 1, groups)
        of_group = np.full(groups, p)
        if correlation:
            scale = (1 - correlation) / correlation
            of_group = rng.beta(p * scale, (1 - p) * scale, groups)
        members = np.repeat(np.arange(groups), m)
        figure = proportion(rng.random(len(members)) < of_group[members], members)
        held += figure.low <= p <= figure.high
    return held / draws


# Of 4 x 150 draws the standard error is 0.009, of 150 it is 0.018: 0.92 to 0.98 within about two and three of them.
@pytest.mark.parametrize(
    ("groups", "sizes", "correlation"),
    [(12, 1, 0.0), (30, 1, 0.0), (12, 8, 0.3), (20, 8, 0.7), (30, 8, 0.7), (100, 8, 0.3)],
)
def test_proportion_interval_holds_the_truth_as_often_as_it_says(groups, sizes, correlation):
    held = [coverage(groups, sizes, correlation, p) for p in (0.1, 0.5, 0.9, 0.97)]
    assert min(held) >= 0.87
    assert 0.91 <= np.mean(held) <= 0.99


# The shares of groups are drawn from a beta distribution: from similar to nearly all or none.
@pytest.mark.parametrize(("groups", "most"), [(12, 8), (40, 8), (40, 30), (150, 30)])
def test_mean_over_groups_interval_holds_the_truth_as_often_as_it_says(groups, most):
    held = []
    for a, b in ((9, 1), (0.9, 0.1), (3, 2)):
        rng, inside = np.random.default_rng(0), 0
        for _ in range(150):
            members = np.repeat(np.arange(groups), rng.integers(1, most + 1, groups))
            figure = mean_over_groups(rng.random(len(members)) < rng.beta(a, b, groups)[members], members)
            inside += figure.low <= a / (a + b) <= figure.high
        held.append(inside / 150)
    assert min(held) >= 0.88
    assert 0.92 <= np.mean(held) <= 0.99


def test_single_images_give_wilsons_interval():
    hits = np.arange(40) < 31
    expected = stats.binomtest(31, 40).proportion_ci(method="wilson")
    figure = proportion(hits, np.arange(40))
    assert (figure.low, figure.high) == pytest.approx((expected.low, expected.high))
    assert (figure.value, figure.n, figure.groups) == (31 / 40, 40, 40)
    assert figure.counts is None


def test_repeats_of_an_image_add_nothing():
    hits = np.arange(30) < 24
    once = proportion(hits, np.arange(30))
    five = proportion(np.repeat(hits, 5), np.repeat(np.arange(30), 5))
    assert five.n == 150
    assert five.value == once.value
    assert five.high - five.low >= once.high - once.low - 1e-9


def test_all_right_is_not_certain():
    figure = proportion(np.ones(12, bool), np.arange(12))
    expected = stats.binomtest(12, 12).proportion_ci(method="wilson")
    assert figure.low == pytest.approx(expected.low)
    assert figure.high == 1
    assert figure.counts == "12 of 12"


def test_one_group_counts_as_one_image():
    expected = stats.binomtest(1, 1).proportion_ci(method="wilson")
    assert proportion(np.ones(50, bool), np.zeros(50)).low == pytest.approx(expected.low)


@pytest.mark.parametrize("figure", [proportion, mean_over_groups, clustered_mean])
def test_no_images_have_no_figure(figure):
    empty = np.array([], bool)
    assert figure(empty, empty, "no image of that kind") == missing("no image of that kind")


def test_the_interval_of_a_mean_holds_the_truth_though_groups_are_alike():
    rng = np.random.default_rng(0)
    held = []
    for _ in range(400):
        index = np.repeat(np.arange(25), rng.integers(1, 5, 25))
        figure = clustered_mean(rng.normal(size=25)[index] + rng.normal(size=len(index)), index)
        held.append(figure.low <= 0 <= figure.high)
    assert 0.92 <= np.mean(held) <= 0.98


@pytest.mark.parametrize(("groups", "of_each"), [(4, 5), (9, 3), (40, 2)])
def test_the_interval_of_a_mean_is_the_cluster_robust_one_of_statsmodels(groups, of_each):
    """With groups of one size the effective number of groups is the number, and statsmodels can say the same."""
    index = np.repeat(np.arange(groups), of_each)
    values = np.random.default_rng(groups).normal(3, 1, groups)[index] + np.random.default_rng(1).normal(
        size=len(index)
    )
    model = OLS(values, np.ones(len(values)))
    expected = model.fit(cov_type="cluster", cov_kwds={"groups": index}, use_t=True)
    figure = clustered_mean(values, index)
    assert figure.value == pytest.approx(expected.params[0])
    assert (figure.low, figure.high) == pytest.approx(tuple(expected.conf_int()[0]))
    assert (figure.n, figure.groups) == (len(values), groups)


def test_a_mean_of_few_groups_is_not_given_and_a_large_group_widens_it():
    for groups in (1, 3):
        assert clustered_mean(np.arange(6.0), np.arange(6) % groups) == missing(too_few_groups(groups))
    one_large = np.minimum(np.arange(40), 3)  # groups of 1, 1, 1 and 37: an effective number below 2
    figure = clustered_mean(np.arange(40.0), one_large)
    assert figure.high - figure.low > 40
    assert too_few_groups(1) == "only 1 group of patients; at least 4 are needed"
    assert too_few_groups(3, 5, "COVID-19") == "only 3 groups of COVID-19; at least 5 are needed"
