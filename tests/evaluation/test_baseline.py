import numpy as np
import pandas as pd
import pytest

from cxrflow.errors import CxrflowError
from cxrflow.evaluation.baseline import baseline_probabilities, cross_fitted_baseline, fit_baseline
from cxrflow.evaluation.metrics import macro_auroc
from cxrflow.records import CLASSES


def records(n=300, seed=0):
    """Labels that nothing gives away."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "label": rng.choice(CLASSES, n, p=[0.1, 0.5, 0.4]),
            "source": rng.choice(["a", "b"], n),
            "view": rng.choice(np.array(["PA", "AP", None]), n),
            "sex": rng.choice(np.array(["M", "F", None]), n),
            "age": np.where(rng.random(n) < 0.3, np.nan, rng.uniform(18, 90, n)),
            "group_id": [f"g{i // 2}" for i in range(n)],
        }
    )


def auroc(table, probabilities):
    return macro_auroc(table, probabilities, 100, 0)["value"]


@pytest.mark.parametrize("column", ["source", "view", "sex"])
def test_what_a_column_gives_away_is_found(column):
    train, test = records(seed=1), records(seed=2)
    unknown = "c" if column == "source" else None
    for table in (train, test):
        table[column] = table["label"].map({"covid": "M", "normal": "F", "pneumonia": unknown})
    assert auroc(test, baseline_probabilities(fit_baseline(train), test)) > 0.99


def test_age_and_its_absence_give_away_too():
    train, test = records(seed=1), records(seed=2)
    for table in (train, test):
        table["age"] = table["label"].map({"covid": 70.0, "normal": 30.0, "pneumonia": np.nan})
    assert auroc(test, baseline_probabilities(fit_baseline(train), test)) > 0.99


def test_nothing_given_away_is_near_chance():
    train, test = records(2000, seed=1), records(2000, seed=2)
    assert auroc(test, baseline_probabilities(fit_baseline(train), test)) == pytest.approx(0.5, abs=0.06)


def test_values_first_met_in_the_test_set_count_for_nothing():
    train = records()
    model = fit_baseline(train)
    new = train.assign(source="c", view="PA", sex="M", age=50.0)
    other = new.assign(source="d")
    assert (baseline_probabilities(model, new) == baseline_probabilities(model, other)).all()
    assert np.ptp(baseline_probabilities(model, new), axis=0) == pytest.approx(np.zeros(3))


def test_columns_with_nothing_known_do_no_harm():
    train = records().assign(age=np.nan, view=None, sex=None)
    probabilities = baseline_probabilities(fit_baseline(train), records(seed=3))
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(300))


def test_classes_keep_their_order_and_an_absent_one_gets_nothing():
    train = records()
    train = train[train["label"] != "normal"]
    train["source"] = train["label"].map({"covid": "a", "pneumonia": "b"})
    probabilities = baseline_probabilities(fit_baseline(train), train)
    assert (probabilities[:, 1] == 0).all()
    assert ((probabilities[:, 0] > 0.5) == (train["label"] == "covid")).all()
    with pytest.raises(CxrflowError, match="two classes"):
        fit_baseline(train[train["label"] == "covid"])


def test_cross_fitting_finds_what_is_there_and_does_not_learn_groups_by_heart():
    table = records(600)
    honest, reason = cross_fitted_baseline(table, 0)
    assert reason == ""
    assert auroc(table, honest) < 0.58
    # A source of its own for each group tells all in training and nothing out of fold.
    by_heart = table.assign(source=table["group_id"])
    out_of_fold, _ = cross_fitted_baseline(by_heart, 0)
    assert auroc(by_heart, baseline_probabilities(fit_baseline(by_heart), by_heart)) > 0.8
    assert auroc(by_heart, out_of_fold) < 0.58
    told = table.assign(view=table["label"])
    assert auroc(told, cross_fitted_baseline(told, 0)[0]) > 0.99


def test_too_few_groups_for_cross_fitting_is_a_reason():
    table = records()
    few = pd.concat([table[table["label"] != "covid"], table[table["label"] == "covid"][:3]])
    assert cross_fitted_baseline(few, 0) == (None, "fewer than 5 groups of covid")
    one = table[table["label"] == "normal"]
    assert cross_fitted_baseline(one, 0) == (None, "fewer than two classes in the set")
