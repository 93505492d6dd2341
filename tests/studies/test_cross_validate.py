"""Out of fold: each image once, by a network that has seen nobody of its group."""

import numpy as np
import pandas as pd
import pytest

from cxrflow.bundle import read_trained_on
from cxrflow.images.prepare import Store, steps_digest
from cxrflow.params import Params
from cxrflow.records import CLASSES
from cxrflow.studies.cross_validate import cross_validate, folds_of


def test_groups_stay_together_and_adding_rows_moves_nobody() -> None:
    groups = pd.Series([f"g{k // 3}" for k in range(900)])
    fold = folds_of(groups, 5)
    assert pd.Series(fold).groupby(groups).nunique().eq(1).all()
    assert np.bincount(fold, minlength=5).min() > 120
    assert np.array_equal(folds_of(groups.iloc[::-1], 5), fold[::-1])


def test_every_image_is_scored_by_a_network_without_its_group(demo_params: Params, tmp_path) -> None:
    random = np.random.default_rng(0)
    count = 300
    labels = random.integers(0, 3, count)
    images = random.integers(60, 120, (count, 32, 32)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[:, 10 * label : 10 * label + 10] += 60
    ids = [f"x:{k}" for k in range(count)]
    records = pd.DataFrame(
        {
            "image_id": ids, "source": "x", "patient_id": [f"x:p{k // 2}" for k in range(count)],
            "group_id": [f"p{k // 2}" for k in range(count)], "label": [CLASSES[k] for k in labels], "split": "train",
            "content_hash": [f"{k:064x}" for k in range(count)],
            "near_hash": [f"{k * 7919:064x}" for k in range(count)],
            "view": None, "age": np.nan, "sex": None,
        }
    )  # fmt: skip
    steps = demo_params.images.model_copy(update={"size": 32})
    index = pd.DataFrame({"image_id": ids, "content_hash": records.content_hash, "left_out": None})
    store = Store(images, None, index, steps_digest(steps))
    training = demo_params.training.model_copy(update={"model": "crnn", "epochs": 3, "batch_size": 16})
    evaluation = demo_params.evaluation.model_copy(update={"bootstrap": 100})

    def run() -> dict:
        return cross_validate(records, store, steps, training, evaluation, 2, tmp_path / "out", tmp_path / "ledger.csv")

    figures = run()
    assert figures["n"] == count
    assert figures["test"]["macro_auroc"]["value"] > 0.8
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert table[list(CLASSES)].sum(axis=1).to_numpy() == pytest.approx(np.ones(count), abs=1e-4)
    for fold in (0, 1):
        seen = set(read_trained_on(tmp_path / "out" / f"fold{fold}" / "bundle").content_hash)
        held_out = set(records.content_hash[table.fold.to_numpy() == fold])
        assert seen | held_out == set(records.content_hash)
        assert not seen & held_out
    assert set(table.image_id) == set(ids)
    # by hand: pairs of images of one fold in the right order
    won = pairs = 0
    share = (table.covid / (table.covid + table.pneumonia)).to_numpy()
    for fold in (0, 1):
        yes, no = (share[(table.fold == fold) & (table.label == name)] for name in ("covid", "pneumonia"))
        won += (yes[:, None] > no).sum() + (yes[:, None] == no).sum() / 2
        pairs += len(yes) * len(no)
    assert figures["within_folds"]["x"]["covid_vs_pneumonia"]["value"] == pytest.approx(won / pairs)
    at = figures["covid_at_specificity"]
    others = np.sort(table.covid[table.label != "covid"])[::-1]
    above = (table.covid[table.label == "covid"] > others[int(0.02 * len(others))]).mean()
    assert at["wanted"] == 0.98
    assert at["roc"]["value"] == pytest.approx(above, abs=0.05)
    assert at["specificity"]["value"] > 0.9
    assert at["sensitivity"]["low"] <= at["sensitivity"]["value"] <= at["sensitivity"]["high"]
    before = (tmp_path / "out" / "fold0" / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    assert run() == figures
    assert (tmp_path / "out" / "fold0" / "checkpoints" / "last.ckpt").stat().st_mtime_ns == before

    alone = pd.Series(np.arange(count) < 40)  # 20 people
    place = tmp_path / "alone"
    short = training.model_copy(update={"epochs": 2})
    cross_validate(records, store, steps, short, evaluation, 2, place, tmp_path / "ledger.csv", alone)
    assert set(pd.read_csv(place / "predictions.csv").image_id) == set(ids[40:])
    for fold in (0, 1):
        seen = read_trained_on(place / f"fold{fold}" / "bundle")
        assert set(seen.split[seen.content_hash.isin(records.content_hash[alone])]) == {"train"}
        assert set(records.content_hash[alone]) <= set(seen.content_hash)
