"""The evaluation of a split: what it writes, for two classes and for four, and what it refuses first."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from cxrflow.bundle import Bundle, Network
from cxrflow.bundle_files import read_description, seen_rows, write_bundle
from cxrflow.dataset import Dataset
from cxrflow.errors import CxrflowError
from cxrflow.evaluation import evaluate as module
from cxrflow.evaluation.evaluate import evaluate_split
from cxrflow.evaluation.ledger import LEDGER, test_set_hash, times_looked_at
from cxrflow.evaluation.metrics import evaluate
from cxrflow.evaluation.operating import choose_left_out, figures_at_points
from cxrflow.evaluation.plots import CONFUSION
from cxrflow.evaluation.predictions import read_predictions
from cxrflow.evaluation.tables import print_figures
from cxrflow.files import write_whole
from cxrflow.model_card import NOT_MEASURED
from cxrflow.models import find_model
from cxrflow.params import Evaluation, Params
from cxrflow.predictor import Predictor
from cxrflow.state import read_sealed
from cxrflow.statistics.figure import to_json
from cxrflow.statistics.resampling import Bootstrap
from cxrflow.statistics.scored import Scored
from cxrflow.task import Task

SUMMARY = {
    *("macro_auroc", "macro_auroc_low", "macro_auroc_high", "baseline_macro_auroc", "accuracy", "ece", "n", "groups"),
    *("positive_sensitivity", "positive_specificity", "sensitivity_at_specificity"),
}


@pytest.fixture(scope="session")
def quick(demo_params: Params) -> Evaluation:
    return demo_params.evaluation.model_copy(update={"bootstrap": 20})


@pytest.fixture
def trained(tiny: Callable, tmp_path: Path) -> Callable[..., tuple[Path, Dataset]]:
    """Makes a network with random weights of a task, in a bundle, and 90 images: a third each train, val and test."""

    def make(task: Task) -> tuple[Path, Dataset]:
        dataset, steps = tiny(90, task)
        known = {"view": "PA", "sex": None, "age": np.arange(90.0), "day": np.nan, "paediatric": False}
        split = np.array(["train", "val", "test"])[np.arange(90) % 3]
        source = np.where(np.arange(90) % 2, "a", "b")
        records = dataset.records.assign(split=split, source=source, left_out=None, **known)
        torch.manual_seed(0)
        network = find_model("crnn").build(steps.channels, len(task.order))
        network.train()(torch.randn(8, steps.channels, 32, 32))  # some statistics for batch normalisation
        bundle = Bundle(
            cxrflow="0",
            task=task,
            networks=(Network(model="crnn", images=steps, mean=0.4, std=0.2, temperature=1.0, epoch=0, validation={}),),
            sources={},
            digests={},
        )
        write_bundle(tmp_path / "bundle", [network], bundle, seen_rows(records[records.split != "test"]))
        return tmp_path / "bundle", replace(dataset, records=records)

    return make


def check(out: Path, figures: dict[str, Any], test: Dataset, scores: np.ndarray) -> None:
    """The files of an evaluation fit its figures and one another."""
    order, positive = test.task.order, test.task.positive
    written = read_sealed(out / "metrics.json", "run it")
    assert written == to_json(figures)
    assert written["n"] == len(test) == 30
    assert set(written["test"]) == {"macro_auroc", "accuracy", *order}
    table = read_predictions(out / "predictions.csv", test.task)
    assert table.image_id.tolist() == test.records.image_id.tolist()
    assert table[list(order)].to_numpy() == pytest.approx(scores, rel=1e-8)
    assert table.prediction.tolist() == [order[c] for c in scores.argmax(axis=1)]
    summary = json.loads((out / "summary.json").read_text())
    assert set(summary) == SUMMARY
    assert summary["macro_auroc"] == written["test"]["macro_auroc"]["value"]
    assert summary["positive_sensitivity"] == written["test"][positive]["sensitivity"]["value"]
    at = written["operating_points"]["specificity"]["sensitivity"]
    assert summary["sensitivity_at_specificity"] == at["value"]
    assert set(json.loads((out / "curves.json").read_text())) == {*order, "sha256"}
    drawn = {f"confusion-{key}" for key in CONFUSION} | {f"curves-{name}" for name in order}
    drawn |= {"reliability", "abstention", "within_sources"}
    assert {path.stem for path in (out / "plots").iterdir()} == drawn
    card = (out / "model-card.md").read_text()
    assert NOT_MEASURED not in card
    assert f"{test.task.positive_name} sensitivity" in card
    assert times_looked_at(out / LEDGER, written["test_set"]["hash"]) == 1


def test_a_split_is_evaluated_whole(
    four: Task, trained: Callable, quick: Evaluation, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    folder, dataset = trained(four)
    chosen = choose_left_out(folder, dataset, quick, tmp_path / "val.json")
    assert chosen == read_description(folder)
    left, val = json.loads((tmp_path / "val.json").read_text()), dataset.split("val")
    scores = Predictor(folder).score(val)
    of_classes = [roc_auc_score(val.labels == name, scores[:, c]) for c, name in enumerate(four.order)]
    assert left["macro_auroc"] == pytest.approx(np.mean(of_classes))
    assert left["macro_auroc_low"] < left["macro_auroc"] < left["macro_auroc_high"]
    assert (left["n"], left["groups"]) == (len(val), val.records.group_id.nunique())
    assert left["images"] == test_set_hash(val.records)[:12]
    assert set(chosen.prediction_sets.least) == set(four.order)
    predictor, test = Predictor(folder), dataset.split("test")
    write_whole(tmp_path / "evaluation" / "plots" / "curves-of-a-class-of-before.svg", b"<svg></svg>")
    figures = evaluate_split(predictor, dataset, quick, tmp_path / "evaluation")
    check(tmp_path / "evaluation", figures, test, predictor.score(test))
    print_figures(figures, four)
    printed = capsys.readouterr().out
    assert all(four.names[name] in printed for name in four.order)
    for width in (80, 120):
        monkeypatch.setenv("COLUMNS", str(width))
        print_figures(figures, four)
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= width
        assert not [line for line in lines if re.search(r"\([\d.]+( to)? *│", line)]  # no interval is broken


def test_the_prevalence_moves_restated_figures_alone(
    two: Task, trained: Callable, quick: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_draw", lambda *_: None)  # pictures take long and show no restated figure
    folder, dataset = trained(two)
    choose_left_out(folder, dataset, quick)
    files, found = [], []
    for prevalence in (0.02, 0.3):
        out = tmp_path / f"at {prevalence}"
        evaluate_split(Predictor(folder), dataset, quick.model_copy(update={"prevalence": prevalence}), out)
        files.append({name: (out / name).read_bytes() for name in ("predictions.csv", "summary.json")})
        found.append(read_sealed(out / "metrics.json", "run it"))
    assert files[0] == files[1]
    assert [figures.pop("prevalence") for figures in found] == [0.02, 0.3]
    points = [figures["operating_points"].values() for figures in found]
    restated = [[point.pop("ppv_at_prevalence")["value"] for point in of] for of in points]
    assert all(low <= high for low, high in zip(*restated, strict=True))
    assert restated[0] != restated[1]
    for of in points:
        for point in of:
            del point["npv_at_prevalence"]
    assert found[0] == found[1]


def test_a_bundle_of_another_question_is_refused_before_any_scoring(
    two: Task, task: Task, trained: Callable, quick: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, dataset = trained(two)
    predictor = Predictor(folder)
    monkeypatch.setattr(predictor, "scores", lambda images: pytest.fail("scored"))
    labels = np.where(dataset.labels == "flu", "flu", "clear")
    other = replace(dataset, task=task, records=dataset.records.assign(label=labels))
    with pytest.raises(CxrflowError, match="classes are"):
        evaluate_split(predictor, other, quick, tmp_path / "evaluation")
    assert not (tmp_path / "evaluation").exists()


def test_another_order_of_the_classes_gives_the_same_figures(any_task: Task, trained: Callable) -> None:
    folder, dataset = trained(any_task)
    reversed_classes = {"classes": dict(reversed(any_task.classes.items()))}
    backwards = Task.model_validate(any_task.model_dump() | reversed_classes)
    predictor, found = Predictor(folder), []
    for task in (any_task, backwards):
        test = replace(dataset, task=task).split("test")
        scored = Scored(task, test.records, predictor.score(test), Bootstrap(100, 0))
        found.append((evaluate(scored)["test"], figures_at_points(scored, predictor.bundle, 0.1)))
    assert list(found[1][0])[2:] == list(reversed(list(found[0][0])[2:]))
    assert [found[0][0][name] for name in any_task.order] == [found[1][0][name] for name in any_task.order]
    assert found[0][0]["accuracy"] == found[1][0]["accuracy"]
    assert found[0][1] == found[1][1]
