"""Leaks: each lets in what it says and no more; sizes stay equal; figures against scikit-learn's."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from cxrflow.evaluation import leaks as module
from cxrflow.params import Params
from cxrflow.records import CLASSES
from cxrflow.studies.leaks import LEAKS, compared, exchanged, given_away, leaks, listed_again, print_leaks


def rows_of(count: int, seed: int = 0) -> pd.DataFrame:
    """Groups of 1 to 4 images of one class, in two sources."""
    random, rows = np.random.default_rng(seed), []
    for group in range(count):
        label, source = CLASSES[group % 3], "ab"[int(random.random() < 0.3)]
        rows += [(f"i{group}-{k}", f"g{group}", label, source) for k in range(random.integers(1, 5))]
    table = pd.DataFrame(rows, columns=["image_id", "group_id", "label", "source"])
    return table.assign(split="test", content_hash=table.image_id)


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


def test_what_is_leaked_takes_the_place_of_as_many_of_the_same_class_and_source() -> None:
    learned, leaked = rows_of(200), rows_of(30, seed=1).assign(group_id="leaked")
    after = exchanged(learned, leaked)
    for key in (["label", "source"], ["label"]):
        assert after.groupby(key).size().equals(learned.groupby(key).size())
    assert (after.group_id == "leaked").sum() == len(leaked)
    sizes = learned.groupby("group_id").size()
    broken = after.groupby("group_id").size().drop("leaked").compare(sizes[sizes.index.isin(after.group_id)])
    assert len(broken) <= leaked.groupby(["label", "source"]).ngroups  # groups leave whole, but for the last of each


def test_where_a_source_has_no_more_others_of_the_class_leave() -> None:
    learned = rows_of(60).query("source == 'a' or label != 'covid'")
    leaked = rows_of(30, seed=1).query("source == 'b' and label == 'covid'")
    after = exchanged(learned, leaked)
    assert after.label.value_counts().equals(learned.label.value_counts())
    assert not leaked.empty


def test_figures_are_those_of_scikit_learn_and_the_same_scores_differ_by_nothing() -> None:
    table = rows_of(90).assign(fold=0)
    random = np.random.default_rng(3)
    truth = table.label.map(CLASSES.index).to_numpy()
    good = np.eye(3)[truth] + random.random((len(table), 3))
    poor = np.eye(3)[truth] * 0.2 + random.random((len(table), 3))
    scores = {name: p / p.sum(axis=1, keepdims=True) for name, p in {"x": good, "same": good, "poor": poor}.items()}
    found = compared(table, scores, 200, 1)
    for name, p in scores.items():
        value = found[name]["macro_auroc"]["figure"]["value"]
        assert value == pytest.approx(roc_auc_score(truth, p, multi_class="ovr"))
        assert found[name]["covid_auroc"]["figure"]["value"] == pytest.approx(roc_auc_score(truth == 0, p[:, 0]))
        gap = value - found["x"]["macro_auroc"]["figure"]["value"]
        assert found[name]["macro_auroc"]["difference"]["value"] == pytest.approx(gap)
    assert found["same"]["macro_auroc"]["difference"] == {"value": 0, "low": 0, "high": 0}
    assert found["poor"]["macro_auroc"]["difference"]["high"] < 0


def test_images_are_compared_within_a_fold_and_for_the_last_figure_within_a_source() -> None:
    """Right within each fold and source, wrong between them."""
    labels = ["covid", "normal", "pneumonia"] * 4
    table = pd.DataFrame({"label": labels, "group_id": [f"g{k}" for k in range(12)], "fold": np.repeat([0, 1], 6)})
    table["source"] = np.tile(np.repeat(["a", "b"], 3), 2)
    normal = np.array([0, 0.9, 0.8, 0, 0.2, 0.1, 0, 0.7, 0.6, 0, 0.4, 0.3])
    covid = np.array([1.0, 0, 0] * 4)
    p = np.stack([covid, normal, (1 - covid) * (1 - normal)], axis=1)
    found = compared(table, {"x": p}, 50, 1)["x"]
    assert found["within_sources"]["figure"]["value"] == 1
    assert found["covid_auroc"]["figure"]["value"] == 1
    assert found["macro_auroc"]["figure"]["value"] < 1


def test_each_leak_lets_in_what_it_says(
    demo_params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    records = rows_of(150)
    alone = records.group_id.isin(records.group_id.unique()[:20]).to_numpy()
    trained: dict[str, pd.DataFrame] = {}

    def train(sides: pd.DataFrame, store: Any, images: Any, recipe: Any, out: Path) -> None:
        trained[f"{out.parent.name}/{out.name}"] = sides

    def predictor(folder: Path) -> Any:
        return SimpleNamespace(bundle=SimpleNamespace(digests={"weights": str(folder)}))

    def scores(predictor: Any, store: Any, test: pd.DataFrame, changes: Any, seed: int) -> np.ndarray:
        return np.random.default_rng(seed).dirichlet([1, 1, 1], len(test))

    for name, function in (("train", train), ("Predictor", predictor), ("_scores", scores)):
        monkeypatch.setattr(module, name, function)
    store = SimpleNamespace(index=records[["image_id"]].assign(left_out=None))
    how = demo_params.evaluation.model_copy(update={"bootstrap": 50})
    rows = pd.Series(2, index=records.image_id)
    given = (rows, store, demo_params.images, demo_params.training, how, 3, 2, tmp_path)
    found = leaks(records, alone, *given)
    assert json.loads((tmp_path / "metrics.json").read_text()) == found
    assert list(found["by_leak"]) == list(LEAKS)
    adults = records[~alone].reset_index(drop=True)
    tested = set(adults.image_id[~given_away(adults)])
    assert found["tested"] == len(tested)
    with_others = adults.groupby("group_id").image_id.transform("size") > 1
    shared = {name: of_leak["shared"] for name, of_leak in found["by_leak"].items()}
    assert shared["none"] == shared["none, another seed"] == shared["epoch chosen on test"] == 0
    assert shared["split by image"] == (with_others & adults.image_id.isin(tested)).sum()
    assert shared["rows taken for images"] > 0
    assert len({of_leak["trained_on"] for of_leak in found["by_leak"].values()}) == 1
    chosen_on = set()
    for fold in range(3):
        honest, by_image, by_row, on_test = (
            trained[f"fold{fold}/{name}"] for name in ("val-0", "patients-val-0", "rows-val-0", "test-0")
        )
        test = on_test[on_test.split == "val"]
        chosen_on |= set(test.image_id)
        assert not set(test.group_id) & set(honest.group_id)
        assert set(test.group_id) & set(by_image.group_id)
        assert not set(test.image_id) & set(by_image.image_id)
        assert set(by_row.image_id[by_row.group_id.isin(test.group_id)]) < set(test.image_id)
        learned = honest[honest.split == "train"].sort_values("image_id").image_id.tolist()
        assert on_test[on_test.split == "train"].sort_values("image_id").image_id.tolist() == learned
        assert set(records.image_id[alone]) <= set(learned)
    assert chosen_on == tested
    ledger = (tmp_path / "ledger.csv").read_text()
    assert leaks(records, alone, *given) == found
    assert (tmp_path / "ledger.csv").read_text() == ledger
    print_leaks(found)
    assert "all four" in capsys.readouterr().out
