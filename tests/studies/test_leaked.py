"""Leaks: what each lets in; sizes stay equal; figures against scikit-learn's, for two classes and more."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from cxrflow.statistics.resampling import Bootstrap
from cxrflow.statistics.scored import Scored
from cxrflow.studies.leaked import compared, exchanged, figure_names, given_away, listed_again
from cxrflow.task import Task


def rows_of(task: Task, count: int, seed: int = 0) -> pd.DataFrame:
    """Groups of 1 to 4 images of one class, in two sources."""
    random, rows = np.random.default_rng(seed), []
    for group in range(count):
        label, source = task.order[group % len(task.order)], "ab"[int(random.random() < 0.3)]
        rows += [(f"i{group}-{k}", f"g{group}", label, source) for k in range(random.integers(1, 5))]
    return pd.DataFrame(rows, columns=["image_id", "group_id", "label", "source"])


def test_half_of_each_group_with_several_images_is_given_away() -> None:
    table = pd.DataFrame({"image_id": list("abcdefghij"), "group_id": list("1223334444")})
    given = given_away(table)
    assert pd.Series(given).groupby(table.group_id).sum().tolist() == [0, 1, 1, 2]
    turned = table[::-1].reset_index(drop=True)
    assert set(turned.image_id[given_away(turned)]) == set(table.image_id[given])


def test_an_image_of_more_rows_is_listed_again_as_often_as_a_split_of_rows_has_it() -> None:
    table = pd.DataFrame({"image_id": [f"{k}" for k in range(12_000)]})
    rows = pd.Series({f"{k}": k % 3 + 1 for k in range(12_000) if k % 3})
    again = listed_again(table, rows, 1)
    shares = [again[k::3].mean() for k in range(3)]
    assert shares[0] == 0
    assert shares[1:] == pytest.approx([0.8, 1 - 0.2**2], abs=0.02)


def test_what_is_leaked_takes_the_place_of_as_many_of_the_same_class_and_source(task: Task) -> None:
    learned, leaked = rows_of(task, 200), rows_of(task, 30, seed=1).assign(group_id="leaked")
    after = exchanged(learned, leaked)
    for key in (["label", "source"], ["label"]):
        assert after.groupby(key).size().equals(learned.groupby(key).size())
    assert (after.group_id == "leaked").sum() == len(leaked)
    sizes = learned.groupby("group_id").size()
    broken = after.groupby("group_id").size().drop("leaked").compare(sizes[sizes.index.isin(after.group_id)])
    assert len(broken) <= leaked.groupby(["source", "label"]).ngroups  # groups leave whole, but for the last of each


def test_where_a_source_has_no_more_others_of_the_class_leave(task: Task) -> None:
    learned, leaked = rows_of(task, 60), rows_of(task, 30, seed=1)
    learned = learned[(learned.source == "a") | (learned.label != task.positive)]
    leaked = leaked[(leaked.source == "b") & (leaked.label == task.positive)]
    after = exchanged(learned, leaked)
    assert after.label.value_counts().equals(learned.label.value_counts())
    assert not leaked.empty


@pytest.mark.parametrize("name", ["task", "two_classes", "four_classes"])
def test_figures_are_those_of_scikit_learn_and_the_same_scores_differ_by_nothing(
    name: str, request: pytest.FixtureRequest
) -> None:
    task = request.getfixturevalue(name)
    table, classes = rows_of(task, 90).assign(fold=0), len(task.order)
    random, truth = np.random.default_rng(3), task.numbers(table.label)
    good = np.eye(classes)[truth] + random.random((len(table), classes))
    poor = np.eye(classes)[truth] * 0.2 + random.random((len(table), classes))
    scores = {
        name: Scored(task, table, p / p.sum(axis=1, keepdims=True), Bootstrap(200, 1))
        for name, p in {"x": good, "same": good, "poor": poor}.items()
    }
    found = {name: compared(scores["x"], scored) for name, scored in scores.items()}
    for name, scored in scores.items():
        figures = {key: each["figure"].value for key, each in found[name].items()}
        assert list(figures) == list(figure_names(task))
        p, is_class = scored.probabilities, [scored.labels == label for label in task.order]
        each = [roc_auc_score(is_class[c], p[:, c]) for c in range(classes)]
        assert figures["macro_auroc"] == pytest.approx(np.mean(each))
        assert figures["positive_auroc"] == pytest.approx(each[task.positive_column])
        for a, b in task.pairs:
            won = pairs = 0
            for source in "ab":
                here = (table.source == source).to_numpy()
                yes, no = (scored.share(a, b)[here & (scored.labels == label)] for label in (a, b))
                won += (yes[:, None] > no).sum()
                pairs += len(yes) * len(no)
            assert figures[f"{a}_vs_{b}"] == pytest.approx(won / pairs)
        gap = figures["macro_auroc"] - found["x"]["macro_auroc"]["figure"].value
        assert found[name]["macro_auroc"]["difference"].value == pytest.approx(gap)
    for nothing in (each["difference"] for each in found["same"].values()):
        assert (nothing.value, nothing.low, nothing.high) == (0, 0, 0)
    assert found["poor"]["macro_auroc"]["difference"].high < 0


def in_two_folds(task: Task, count: int = 12) -> pd.DataFrame:
    """Images in turn of each class, the first half of them in fold 0, every other three in source a."""
    labels = list(task.order) * (count // 3)
    table = pd.DataFrame({"label": labels, "group_id": [f"g{k}" for k in range(count)]})
    sources = np.tile(np.repeat(["a", "b"], 3), count // 6)
    return table.assign(image_id=table.group_id, fold=np.repeat([0, 1], count // 2), source=sources)


def test_images_are_compared_within_a_fold_and_for_a_pair_within_a_source(task: Task) -> None:
    """Two classes are ranked rightly within each fold and source, wrongly between them; the positive one stands out."""
    high, low = (name for name in task.order if name != task.positive)
    share = dict.fromkeys(task.order, 0.0) | {high: 1.0}
    steps = np.repeat([0.8, 0.1, 0.6, 0.3], 3)  # of each fold and source
    table = in_two_folds(task)
    p = np.zeros((12, 3))
    for k, label in enumerate(table.label):
        p[k, task.order.index(high)] = 0 if label == task.positive else steps[k] + 0.1 * share[label]
        p[k, task.positive_column] = label == task.positive
        p[k, task.order.index(low)] = 1 - p[k].sum()
    scored = Scored(task, table, p, Bootstrap(50, 1))
    found = compared(scored, scored)
    pair = next(f"{a}_vs_{b}" for a, b in task.pairs if {a, b} == {high, low})
    assert found[pair]["figure"].value == 1
    assert found["positive_auroc"]["figure"].value == 1
    assert found["macro_auroc"]["figure"].value < 1


def test_what_cannot_be_told_has_a_reason(task: Task) -> None:
    table, p = in_two_folds(task), np.full((12, 3), 1 / 3)
    apart = Scored(task, table.assign(source=table.label), p, Bootstrap(50, 1))
    found = compared(apart, apart)
    assert found["macro_auroc"]["figure"].value == 0.5
    for a, b in task.pairs:
        assert "no source in one fold" in found[f"{a}_vs_{b}"]["figure"].reason
    few = Scored(task, table[:9], p[:9], Bootstrap(50, 1))
    assert {each["figure"].reason for each in compared(few, few).values()} == {
        "only 3 groups of patients; at least 4 are needed"
    }
