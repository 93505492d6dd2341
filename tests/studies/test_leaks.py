"""The study of leaks: each lets in what it says and no more; it runs from RSNA's rows and the collections' files."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cxrflow.dataset import Dataset
from cxrflow.errors import CxrflowError
from cxrflow.params import Params
from cxrflow.statistics.figure import to_json
from cxrflow.studies import leaks as module
from cxrflow.studies.leaked import LEAKS, given_away
from cxrflow.studies.leaks import leaks, measure_leaks, print_leaks, rows_of_images
from cxrflow.task import Task


@pytest.fixture
def grouped(drawn_set: Callable[..., Dataset], task: Task) -> Dataset:
    """Groups of 1 to 4 images of one class, in two sources; the first groups hold a child."""
    random, plan, groups = np.random.default_rng(0), [], []
    for group in range(84):
        size = int(random.integers(1, 5))
        plan.append(("ab"[int(random.random() < 0.3)], task.order[group % 3], size))
        groups += [f"g{group}"] * size
    children = [int(group[1:]) < 12 for group in groups]
    return drawn_set(task, plan, group_id=groups, paediatric=children, split="test")


def test_each_leak_lets_in_what_it_says(
    grouped: Dataset, short: Callable[..., Params], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    params, records, task = short(), grouped.records, grouped.task
    with_children = params.metadata.model_copy(update={"paediatric": "train"})
    few = params.evaluation.model_copy(update={"bootstrap": 40})
    (tmp_path / "demo" / "truth" / "opacity").mkdir(parents=True)
    demo = params.sources.model_copy(update={"root": str(tmp_path / "demo")})
    params = params.model_copy(update={"metadata": with_children, "evaluation": few, "sources": demo})
    trained: dict[str, pd.DataFrame] = {}
    follow: list[int] = []

    def train(
        dataset: Dataset, images: Any, recipe: Any, out: Path, features: Path, to_follow: int, drawn: bool = False
    ) -> None:
        assert drawn
        follow.append(to_follow)
        trained[f"{out.parent.name}/{out.name}"] = dataset.records

    def predictor(folder: Path) -> Any:
        return SimpleNamespace(bundle=SimpleNamespace(digests={"weights": str(folder)}))

    def scores(predictor: Any, dataset: Dataset, changes: Any, seed: int) -> np.ndarray:
        return np.random.default_rng(seed).dirichlet([1, 1, 1], len(dataset))

    for name, function in (("train", train), ("Predictor", predictor), ("_scores", scores)):
        monkeypatch.setattr(module, name, function)
    rows = pd.Series(2, index=records.image_id)
    found = measure_leaks(grouped, rows, params, 3, 2, tmp_path)
    assert json.loads((tmp_path / "metrics.json").read_text()) == to_json(found)
    assert list(found["by_leak"]) == list(LEAKS)
    assert follow == list(range(len(LEAKS) * 2 * 3))[::-1]
    alone = records.paediatric.to_numpy()
    adults = records[~alone].reset_index(drop=True)
    tested = set(adults.image_id[~given_away(adults)])
    assert found["tested"] == len(tested)
    figure = found["by_leak"]["all four"]["figures"]["macro_auroc"]["difference"]
    assert (figure.n, figure.groups) == (len(tested), 72)
    with_others = adults.groupby("group_id").image_id.transform("size") > 1
    shared = {name: of_leak["shared"] for name, of_leak in found["by_leak"].items()}
    assert shared["none"] == shared["none, another seed"] == shared["epoch chosen on test"] == 0
    assert shared["split by image"] == (with_others & adults.image_id.isin(tested)).sum()
    assert shared["rows taken for images"] > 0
    assert len({of_leak["trained_on"] for of_leak in found["by_leak"].values()}) == 1
    chosen_on = set()
    for fold in range(3):
        honest, by_image, by_row, on_test, all_four = (
            trained[f"fold{fold}/{name}"]
            for name in ("val-0", "patients-val-0", "rows-val-0", "test-0", "patients-rows-test-0")
        )
        test = on_test[on_test.split == "val"]
        chosen_on |= set(test.image_id)
        assert not set(test.group_id) & set(honest.group_id)
        assert set(test.group_id) & set(by_image.group_id)
        assert not set(test.image_id) & set(by_image.image_id)
        assert set(by_row.image_id[by_row.group_id.isin(test.group_id)]) < set(test.image_id)
        assert set(all_four.image_id[all_four.split == "train"]) & set(all_four.image_id[all_four.split == "val"])
        learned = honest[honest.split == "train"].sort_values("image_id").image_id.tolist()
        assert on_test[on_test.split == "train"].sort_values("image_id").image_id.tolist() == learned
        assert set(records.image_id[alone]) <= set(learned)
    assert chosen_on == tested
    ledger = (tmp_path / "ledger.csv").read_text()
    assert measure_leaks(grouped, rows, params, 3, 2, tmp_path) == found
    assert (tmp_path / "ledger.csv").read_text() == ledger
    print_leaks(found, task)
    printed = capsys.readouterr().out
    assert "all four" in printed
    assert f"{task.positive_name} AUROC" in printed


def test_a_folder_without_rsna_is_refused_before_any_work(
    demo_params: Params, own: Callable[..., Path], tmp_path: Path
) -> None:
    root = own([("1.png", "normal", "p1")], {"1.png": 1})
    with pytest.raises(CxrflowError, match="lacks RSNA's collection"):
        leaks(root, demo_params, None, 2, 1, tmp_path / "out")  # type: ignore[arg-type]  # no engine is asked
    assert not (tmp_path / "out").exists()


def test_rows_are_counted_by_image(
    own: Callable[..., Path], write_csv: Callable[..., Path], two_classes: Task, short: Callable[..., Params],
    engine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Of the files of two collections those of the task are prepared, and measured with RSNA's rows."""
    rows = [(f"{k}.png", two_classes.order[k % 2], f"p{k}") for k in range(4)]
    root = own(rows, {row[0]: k for k, row in enumerate(rows)})
    boxes: Sequence[Sequence[str]] = [("patientId", "Target"), ("i", "1"), ("j", "0"), ("i", "1")]
    write_csv(root / "rsna" / "stage_2_train_labels.csv", boxes)
    write_csv(root / "rsna" / "stage_2_detailed_class_info.csv", [("patientId", "class"), ("i", "Lung Opacity")])
    people = [("patientId", "nih_image"), ("i", "00000001_000.png"), ("j", "00000002_000.png")]
    write_csv(root / "rsna" / "nih_mapping.csv", people)
    assert rows_of_images(root).to_dict() == {"rsna:i": 2, "rsna:j": 1}
    measured = []
    monkeypatch.setattr(module, "measure_leaks", lambda *given: measured.append(given))
    leaks(root, short(two_classes), engine, 2, 1, tmp_path / "out")
    ((dataset, counted, params, *_),) = measured
    assert params.sources.root == str(root)  # which says whether the images are drawn
    assert counted.to_dict() == {"rsna:i": 2, "rsna:j": 1}
    assert sorted(dataset.records.image_id) == [f"mine:{k}.png" for k in range(4)]
