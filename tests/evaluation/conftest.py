"""Tasks of two, three and four classes, and images scored for them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cxrflow.statistics.resampling import Bootstrap
from cxrflow.statistics.scored import Scored
from cxrflow.task import Task

_TASKS = {
    2: Task(classes={"clear": ("no finding",), "flu": ("pneumonia",)}, positive="flu", names={"flu": "influenza"}),
    3: Task(
        classes={"flu": ("pneumonia/viral/influenza",), "clear": ("no finding",), "other": ("pneumonia",)},
        positive="flu",
        names={"flu": "influenza"},
    ),
    4: Task(
        classes={"clear": ("no finding",), "mass": ("mass",), "air": ("pneumothorax",), "fluid": ("effusion",)},
        positive="air",
        names={"air": "pneumothorax", "fluid": "pleural effusion"},
    ),
}


@pytest.fixture(scope="session")
def task() -> Task:
    """Three classes: flu (positive, shown as influenza), clear, other."""
    return _TASKS[3]


@pytest.fixture(scope="session")
def two() -> Task:
    """Two classes: clear, flu (positive)."""
    return _TASKS[2]


@pytest.fixture(scope="session")
def four() -> Task:
    """Four classes: clear, mass, air (positive, shown as pneumothorax), fluid (shown as pleural effusion)."""
    return _TASKS[4]


@pytest.fixture(scope="session", params=sorted(_TASKS))
def any_task(request: pytest.FixtureRequest) -> Task:
    """Two, three and four classes; the positive one is the last, the first and the third."""
    return _TASKS[request.param]


@pytest.fixture(scope="session")
def score() -> Callable[..., Scored]:
    """Makes scored images from a task, their class numbers and probabilities; ``groups`` are one each where not given,
    ``columns`` go into the table."""

    def make(
        task: Task, truth: Any, probabilities: Any, groups: Any = None, draws: int = 100, seed: int = 0, **columns: Any
    ) -> Scored:
        truth = np.asarray(truth)
        table = pd.DataFrame(
            {
                "image_id": [f"x:{k}" for k in range(len(truth))],
                "label": np.array(task.order)[truth],
                "source": "a",
                "group_id": [f"g{group}" for group in (range(len(truth)) if groups is None else groups)],
                "view": None,
                "sex": None,
                "age": np.nan,
                "day": np.nan,
            }
            | columns
        )
        return Scored(task, table, np.asarray(probabilities, float), Bootstrap(draws, seed))

    return make


@pytest.fixture(scope="session")
def random_case(score: Callable[..., Scored]) -> Callable[..., Scored]:
    """Makes scored images of a task: a network that is often right; two sources, and b lacks the positive class."""

    def make(task: Task, n: int = 240, seed: int = 0, **more: Any) -> Scored:
        rng, k = np.random.default_rng(seed), len(task.order)
        truth = rng.integers(0, k, n)
        source = np.where((rng.random(n) < 0.5) | (truth == task.positive_column), "a", "b")
        logits = rng.normal(size=(n, k))
        logits[np.arange(n), truth] += 1.5
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        return score(task, truth, probabilities, rng.integers(0, n // 2, n), source=source, **more)

    return make
