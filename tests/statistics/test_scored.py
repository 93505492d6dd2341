"""Images and their probabilities fit together, or are refused; two and four classes as well as three."""

import numpy as np
import pandas as pd
import pytest

from cxrflow.errors import CxrflowError
from cxrflow.statistics.resampling import Bootstrap
from cxrflow.statistics.scored import Scored
from cxrflow.task import Task

TWO = Task(classes={"well": ("no finding",), "sick": ("pneumonia",)}, positive="sick")
FOUR = Task(
    classes={"clear": ("no finding",), "mass": ("mass",), "air": ("pneumothorax",), "fluid": ("effusion",)},
    positive="air",
)


def case(task: Task, n: int = 24) -> tuple[pd.DataFrame, np.ndarray]:
    rng, k = np.random.default_rng(0), len(task.order)
    labels = [task.order[number % k] for number in range(n)]
    table = pd.DataFrame({"label": labels, "source": "a", "group_id": [f"g{number // 2}" for number in range(n)]})
    return table, rng.dirichlet(np.ones(k), n)


@pytest.mark.parametrize("task", [TWO, FOUR])
def test_columns_are_in_the_order_of_the_task(task: Task) -> None:
    table, probabilities = case(task)
    scored = Scored(task, table, probabilities, Bootstrap(100, 0))
    column = task.order.index(task.positive)
    assert scored.truth.tolist() == [task.order.index(label) for label in table.label]
    assert (scored.positive_scores == probabilities[:, column]).all()
    assert scored.positive.tolist() == (table.label == task.positive).tolist()
    assert scored.predicted.tolist() == [int(np.argmax(row)) for row in probabilities]
    a, b = task.pairs[-1]
    p_a, p_b = (probabilities[:, task.order.index(name)] for name in (a, b))
    assert scored.share(a, b) == pytest.approx(p_a / (p_a + p_b))
    assert scored.among(a, b).tolist() == table.label.isin([a, b]).tolist()
    some = scored.where(scored.positive)
    assert len(some) == scored.positive.sum()
    assert set(some.labels) == {task.positive}


def test_a_share_of_nothing_is_one_half() -> None:
    table, _ = case(FOUR, 4)
    probabilities = np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0.25, 0.75]])
    shares = Scored(FOUR, table, probabilities, Bootstrap(100, 0)).share("air", "fluid")
    assert shares.tolist() == [0.5, 0.5, 1, 0.25]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t, p: (t, p[:-1]), "do not fit"),
        (lambda t, p: (t, p[:, :3]), "do not fit .* clear, mass, air, fluid"),
        (lambda t, p: (t, np.where(p == p.max(), np.nan, p)), "not finite"),
        (lambda t, p: (t, p * 2), "adding up to 1"),
        (lambda t, p: (t, p - [[1, -1, 0, 0]]), "adding up to 1"),
        (lambda t, p: (t.replace({"label": {"mass": "tuberculosis"}}), p), "tuberculosis is not one of clear"),
        (lambda t, p: (t.assign(group_id=None), p), "no group_id"),
        (lambda t, p: (t.drop(columns="source"), p), "source"),
        (lambda t, p: (t[:0], p[:0]), "no image"),
    ],
)
def test_inputs_that_do_not_fit_are_named(change, says) -> None:
    with pytest.raises(CxrflowError, match=says):
        Scored(FOUR, *change(*case(FOUR)), Bootstrap(100, 0))
