"""When the audit may say that there is a shortcut, that there is none, and when it must not say anything."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cxrflow.audit.audit import conclude
from cxrflow.audit.verdicts import FOUND, NOT_FOUND, UNTOLD, Limits, apart, average, mean, percent, result, spoken
from cxrflow.records import CLASSES
from cxrflow.statistics.intervals import missing

LIMITS = Limits(found=0.1, clear=0.3, none=0.0)


def people(**counted: tuple[int, int, int]) -> pd.DataFrame:
    """Sources with so many patients of COVID-19, normal and pneumonia, two images of each."""
    kinds = [
        (source, label)
        for source, counts in counted.items()
        for label, n in zip(CLASSES, counts, strict=True)
        for _ in range(n)
    ]
    table = pd.DataFrame(kinds, columns=["source", "label"])
    return pd.concat([table.assign(group_id=table.index)] * 2)


APART = people(a=(9, 0, 0), b=(0, 9, 0), c=(0, 0, 9))
COVID_APART = people(a=(9, 0, 0), b=(0, 9, 9))
MIXED = people(a=(5, 5, 0), b=(0, 9, 9), c=(9, 0, 9))


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        *((0.11, 0.9, FOUND), (0.1, 0.9, UNTOLD), (0.0, 0.29, NOT_FOUND), (0.0, 0.3, UNTOLD), (0.15, 0.2, FOUND)),
        (0.029, 0.149, UNTOLD),  # small, but there
        (0.02, 0.09, NOT_FOUND),  # there, but all of it below what would be a shortcut
    ],
)
def test_a_verdict_asks_for_the_whole_interval(low: float, high: float, verdict: str) -> None:
    assert LIMITS.judge({"value": (low + high) / 2, "low": low, "high": high}) == verdict


def test_where_the_second_limit_lies_below_the_first_it_decides() -> None:
    limits = Limits(found=0.1, clear=0.0, none=0.0)
    told = [limits.judge({"value": high - 0.02, "low": high - 0.04, "high": high}) for high in (-0.01, 0.09, 0.2)]
    assert told == [NOT_FOUND, UNTOLD, FOUND]


def test_without_a_figure_nothing_is_told() -> None:
    assert LIMITS.judge(missing("no images")) == UNTOLD
    assert "no images" in spoken(missing("no images"))
    assert "no images" in percent(missing("no images"))


COVID_PAIRS = [("covid", "normal"), ("covid", "pneumonia")]


@pytest.mark.parametrize(
    ("table", "pairs"),
    [
        (MIXED, []),
        (COVID_APART, COVID_PAIRS),
        (people(a=(9, 1, 4), b=(4, 9, 9)), COVID_PAIRS),  # a few odd patients are no meeting
        (people(a=(9, 0, 0), b=(0, 9, 0)), [*COVID_PAIRS, ("normal", "pneumonia")]),
    ],
)
def test_classes_are_apart_where_no_source_has_patients_of_both(table: pd.DataFrame, pairs: list) -> None:
    assert apart(table) == pairs


def all_seven(verdict: str) -> dict:
    names = ("source_probe", "baseline", "retraining", "gap", "where", "swaps", "sanity")
    return {name: result("?", verdict, "Words.") for name in names}


def those(summary: dict, verdict: str) -> set[str]:
    return {name for name, test in summary["tests"].items() if test["verdict"] == verdict}


def test_where_all_classes_meet_verdicts_stay() -> None:
    found, calm = conclude(all_seven(FOUND), MIXED), conclude(all_seven(NOT_FOUND), MIXED)
    assert (found["alarm"], calm["alarm"], calm["apart"]) == (True, False, [])
    assert found["verdicts"] == {FOUND: 7, NOT_FOUND: 0, UNTOLD: 0}
    assert calm["verdicts"] == {FOUND: 0, NOT_FOUND: 7, UNTOLD: 0}


def test_where_no_classes_meet_the_source_cannot_be_told_from_the_class() -> None:
    found, calm = conclude(all_seven(FOUND), APART), conclude(all_seven(NOT_FOUND), APART)
    assert those(found, UNTOLD) == {"source_probe", "baseline", "gap"}
    assert "coincide" in found["tests"]["gap"]["words"]
    assert (found["alarm"], calm["alarm"]) == (True, False)
    assert those(calm, NOT_FOUND) == {"sanity"}
    assert calm["verdicts"] == {FOUND: 0, NOT_FOUND: 1, UNTOLD: 6}


def test_where_covid_is_in_a_source_of_its_own_no_test_clears_the_network() -> None:
    calm = conclude(all_seven(NOT_FOUND), COVID_APART)
    assert those(calm, NOT_FOUND) == {"sanity"}
    assert "COVID-19 and normal; COVID-19 and pneumonia" in calm["tests"]["swaps"]["words"]
    assert calm["apart"] == [list(pair) for pair in COVID_PAIRS]
    assert those(conclude(all_seven(FOUND), COVID_APART), FOUND) == set(calm["tests"])


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
