import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_score, recall_score, roc_auc_score

from cxrflow.errors import CxrflowError
from cxrflow.evaluation.metrics import confusion, evaluate, macro_auroc
from cxrflow.records import CLASSES

SURE = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])


def table_of(truth, source="a", groups=None):
    groups = range(len(truth)) if groups is None else groups
    labels = [CLASSES[c] for c in truth]
    return pd.DataFrame({"label": labels, "source": source, "group_id": [f"g{g}" for g in groups]})


def called(counts):
    """True and predicted class numbers that make this confusion matrix."""
    cells = [(row, col) for row in range(3) for col in range(3) for _ in range(counts[row][col])]
    return np.array(cells).T


def test_figures_of_a_matrix_counted_by_hand():
    truth, predicted = called([[8, 1, 1], [0, 18, 2], [4, 1, 25]])
    result = evaluate(table_of(truth), SURE[predicted], 100, 0)
    test = result["test"]
    assert result["confusion"]["counts"] == [[8, 1, 1], [0, 18, 2], [4, 1, 25]]
    assert result["confusion"]["by_row"][0] == [0.8, 0.1, 0.1]
    assert result["confusion"]["by_column"][2] == [4 / 12, 1 / 20, 25 / 28]
    assert test["accuracy"]["value"] == 51 / 60
    assert test["covid"]["sensitivity"]["value"] == 8 / 10
    assert test["covid"]["sensitivity"]["counts"] == "8 of 10"
    assert test["covid"]["specificity"]["value"] == 46 / 50
    assert test["covid"]["ppv"]["value"] == 8 / 12
    assert test["normal"]["sensitivity"]["n"] == 20
    assert test["pneumonia"]["ppv"]["n"] == 28
    assert (result["n"], result["groups"]) == (60, 60)


def test_the_papers_figures_fit_one_another():
    # 0.85 at a PPV of 0.55 and a prevalence of 2.8 % is a specificity of about 0.980: 10,000 images
    found, missed, false = 238, 42, round(238 * 0.45 / 0.55)
    truth, predicted = called([[found, missed, 0], [false, 9720 - false, 0], [0, 0, 0]])
    covid = evaluate(table_of(truth), SURE[predicted], 100, 0)["test"]["covid"]
    assert covid["sensitivity"]["value"] == pytest.approx(0.85, abs=0.001)
    assert covid["ppv"]["value"] == pytest.approx(0.55, abs=0.001)
    assert covid["specificity"]["value"] == pytest.approx(0.980, abs=0.001)


