"""Each source by a network that never saw it, or its people; figures against scikit-learn, gaps with their reasons."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from cxrflow.bundle import read_trained_on
from cxrflow.errors import CxrflowError
from cxrflow.images.prepare import Store, steps_digest
from cxrflow.params import Params
from cxrflow.records import CLASSES
from cxrflow.studies.cross_validate import train_or_val
from cxrflow.studies.leave_one_out import leave_one_out, print_leave_one_out


@pytest.fixture(scope="module")
def sources(demo_params: Params):
    """x and y have all classes, z normal and pneumonia, and shares its people with y; w one class. x holds most of
    COVID-19: of what is left without it, val holds none."""
    random = np.random.default_rng(0)
    plan = [("x", "covid", 40), ("x", "normal", 20), ("x", "pneumonia", 20), ("y", "covid", 6), ("y", "normal", 20),
            ("y", "pneumonia", 20), ("z", "normal", 20), ("z", "pneumonia", 20), ("w", "covid", 3)]  # fmt: skip
    rows = [(source, label) for source, label, count in plan for _ in range(count)]
    count = len(rows)
    images = random.integers(60, 120, (count, 32, 32)).astype(np.uint8)
    for image, (_, label) in zip(images, rows, strict=True):
        at = 10 * CLASSES.index(label)
        image[:, at : at + 10] += 60
    records = pd.DataFrame(rows, columns=["source", "label"])
    records["image_id"] = [f"{source}:{k}" for k, source in enumerate(records.source)]
    records["group_id"] = [f"p{k}" for k in range(count)]
    shared = records.index[records.source == "z"][:10]
    records.loc[shared, "group_id"] = records.group_id[records.source == "y"].to_numpy()[6:16]
    records["patient_id"] = records.group_id
    records["content_hash"] = [f"{k:064x}" for k in range(count)]
    records["near_hash"] = [f"{k * 7919:064x}" for k in range(count)]
    records["split"] = "train"
    steps = demo_params.images.model_copy(update={"size": 32})
    index = pd.DataFrame({"image_id": records.image_id, "content_hash": records.content_hash, "left_out": None})
    return records, Store(images, None, index, steps_digest(steps)), steps


def test_no_source_is_seen_by_its_own_network(sources, demo_params: Params, tmp_path, capsys) -> None:
    records, store, steps = sources
    small = {"model": "crnn", "epochs": 2, "batch_size": 32}
    training = demo_params.training.model_copy(update=small)
    evaluation = demo_params.evaluation.model_copy(update={"bootstrap": 100})

    def run() -> dict:
        return leave_one_out(records, store, steps, training, evaluation, tmp_path / "out", tmp_path / "ledger.csv")

    figures = run()
    assert list(figures["sources"]) == ["w", "x", "y", "z"]
    assert not (tmp_path / "out" / "w").exists()  # no figure to be had of one class
    for name in "yz":
        seen = set(read_trained_on(tmp_path / "out" / name / "bundle").content_hash)
        groups = set(records.group_id[records.source == name])
        assert seen == set(records.content_hash[~records.group_id.isin(groups)])
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    z = table[(table.source == "z")]
    share = z.normal / (z.normal + z.pneumonia)
    figure = figures["sources"]["z"]["normal_vs_pneumonia"]
    assert figure["value"] == pytest.approx(roc_auc_score(z.label == "normal", share))
    assert figures["sources"]["y"]["trained_on"]["covid"] == 43
    reasons = {
        ("z", "covid_vs_normal"): "z has no covid image",
        ("w", "normal_vs_pneumonia"): "w has no normal image",
    }
    for (name, pair), reason in reasons.items():
        assert figures["sources"][name][pair] == {"value": None, "reason": reason}
    for pair in ("covid_vs_normal", "covid_vs_pneumonia"):
        assert figures["sources"]["x"][pair]["reason"] == "without x there is no covid to choose the epoch on"
        assert figures["all"][pair]["n"] == 26  # of y alone
    assert figures["all"]["normal_vs_pneumonia"]["n"] == 120
    ledger = pd.read_csv(tmp_path / "ledger.csv")
    assert len(ledger) == 1
    before = (tmp_path / "out" / "y" / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    assert run() == figures
    assert (tmp_path / "out" / "y" / "checkpoints" / "last.ckpt").stat().st_mtime_ns == before
    assert len(pd.read_csv(tmp_path / "ledger.csv")) == 1
    print_leave_one_out(figures)
    assert "never saw it" in capsys.readouterr().out


def test_a_class_that_only_the_source_left_out_has_does_not_take_the_others_away(
    sources, demo_params: Params, tmp_path
) -> None:
    """Without x nothing of COVID-19 is left: normal against pneumonia is told all the same, by a network that has seen
    no COVID-19, and as well as any other of these plain pictures."""
    records, store, steps = sources
    records = records[(records.label != "covid") | (records.source == "x")]
    training = demo_params.training.model_copy(update={"model": "crnn", "epochs": 12, "batch_size": 32})
    evaluation = demo_params.evaluation.model_copy(update={"bootstrap": 100})
    place = tmp_path / "out"
    figures = leave_one_out(records, store, steps, training, evaluation, place, tmp_path / "ledger.csv")
    x = figures["sources"]["x"]
    assert x["normal_vs_pneumonia"]["n"] == 40
    for pair in ("covid_vs_normal", "covid_vs_pneumonia"):
        assert x[pair] == {"value": None, "reason": "without x there is no covid to train on"}
    assert x["trained_on"] == {"covid": 0, "normal": 40, "pneumonia": 40}
    assert figures["all"]["normal_vs_pneumonia"]["n"] == 120
    table = pd.read_csv(place / "predictions.csv")
    val_auroc = pd.read_csv(place / "x" / "history.csv").val_macro_auroc
    assert val_auroc.max() > 2 / 3  # the mean of the two classes, which an AUROC of 0 for the third would bound
    assert table[table.source == "x"].covid.mean() < 1 / 3


def test_a_class_of_too_few_people_is_trained_on_and_not_asked(sources, demo_params: Params, tmp_path) -> None:
    records, store, steps = sources
    in_val = next(f"v{k}" for k in range(100) if train_or_val(pd.Series([f"v{k}"]))[0] == "val")
    moved = records.index[(records.source == "y") & (records.label == "covid")][0]
    records = records.assign(group_id=records.group_id.where(records.index != moved, in_val))
    training = demo_params.training.model_copy(update={"model": "crnn", "epochs": 2, "batch_size": 32})
    evaluation = demo_params.evaluation.model_copy(update={"bootstrap": 100})
    figures = leave_one_out(records, store, steps, training, evaluation, tmp_path, tmp_path / "ledger.csv")
    x = figures["sources"]["x"]
    assert x["covid_vs_normal"]["reason"] == "without x 8 groups of covid are left to train on, fewer than 10"
    assert x["trained_on"]["covid"] == 9
    assert x["normal_vs_pneumonia"]["n"] == 40


def test_one_source_alone_cannot_be_left_out(sources, demo_params: Params, tmp_path) -> None:
    records, store, steps = sources
    alone = records[records.source == "x"]
    with pytest.raises(CxrflowError, match="two sources or more"):
        leave_one_out(alone, store, steps, demo_params.training, demo_params.evaluation, tmp_path, tmp_path / "l.csv")
