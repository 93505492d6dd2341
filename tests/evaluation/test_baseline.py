"""The baseline finds what source, view, sex and age give away, and nothing else."""

import numpy as np
import pandas as pd
import pytest

from cxrflow.errors import CxrflowError
from cxrflow.evaluation.baseline import baseline_probabilities, cross_fitted_baseline, fit_baseline
from cxrflow.evaluation.metrics import macro_auroc
from cxrflow.statistics.resampling import Bootstrap, too_few_groups
from cxrflow.statistics.scored import Scored


def records(task, n=300, seed=0):
    """Labels that nothing gives away."""
    rng, k = np.random.default_rng(seed), len(task.order)
    return pd.DataFrame(
        {
            "label": rng.choice(task.order, n, p=[0.1, *[0.9 / (k - 1)] * (k - 1)]),
            "source": rng.choice(["a", "b"], n),
            "view": rng.choice(np.array(["PA", "AP", None]), n),
            "sex": rng.choice(np.array(["M", "F", None]), n),
            "age": np.where(rng.random(n) < 0.3, np.nan, rng.uniform(18, 90, n)),
            "group_id": [f"g{i // 2}" for i in range(n)],
        }
    )


def auroc(table, probabilities, task):
    return macro_auroc(Scored(task, table, probabilities, Bootstrap(2, 0))).value


@pytest.mark.parametrize("column", ["source", "view", "sex"])
def test_what_a_column_gives_away_is_found(any_task, column):
    train, test = records(any_task, seed=1), records(any_task, seed=2)
    unknown = "c" if column == "source" else None
    values = dict(zip(any_task.order, ["M", "F", unknown, "else"], strict=False))
    for table in (train, test):
        table[column] = table["label"].map(values)
    assert auroc(test, baseline_probabilities(fit_baseline(train), test, any_task), any_task) > 0.99


def test_age_and_its_absence_give_away_too(task):
    train, test = records(task, seed=1), records(task, seed=2)
    for table in (train, test):
        table["age"] = table["label"].map(dict(zip(task.order, [70.0, 30.0, np.nan], strict=True)))
    assert auroc(test, baseline_probabilities(fit_baseline(train), test, task), task) > 0.99


def test_nothing_given_away_is_near_chance(any_task):
    train, test = records(any_task, 2000, seed=1), records(any_task, 2000, seed=2)
    probabilities = baseline_probabilities(fit_baseline(train), test, any_task)
    assert auroc(test, probabilities, any_task) == pytest.approx(0.5, abs=0.06)


def test_values_first_met_in_the_test_set_count_for_nothing(task):
    train = records(task)
    model = fit_baseline(train)
    new = train.assign(source="c", view="PA", sex="M", age=50.0)
    other = new.assign(source="d")
    assert (baseline_probabilities(model, new, task) == baseline_probabilities(model, other, task)).all()
    assert np.ptp(baseline_probabilities(model, new, task), axis=0) == pytest.approx(np.zeros(3))


def test_columns_with_nothing_known_do_no_harm(task):
    train = records(task).assign(age=np.nan, view=None, sex=None)
    probabilities = baseline_probabilities(fit_baseline(train), records(task, seed=3), task)
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(300))


def test_classes_keep_their_order_and_an_absent_one_gets_nothing(task):
    train = records(task)
    train = train[train["label"] != "clear"]
    train["source"] = train["label"].map({"flu": "a", "other": "b"})
    probabilities = baseline_probabilities(fit_baseline(train), train, task)
    assert (probabilities[:, task.order.index("clear")] == 0).all()
    assert ((probabilities[:, task.order.index("flu")] > 0.5) == (train["label"] == "flu")).all()
    with pytest.raises(CxrflowError, match="two classes"):
        fit_baseline(train[train["label"] == "flu"])


def test_the_order_is_the_tasks_whatever_the_alphabet_says(task):
    backwards = replace_order(task)
    train = records(task)
    train["source"] = train["label"]
    forth, back = (baseline_probabilities(fit_baseline(train), train, each) for each in (task, backwards))
    assert (forth == back[:, ::-1]).all()
    assert [task.order[c] for c in forth.argmax(axis=1)] == train["label"].tolist()


def replace_order(task):
    return type(task)(classes=dict(reversed(task.classes.items())), positive=task.positive)


def test_cross_fitting_finds_what_is_there_and_does_not_learn_groups_by_heart(task):
    table = records(task, 600)
    honest, reason = cross_fitted_baseline(table, task, 0)
    assert reason == ""
    assert auroc(table, honest, task) < 0.58
    # A source of its own for each group tells all in training and nothing out of fold.
    by_heart = table.assign(source=table["group_id"])
    out_of_fold, _ = cross_fitted_baseline(by_heart, task, 0)
    assert auroc(by_heart, baseline_probabilities(fit_baseline(by_heart), by_heart, task), task) > 0.8
    assert auroc(by_heart, out_of_fold, task) < 0.58
    told = table.assign(view=table["label"])
    assert auroc(told, cross_fitted_baseline(told, task, 0)[0], task) > 0.99


def test_what_cannot_be_cross_fitted_says_why(task):
    table = records(task)
    few = pd.concat([table[table["label"] != "flu"], table[table["label"] == "flu"].drop_duplicates("group_id")[:2]])
    assert cross_fitted_baseline(few, task, 0) == (None, too_few_groups(2, 5, "influenza"))
    one = table[table["label"] == "clear"]
    assert cross_fitted_baseline(one, task, 0) == (None, "fewer than two classes in the set")