@given(st.integers(0, 2**32 - 1), st.integers(30, 90))
@settings(max_examples=15, deadline=None)
def test_figures_are_those_of_scikit_learn(seed, n):
    rng = np.random.default_rng(seed)
    truth = np.r_[[0, 1, 2], rng.integers(0, 3, n - 3)]
    probabilities = rng.dirichlet(np.ones(3), n)
    test = evaluate(table_of(truth, groups=np.arange(n) // 2), probabilities, 100, 0)["test"]
    predicted = probabilities.argmax(axis=1)
    sensitivity = recall_score(truth, predicted, average=None, labels=range(3))
    ppv = precision_score(truth, predicted, average=None, labels=range(3), zero_division=0)
    for c, name in enumerate(CLASSES):
        assert test[name]["sensitivity"]["value"] == pytest.approx(sensitivity[c])
        assert (test[name]["ppv"]["value"] or 0) == pytest.approx(ppv[c])
        assert test[name]["auroc"]["value"] == pytest.approx(roc_auc_score(truth == c, probabilities[:, c]))
        assert test[name]["specificity"]["value"] == pytest.approx(np.mean(predicted[truth != c] != c))
    macro = roc_auc_score(truth, probabilities, multi_class="ovr", average="macro")
    assert test["macro_auroc"]["value"] == pytest.approx(macro)


def random_case(n=240, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, n)
    table = table_of(truth, groups=rng.integers(0, n // 2, n))
    table["source"] = np.where(rng.random(n) < 0.5, "a", "b")
    table.loc[(table["source"] == "b") & (table["label"] == "covid"), "source"] = "a"
    logits = rng.normal(size=(n, 3))
    logits[np.arange(n), truth] += 1.5
    return table, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def test_pairs_within_a_source_are_ranked_by_their_two_classes_only():
    table, probabilities = random_case()
    by_source = evaluate(table, probabilities, 100, 0)["by_source"]
    assert list(by_source["a"]) == ["covid_vs_normal", "covid_vs_pneumonia", "normal_vs_pneumonia"]
    assert list(by_source["b"]) == ["normal_vs_pneumonia"]
    among = ((table["source"] == "a") & (table["label"] != "normal")).to_numpy()
    share = probabilities[among, 0] / (probabilities[among, 0] + probabilities[among, 2])
    expected = roc_auc_score(table["label"][among] == "covid", share)
    assert by_source["a"]["covid_vs_pneumonia"]["value"] == pytest.approx(expected)
    assert by_source["a"]["covid_vs_pneumonia"]["n"] == among.sum()


def test_a_model_that_sees_only_the_source_is_at_chance_within_it():
    truth = np.repeat([0, 0, 0, 1, 0, 1, 1, 1], 25)
    table = table_of(truth)
    table["source"] = np.repeat(["a", "b"], 100)
    probabilities = np.where((table["source"] == "a").to_numpy()[:, None], [[0.8, 0.1, 0.1]], [[0.1, 0.8, 0.1]])
    result = evaluate(table, probabilities, 100, 0)
    assert result["test"]["covid"]["auroc"]["value"] == 0.75
    assert {pairs["covid_vs_normal"]["value"] for pairs in result["by_source"].values()} == {0.5}


def test_an_absent_class_is_said_not_scored_and_all_is_json():
    table, probabilities = random_case()
    kept = (table["label"] != "covid").to_numpy()
    probabilities = probabilities[kept] * [0, 1, 1]
    result = evaluate(table[kept], probabilities / probabilities.sum(axis=1, keepdims=True), 100, 0)
    assert result["test"]["macro_auroc"] == {"value": None, "reason": "no covid image in the set"}
    assert result["test"]["covid"]["sensitivity"] == {"value": None, "reason": "no covid image in the set"}
    assert result["test"]["covid"]["ppv"] == {"value": None, "reason": "no image was called covid"}
    assert result["test"]["normal"]["auroc"]["value"] > 0.5
    assert result["confusion"]["by_row"][0] == [None] * 3
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_macro_alone_is_the_macro_of_the_whole_and_ignores_the_index():
    table, probabilities = random_case()
    whole = evaluate(table, probabilities, 100, 3)["test"]["macro_auroc"]
    assert macro_auroc(table.set_index(np.arange(len(table))[::-1]), probabilities, 100, 3) == whole


def test_confusion_shares_add_up():
    result = confusion(*called([[3, 2, 1], [0, 4, 4], [1, 1, 8]]))
    assert np.sum(result["by_row"], axis=1) == pytest.approx([1, 1, 1])
    assert np.sum(result["by_column"], axis=0) == pytest.approx([1, 1, 1])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t, p: (t, p[:-1]), "do not fit"),
        (lambda t, p: (t, p[:, :2]), "do not fit"),
        (lambda t, p: (t, np.where(p == p.max(), np.nan, p)), "not finite"),
        (lambda t, p: (t, p * 2), "adding up to 1"),
        (lambda t, p: (t, p - [[1, -1, 0]]), "adding up to 1"),
        (lambda t, p: (t.replace({"label": {"covid": "tuberculosis"}}), p), "tuberculosis"),
        (lambda t, p: (t.assign(group_id=None), p), "no group_id"),
        (lambda t, p: (t.drop(columns="source"), p), "source"),
        (lambda t, p: (t[:0], p[:0]), "no image"),
    ],
)
def test_inputs_that_do_not_fit_are_named(change, says):
    with pytest.raises(CxrflowError, match=says):
        evaluate(*change(*random_case()), 100, 0)
