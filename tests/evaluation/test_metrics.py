"""Figures counted by hand and those of scikit-learn; two, three and four classes."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_score, recall_score, roc_auc_score

from cxrflow.evaluation.metrics import confusion, evaluate, macro_auroc
from cxrflow.statistics.figure import missing, to_json

SURE = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])


def called(counts):
    """True and predicted class numbers that make this confusion matrix."""
    cells = [(row, col) for row in range(3) for col in range(3) for _ in range(counts[row][col])]
    return np.array(cells).T


def test_figures_of_a_matrix_counted_by_hand(task, score):
    truth, predicted = called([[8, 1, 1], [0, 18, 2], [4, 1, 25]])
    result = evaluate(score(task, truth, SURE[predicted]))
    test = result["test"]
    assert result["confusion"]["counts"] == [[8, 1, 1], [0, 18, 2], [4, 1, 25]]
    assert result["confusion"]["by_row"][0] == [0.8, 0.1, 0.1]
    assert result["confusion"]["by_column"][2] == [4 / 12, 1 / 20, 25 / 28]
    assert test["accuracy"].value == 51 / 60
    assert test["flu"]["sensitivity"].value == 8 / 10
    assert test["flu"]["sensitivity"].counts == "8 of 10"
    assert test["flu"]["specificity"].value == 46 / 50
    assert test["flu"]["ppv"].value == 8 / 12
    assert test["clear"]["sensitivity"].n == 20
    assert test["other"]["ppv"].n == 28
    assert (result["n"], result["groups"]) == (60, 60)


def test_the_papers_figures_fit_one_another(task, score):
    # 0.85 at a PPV of 0.55 and a prevalence of 2.8 % is a specificity of about 0.980: 10,000 images
    found, missed, false = 238, 42, round(238 * 0.45 / 0.55)
    truth, predicted = called([[found, missed, 0], [false, 9720 - false, 0], [0, 0, 0]])
    positive = evaluate(score(task, truth, SURE[predicted], draws=2))["test"]["flu"]
    assert positive["sensitivity"].value == pytest.approx(0.85, abs=0.001)
    assert positive["ppv"].value == pytest.approx(0.55, abs=0.001)
    assert positive["specificity"].value == pytest.approx(0.980, abs=0.001)


@given(st.integers(0, 2**32 - 1), st.integers(30, 90))
@settings(max_examples=8)
def test_figures_are_those_of_scikit_learn(any_task, score, seed, n):
    rng, k = np.random.default_rng(seed), len(any_task.order)
    truth = np.r_[np.arange(k), rng.integers(0, k, n - k)]
    probabilities = rng.dirichlet(np.ones(k), n)
    test = evaluate(score(any_task, truth, probabilities, np.arange(n) // 2))["test"]
    predicted = probabilities.argmax(axis=1)
    sensitivity = recall_score(truth, predicted, average=None, labels=range(k))
    ppv = precision_score(truth, predicted, average=None, labels=range(k), zero_division=0)
    areas = [roc_auc_score(truth == c, probabilities[:, c]) for c in range(k)]
    for c, name in enumerate(any_task.order):
        assert test[name]["sensitivity"].value == pytest.approx(sensitivity[c])
        assert (test[name]["ppv"].value if test[name]["ppv"].known else 0) == pytest.approx(ppv[c])
        assert test[name]["auroc"].value == pytest.approx(areas[c])
        assert test[name]["specificity"].value == pytest.approx(np.mean(predicted[truth != c] != c))
    assert test["macro_auroc"].value == pytest.approx(np.mean(areas))


def test_pairs_within_a_source_are_ranked_by_their_two_classes_only(any_task, random_case):
    scored = random_case(any_task)
    by_source = evaluate(scored)["by_source"]
    assert list(by_source["a"]) == [f"{a}_vs_{b}" for a, b in any_task.pairs]
    assert list(by_source["b"]) == [f"{a}_vs_{b}" for a, b in any_task.pairs if any_task.positive not in (a, b)]
    a, b = any_task.pairs[-1]
    among = (scored.sources == "a") & np.isin(scored.labels, (a, b))
    p_a, p_b = (scored.probabilities[among, any_task.order.index(name)] for name in (a, b))
    figure = by_source["a"][f"{a}_vs_{b}"]
    assert figure.value == pytest.approx(roc_auc_score(scored.labels[among] == a, p_a / (p_a + p_b)))
    assert figure.n == among.sum()


def test_a_model_that_sees_only_the_source_is_at_chance_within_it(task, score):
    truth, source = np.repeat([0, 0, 0, 1, 0, 1, 1, 1], 25), np.repeat(["a", "b"], 100)
    probabilities = np.where((source == "a")[:, None], [[0.8, 0.1, 0.1]], [[0.1, 0.8, 0.1]])
    result = evaluate(score(task, truth, probabilities, source=source))
    assert result["test"]["flu"]["auroc"].value == 0.75
    assert {pairs["flu_vs_clear"].value for pairs in result["by_source"].values()} == {0.5}


def test_an_absent_class_is_said_not_scored_and_all_is_json(any_task, random_case):
    scored = random_case(any_task)
    kept = ~scored.positive
    without = np.where(np.arange(len(any_task.order)) == any_task.positive_column, 0, scored.probabilities[kept])
    result = evaluate(replace(scored.where(kept), probabilities=without / without.sum(axis=1, keepdims=True)))
    positive, name = result["test"][any_task.positive], any_task.positive_name
    assert positive["sensitivity"] == missing(f"no {name} image in the set")
    assert positive["ppv"] == missing(f"no image was called {name}")
    assert not result["test"]["macro_auroc"].known
    assert name in result["test"]["macro_auroc"].reason or len(any_task.order) == 2
    assert result["confusion"]["by_row"][any_task.positive_column] == [None] * len(any_task.order)
    written = to_json(result)
    assert json.loads(json.dumps(written, allow_nan=False)) == written


def test_macro_alone_is_the_macro_of_the_whole_and_ignores_the_index(task, random_case):
    scored = random_case(task, seed=3)
    whole = evaluate(scored)["test"]["macro_auroc"]
    assert macro_auroc(replace(scored, table=scored.table.set_index(np.arange(len(scored))[::-1]))) == whole


def test_confusion_shares_add_up_and_its_size_is_the_number_of_classes():
    result = confusion(*called([[3, 2, 1], [0, 4, 4], [1, 1, 8]]), 3)
    assert np.sum(result["by_row"], axis=1) == pytest.approx([1, 1, 1])
    assert np.sum(result["by_column"], axis=0) == pytest.approx([1, 1, 1])
    assert confusion(np.array([0, 1]), np.array([1, 1]), 2)["counts"] == [[0, 1], [0, 1]]
    assert np.shape(confusion(np.array([0]), np.array([0]), 5)["counts"]) == (5, 5)
