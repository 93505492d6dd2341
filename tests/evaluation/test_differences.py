"""Differences of two sets of scores: intervals that hold, for two classes and more, and reasons where there is none."""

import numpy as np
import pandas as pd
import pytest

from cxrflow.bundle import OperatingPoint
from cxrflow.evaluation.differences import differences
from cxrflow.statistics.resampling import Bootstrap
from cxrflow.statistics.scored import Scored
from cxrflow.task import Task

Pair = tuple[Scored, Scored]


@pytest.fixture(scope="module", params=["task", "two_classes", "four_classes"])
def any_task(request: pytest.FixtureRequest) -> Task:
    return request.getfixturevalue(request.param)


def study(task: Task, rng: np.random.Generator, gap: float, bootstrap: int = 100, seed: int = 0) -> Pair:
    """Two networks that see much the same; the second tells the classes apart by ``gap`` more."""
    classes, groups = len(task.order), 90
    index = np.repeat(np.arange(groups), rng.integers(1, 4, groups))
    truth = index % classes
    alike = rng.normal(size=(groups, classes))[index] + 0.3 * rng.normal(size=(len(index), classes))
    table = pd.DataFrame(
        {"label": np.array(task.order)[truth], "source": "x", "group_id": [f"g{group}" for group in index]}
    )
    scored = []
    for far in (1.2, 1.2 + gap):
        raised = np.exp(alike + 0.4 * rng.normal(size=alike.shape) + far * np.eye(classes)[truth])
        scored.append(Scored(task, table, raised / raised.sum(axis=1, keepdims=True), Bootstrap(bootstrap, seed)))
    return scored[0], scored[1]


def points(*thresholds: float | None, wanted: tuple[float, float] = (0.98, 0.98)) -> tuple:
    """Operating points with these thresholds; what they reached on val plays no part."""
    return tuple(
        at and OperatingPoint(wanted=w, threshold=at, sensitivity=0.5, specificity=0.5)
        for at, w in zip(thresholds, wanted, strict=True)
    )


def holds_nothing(figure) -> bool:
    """Whether the interval holds a difference of 0."""
    return figure.low <= 0 <= figure.high


def test_a_difference_is_that_of_the_two_figures_and_changes_sign_with_their_order(any_task: Task) -> None:
    first, second = study(any_task, np.random.default_rng(0), 1.0, 200)
    there = differences(first, second, points(0.6, 0.5))
    back = differences(second, first, points(0.5, 0.6))
    assert list(there) == ["macro_auroc", "positive_auroc", "sensitivity", "specificity"]
    for name, figures in there.items():
        gap = figures["difference"]
        assert gap.value == pytest.approx(figures["b"].value - figures["a"].value)
        assert gap.low < gap.value < gap.high
        turned = back[name]["difference"]
        assert (turned.low, turned.high) == pytest.approx((-gap.high, -gap.low))
    positive, column = first.labels == any_task.positive, any_task.order.index(any_task.positive)
    assert there["sensitivity"]["a"].value == np.mean(first.probabilities[positive, column] >= 0.6)
    assert there["specificity"]["b"].value == np.mean(second.probabilities[~positive, column] < 0.5)


def test_pairs_say_more_than_two_sets_of_images(any_task: Task) -> None:
    figures = differences(*study(any_task, np.random.default_rng(0), 0.3, 300), points(None, None))["macro_auroc"]
    width = {name: figure.high - figure.low for name, figure in figures.items()}
    assert width["difference"] < 0.8 * np.hypot(width["a"], width["b"])


def test_pairs_say_more_of_the_positive_class_where_another_is_absent_too(task: Task) -> None:
    """Without one class there is no macro AUROC; that of the positive class against the rest still is, of the same
    images."""
    rng, held = np.random.default_rng(5), []
    absent = next(name for name in task.order if name != task.positive)
    for seed in range(100):
        first, second = study(task, rng, 0.0, seed=seed)
        there = first.labels != absent
        figures = differences(first.where(there), second.where(there), points(None, None))
        assert figures["macro_auroc"]["difference"].reason == f"no {task.names[absent]} image in the set"
        width = {name: figure.high - figure.low for name, figure in figures["positive_auroc"].items()}
        assert width["difference"] < 0.9 * np.hypot(width["a"], width["b"])
        held.append(holds_nothing(figures["positive_auroc"]["difference"]))
    assert 0.9 <= np.mean(held) <= 0.99


def test_intervals_hold_no_difference_where_there_is_none(task: Task, two_classes: Task, four_classes: Task) -> None:
    rng = np.random.default_rng(3)
    held: dict[str, list[bool]] = {}
    for seed in range(120):
        asked = (task, two_classes, four_classes)[seed % 3]
        for name, figures in differences(*study(asked, rng, 0.0, seed=seed), points(0.5, 0.5)).items():
            held.setdefault(name, []).append(holds_nothing(figures["difference"]))
    for name, hits in held.items():
        assert 0.9 <= np.mean(hits) <= 1, name
    assert 0.92 <= np.mean(list(held.values())) <= 0.985


def test_the_same_answers_differ_by_nothing_that_is_known(any_task: Task) -> None:
    first, _ = study(any_task, np.random.default_rng(0), 0)
    for figures in differences(first, first, points(0.5, 0.5)).values():
        gap = figures["difference"]
        assert gap.value == 0
        assert gap.low < 0 < gap.high


def test_what_is_absent_is_said(task: Task) -> None:
    first, second = study(task, np.random.default_rng(0), 0)
    figures = differences(first, second, points(0.5, None))
    assert figures["sensitivity"]["difference"].reason == "a bundle has no operating point"
    figures = differences(first, second, points(0.5, 0.5, wanted=(0.98, 0.9)))
    assert "different specificities, 0.98 and 0.9" in figures["specificity"]["difference"].reason
    without = ~first.positive
    figures = differences(first.where(without), second.where(without), points(0.5, 0.5))
    assert figures["macro_auroc"]["difference"].reason == f"no {task.positive_name} image in the set"
    assert not figures["sensitivity"]["difference"].known
    assert figures["specificity"]["difference"].known
