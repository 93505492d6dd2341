"""Intervals of means whose values depend on each other in more than one way."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from cxrflow.statistics.intervals import clustered_mean, multiway_mean


def test_a_mean_of_crossed_groups_has_the_error_that_statsmodels_gives_it() -> None:
    rng = np.random.default_rng(4)
    rows, columns = (part.ravel() for part in np.indices((12, 9)))
    values = rng.normal(0, 1, 12)[rows] + rng.normal(0, 2, 9)[columns] + rng.normal(0, 1, 108)
    found = multiway_mean(values, rows, columns)
    fit = sm.OLS(values, np.ones(108)).fit(cov_type="cluster", cov_kwds={"groups": np.c_[rows, columns]})
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.value == pytest.approx(stats.t.ppf(0.975, 8) * fit.bse[0])
    assert (found.n, found.groups) == (108, 12)
    assert multiway_mean(values, rows) == clustered_mean(values, rows)
    assert not multiway_mean(values, rows, np.zeros(108)).known


def test_an_interval_that_knows_of_donors_holds_the_truth_and_one_that_does_not_is_too_narrow() -> None:
    rng, held = np.random.default_rng(5), {"both": 0, "pictures": 0}
    for _ in range(300):
        picture, donor = np.arange(200) // 2, rng.permutation(np.arange(200) % 10)
        values = rng.normal(0, 0.1, 100)[picture] + rng.normal(0, 0.1, 10)[donor] + rng.normal(0, 0.1, 200)
        for name, figure in (
            ("both", multiway_mean(values, picture, donor)),
            ("pictures", clustered_mean(values, picture)),
        ):
            held[name] += figure.low < 0 < figure.high
    assert held["both"] > 0.92 * 300
    assert held["pictures"] < 0.75 * 300
