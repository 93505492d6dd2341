"""When the audit may say that there is a shortcut, that there is none, and when it must not say anything."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cxrflow.audit.audit import Summary, conclude, print_verdicts
from cxrflow.audit.registry import TESTS
from cxrflow.audit.verdicts import Limit, Result, any_found, apart, simultaneous
from cxrflow.audit.words import CLEAR, FOUND, MOOT, SIGNS, UNTOLD, YES, Verdict
from cxrflow.statistics.figure import Figure, missing
from cxrflow.statistics.intervals import clustered_mean
from cxrflow.task import Task

LIMIT = Limit(0.1)


def people(task: Task, **counted: tuple[int, ...]) -> pd.DataFrame:
    """Sources with so many patients of each class, two images of each."""
    kinds = [
        (source, label)
        for source, counts in counted.items()
        for label, n in zip(task.order, counts, strict=True)
        for _ in range(n)
    ]
    table = pd.DataFrame(kinds, columns=["source", "label"])
    return pd.concat([table.assign(group_id=table.index)] * 2)


@pytest.fixture
def alone(task: Task) -> pd.DataFrame:
    """Each class in a source of its own."""
    return people(task, a=(9, 0, 0), b=(0, 9, 0), c=(0, 0, 9))


@pytest.fixture
def first_alone(task: Task) -> pd.DataFrame:
    """The first class in a source of its own."""
    return people(task, a=(9, 0, 0), b=(0, 9, 9))


@pytest.fixture
def mixed(task: Task) -> pd.DataFrame:
    """Every pair of classes meets in some source."""
    return people(task, a=(5, 5, 0), b=(0, 9, 9), c=(9, 0, 9))


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        *((0.11, 0.9, FOUND), (0.1, 0.9, UNTOLD), (0.15, 0.2, FOUND)),
        *((-0.3, 0.09, CLEAR), (0.02, 0.09, CLEAR), (-0.3, 0.1, UNTOLD), (0.0, 0.29, UNTOLD)),
    ],
)
def test_a_verdict_asks_for_the_whole_interval_on_one_side_of_the_limit(low: float, high: float, verdict: str) -> None:
    figure = Figure((low + high) / 2, low, high)
    assert LIMIT.judge(figure) == verdict
    answered = {FOUND: UNTOLD, CLEAR: YES, UNTOLD: UNTOLD}[verdict]  # type: ignore[index]
    assert Limit(0.1, above=UNTOLD, below=YES).judge(figure) == answered


@pytest.mark.parametrize(("groups", "claims"), [(8, 1), (8, 13), (40, 5), (4000, 13)])
def test_intervals_of_several_claims_are_those_of_a_higher_level(groups: int, claims: int) -> None:
    values = np.random.default_rng(1).normal(0.02, 0.1, groups)
    figure = simultaneous(clustered_mean(values, np.arange(groups)), claims)
    level = 1 - 0.05 / claims
    expected = stats.t.interval(level, groups - 1, values.mean(), stats.sem(values))
    assert (figure.low, figure.high) == pytest.approx(expected)


def test_several_claims_hold_together_and_one_by_one_they_do_not() -> None:
    """Of 600 audits of 10 figures, all without an effect, 5 % have an interval that misses it; 40 % would."""
    rng, missed = np.random.default_rng(2), {1: 0, 10: 0}
    for _ in range(600):
        figures = [clustered_mean(values, np.arange(30)) for values in rng.normal(0, 0.1, (10, 30))]
        for claims in missed:
            wider = [simultaneous(figure, claims) for figure in figures]
            missed[claims] += any(not each.low <= 0 <= each.high for each in wider)
    assert missed[10] <= 45  # 30 expected, 3 standard errors
    assert missed[1] > 180


def test_wider_intervals_stay_in_range() -> None:
    assert simultaneous(Figure(0.9, 0.7, 0.99, 9, 9), 13, 0).high == 1
    assert simultaneous(Figure(0.1, 0.05, 0.3, 9, 9), 100, 0).low == 0
    assert simultaneous(missing("no images"), 13) == missing("no images")


def test_without_a_figure_nothing_is_told() -> None:
    assert LIMIT.judge(missing("no images")) == UNTOLD


def test_of_several_figures_one_finds_and_all_must_clear() -> None:
    assert any_found([CLEAR, FOUND, UNTOLD]) == FOUND
    assert any_found([CLEAR, CLEAR]) == CLEAR
    assert any_found([CLEAR, UNTOLD]) == any_found([]) == UNTOLD


def test_classes_are_apart_where_no_source_has_patients_of_both(
    task: Task, mixed: pd.DataFrame, alone: pd.DataFrame, first_alone: pd.DataFrame
) -> None:
    first, second, third = task.order
    assert apart(mixed, task) == []
    assert apart(first_alone, task) == [(first, second), (first, third)]
    odd = people(task, a=(9, 1, 4), b=(4, 9, 9))
    assert apart(odd, task) == [(first, second), (first, third)]  # a few odd patients are no meeting
    assert apart(people(task, a=(9, 0, 0), b=(0, 9, 0)), task) == list(task.pairs)


def test_two_and_four_classes_are_apart_likewise(two_classes: Task, four_classes: Task) -> None:
    assert apart(people(two_classes, a=(9, 9)), two_classes) == []
    assert apart(people(two_classes, a=(9, 0), b=(0, 9)), two_classes) == [two_classes.order]
    table = people(four_classes, a=(9, 9, 0, 0), b=(0, 0, 9, 9), c=(9, 0, 9, 0))
    one, two, three, four = four_classes.order
    assert apart(table, four_classes) == [(one, four), (two, three), (two, four)]


def every(verdict: Verdict) -> dict[str, Result]:
    return {name: Result(verdict, "Words.", {}, ()) for name in TESTS}


def those(summary: Summary, verdict: str) -> set[str]:
    return {name for name, result in summary.results.items() if result.verdict == verdict}


def test_where_all_classes_meet_verdicts_stay(task: Task, mixed: pd.DataFrame) -> None:
    found, calm = conclude(every(FOUND), mixed, task, None), conclude(every(CLEAR), mixed, task, None)
    assert (found.alarm, calm.alarm, calm.apart) == (True, False, [])
    assert found.verdicts == dict.fromkeys(SIGNS, 0) | {FOUND: len(TESTS)}
    assert calm.verdicts == dict.fromkeys(SIGNS, 0) | {CLEAR: len(TESTS)}


def test_where_no_classes_meet_the_source_cannot_be_told_from_the_class(task: Task, alone: pd.DataFrame) -> None:
    found, calm = conclude(every(FOUND), alone, task, None), conclude(every(CLEAR), alone, task, None)
    assert those(found, UNTOLD) == {"source_probe", "baseline", "gap"}
    assert "coincide" in found.results["gap"].words
    assert (found.alarm, calm.alarm) == (True, False)
    assert those(calm, CLEAR) == {"sanity"}
    assert calm.verdicts == dict.fromkeys(SIGNS, 0) | {CLEAR: 1, UNTOLD: len(TESTS) - 1}


def test_where_one_class_is_in_a_source_of_its_own_no_test_clears_the_network(
    task: Task, first_alone: pd.DataFrame
) -> None:
    calm = conclude(every(CLEAR), first_alone, task, None)
    assert those(calm, CLEAR) == {"sanity"}
    first, second, third = (task.names[name] for name in task.order)
    assert f"{first} and {second}; {first} and {third}" in calm.results["swaps"].words
    assert those(conclude(every(FOUND), first_alone, task, None), FOUND) == set(calm.results)


def test_of_two_classes_one_source_each_is_as_much_as_none(two_classes: Task) -> None:
    """With one pair of classes, no pair meets where one does not."""
    summary = conclude(every(FOUND), people(two_classes, a=(9, 0), b=(0, 9)), two_classes, None)
    assert those(summary, UNTOLD) == {"source_probe", "baseline", "gap"}
    assert "pneumothorax" in summary.results["gap"].words


def test_what_may_not_stand_alone_is_found_only_with_another(task: Task, mixed: pd.DataFrame) -> None:
    results = every(UNTOLD) | {name: Result(FOUND, "Words.", {}, (), alone=False) for name in ("source_probe", "gap")}
    assert those(conclude(results, mixed, task, None), FOUND) == set()
    results["swaps"] = Result(FOUND, "Words.", {}, ())
    assert those(conclude(results, mixed, task, None), FOUND) == {"source_probe", "gap", "swaps"}


def test_what_is_printed_is_every_verdict_with_its_question(
    task: Task, mixed: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    results = {name: Result(CLEAR, f"It is [{k}].", {}, ()) for k, name in enumerate(TESTS)}
    print_verdicts(conclude(results, mixed, task, None))
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"✓ no shortcut found  {test.question} It is [{k}]." for k, test in enumerate(TESTS.values())]


def test_what_has_learned_nothing_is_cleared_of_nothing(task: Task, mixed: pd.DataFrame) -> None:
    why = "its macro AUROC, 0.50 (0.40 to 0.60), is not above chance"
    calm = conclude(every(CLEAR), mixed, task, why)
    assert those(calm, UNTOLD) == set(TESTS)
    assert all(why in result.words for result in calm.results.values())
    assert calm.to_json()["not_learned"] == why
    assert those(conclude(every(FOUND), mixed, task, why), FOUND) == set(TESTS)


def test_what_does_not_apply_remains_so(task: Task, alone: pd.DataFrame) -> None:
    assert those(conclude(every(MOOT), alone, task, "it knows nothing"), MOOT) == set(TESTS)


def test_heat_maps_that_depend_on_the_weights_are_a_yes_unless_nothing_was_learned(
    task: Task, alone: pd.DataFrame
) -> None:
    results = every(UNTOLD) | {"sanity": Result(YES, "Words.", {}, ())}
    assert those(conclude(results, alone, task, None), YES) == {"sanity"}
    assert those(conclude(results, alone, task, "it knows nothing"), YES) == set()


def test_the_closing_sentence_is_that_of_the_final_verdict(task: Task, mixed: pd.DataFrame) -> None:
    result = Result(CLEAR, "Words.", {}, (), closing={CLEAR: "Cleared.", UNTOLD: "Unknown."})
    results = every(UNTOLD) | {"baseline": result}
    assert conclude(results, mixed, task, None).results["baseline"].words == "Words. Cleared."
    assert conclude(results, mixed, task, "it knows nothing").results["baseline"].words.endswith(" Words. Unknown.")
