"""When the audit may say that there is a shortcut, that there is none, and when it must not say anything."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cxrflow.audit.audit import conclude
from cxrflow.audit.verdicts import FOUND, NOT_FOUND, UNTOLD, Limits, average, coincide, mean, percent, result, spoken
from cxrflow.evaluation.intervals import missing

LIMITS = Limits(found=0.1, clear=0.3)
APART = pd.DataFrame({"source": ["a", "a", "b"], "label": ["covid", "covid", "normal"]})
MIXED = pd.DataFrame({"source": ["a", "a", "b"], "label": ["covid", "normal", "normal"]})


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.11, 0.9, FOUND), (0.1, 0.9, UNTOLD), (0.0, 0.29, NOT_FOUND), (0.0, 0.3, UNTOLD), (0.15, 0.2, FOUND)],
)
def test_a_verdict_asks_for_the_whole_interval(low: float, high: float, verdict: str) -> None:
    assert LIMITS.judge({"value": (low + high) / 2, "low": low, "high": high}) == verdict


def test_without_a_figure_nothing_is_told() -> None:
    assert LIMITS.judge(missing("no images")) == UNTOLD
    assert "no images" in spoken(missing("no images"))
    assert "no images" in percent(missing("no images"))


def test_class_and_source_coincide_where_no_source_has_two_classes() -> None:
    assert coincide(APART)
    assert not coincide(MIXED)


def test_where_they_coincide_the_source_cannot_be_told_from_the_class() -> None:
    def tests(verdict: str) -> dict:
        names = ("source_probe", "baseline", "retraining", "gap", "where", "swaps", "sanity")
        return {name: result("?", verdict, "Words.") for name in names}

    free = conclude(tests(FOUND), MIXED)
    assert free["alarm"] is True
    assert {test["verdict"] for test in free["tests"].values()} == {FOUND}
    tied = conclude(tests(FOUND), APART)["tests"]
    assert {name for name, test in tied.items() if test["verdict"] == UNTOLD} == {"source_probe", "baseline", "gap"}
    assert "coincide" in tied["gap"]["words"]
    calm = conclude(tests(NOT_FOUND), APART)
    assert calm["alarm"] is False
    assert {name for name, test in calm["tests"].items() if test["verdict"] == NOT_FOUND} == {"sanity"}
    assert conclude(tests(NOT_FOUND), MIXED)["tests"]["where"]["verdict"] == NOT_FOUND


@given(st.lists(st.floats(-1, 1), min_size=4, max_size=30))
def test_one_picture_a_group_gives_students_interval(values: list[float]) -> None:
    figure = mean(np.array(values), np.arange(len(values)))
    assert figure["value"] == pytest.approx(np.mean(values))
    error = stats.sem(values)
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), error) if error else (np.mean(values),) * 2
    assert (figure["low"], figure["high"]) == (pytest.approx(low, abs=1e-9), pytest.approx(high, abs=1e-9))


def test_copies_of_a_picture_in_its_group_add_nothing() -> None:
    values = np.array([0.1, 0.4, -0.2, 0.3, 0.0])
    once, thrice = mean(values, np.arange(5)), mean(np.repeat(values, 3), np.repeat(np.arange(5), 3))
    assert [thrice[key] for key in ("value", "low", "high")] == pytest.approx(
        [once[key] for key in ("value", "low", "high")]
    )
    assert (thrice["n"], thrice["groups"]) == (15, 5)


def test_few_groups_give_no_interval() -> None:
    assert mean(np.ones(9), np.repeat([0, 1, 2], 3))["value"] is None
    assert mean(np.empty(0), np.empty(0), "nothing there")["reason"] == "nothing there"


def test_intervals_hold_for_clustered_pictures() -> None:
    """95 % intervals of a mean of 0, 400 draws of 25 groups of 1 to 4 alike pictures: coverage within 0.92 and 0.98."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        groups = np.repeat(np.arange(25), rng.integers(1, 5, 25))
        values = rng.normal(0, 1, 25)[groups] + rng.normal(0, 0.5, len(groups))
        figure = mean(values, groups)
        held += figure["low"] <= 0 <= figure["high"]
    assert 0.92 <= held / 400 <= 0.98


def test_an_average_leaves_out_what_is_unknown() -> None:
    known = {"value": 0.6, "low": 0.5, "high": 0.8, "n": 10, "groups": 5}
    other = {"value": 0.8, "low": 0.6, "high": 0.9, "n": 20, "groups": 7}
    together = average([known, missing("too few"), other])
    assert together == {"value": pytest.approx(0.7), "low": 0.55, "high": pytest.approx(0.85), "n": 30, "groups": 12}
    assert average([missing("too few")]) == missing("too few")
