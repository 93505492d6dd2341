"""A bundle on disk: read as written, refused where it is not what it says, and scored under the right names."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from cxrflow.bundle import Bundle, Network, OperatingPoint, PredictionSets
from cxrflow.bundle_files import (
    DESCRIPTION,
    THRESHOLDS,
    patient_digest,
    read_description,
    read_trained_on,
    seen_rows,
    weights_file,
    write_bundle,
    write_description,
)
from cxrflow.bundle_networks import read_bundle
from cxrflow.dataset import Dataset
from cxrflow.errors import CxrflowError
from cxrflow.models import MODELS
from cxrflow.params import Images, Params
from cxrflow.predictor import Predictor
from cxrflow.task import Task
from cxrflow.training.train import train

Tiny = Callable[..., tuple[Dataset, Images]]


def test_the_mean_of_several_networks_is_sharpened(written: Path) -> None:
    """0.5 and 0.3 have the mean 0.4; squared, 0.16, 0.25 and 0.01 of 0.42."""
    by_fold = np.array([[[0.5, 0.4, 0.1]], [[0.3, 0.6, 0.1]]])
    bundle, _ = read_bundle(written)
    assert bundle.pooled(by_fold) == pytest.approx(np.array([[0.4, 0.5, 0.1]]))
    sharper = bundle.model_copy(update={"sharpness": 2.0})
    assert sharper.pooled(by_fold) == pytest.approx(np.array([[0.16, 0.25, 0.01]]) / 0.42)
    assert sharper.pooled(by_fold[:, 0]) == pytest.approx(np.array([0.16, 0.25, 0.01]) / 0.42)
    assert np.isnan(sharper.pooled(by_fold * np.nan)).all()


@pytest.fixture(scope="session")
def written(demo_params: Params, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with an operating point and prediction sets; not to be changed."""
    torch.manual_seed(0)
    task = demo_params.task
    point = OperatingPoint(wanted=0.98, threshold=0.5, sensitivity=0.9, specificity=0.98)
    bundle = Bundle(
        cxrflow="0",
        task=task,
        thresholds={"specificity": point},
        networks=(
            Network(
                model="crnn",
                images=demo_params.images,
                mean=0.5,
                std=0.25,
                temperature=1.5,
                epoch=3,
                validation={"macro_auroc": 0.9},
            ),
        ),
        sources={"a": 1},
        prediction_sets=PredictionSets(coverage=0.9, least=dict(zip(task.order, (0.1, 0.2, 0.3), strict=True))),
        digests={"data": "d", "params": "p", "code": "c"},
    )
    used = pd.DataFrame(
        {"split": ["train"], "content_hash": ["ab"], "near_hash": ["cd"], "patient_id": ["hospital:Jane Doe"]}
    )
    folder = tmp_path_factory.mktemp("written") / "bundle"
    write_bundle(folder, [MODELS["crnn"].build(1, 3)], bundle, seen_rows(used))
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return Path(shutil.copytree(written, tmp_path / "bundle"))


def change(file: Path, **values: Any) -> None:
    """Set keys of a JSON file; None removes one."""
    changed = json.loads(file.read_text()) | values
    file.write_text(json.dumps({key: value for key, value in changed.items() if value is not None}))


def to_format_1(folder: Path) -> None:
    """As bundles were before tasks: names of classes, and what was chosen on val in the same file."""
    order = read_description(folder).task.order
    chosen = json.loads((folder / THRESHOLDS).read_text()) | {"weights": None}
    (network,) = json.loads((folder / DESCRIPTION).read_text())["networks"]
    digests = {"weights": network.pop("weights"), "trained_on": read_description(folder).digests["trained_on"]}
    network = {key: value for key, value in network.items() if key not in ("fold", "frozen", "graph")}
    change(
        folder / DESCRIPTION, format=1, classes=order, task=None, networks=None, digests=digests, **network, **chosen
    )
    (folder / THRESHOLDS).unlink()


def test_a_bundle_of_before_passports_says_that_they_were_not_recorded(folder: Path) -> None:
    networks = json.loads((folder / DESCRIPTION).read_text())["networks"]
    for network in networks:
        del network["start"]
    change(folder / DESCRIPTION, networks=networks)
    assert read_description(folder).starts == [None]
    change(folder / DESCRIPTION, pretrained_on=["ImageNet-1k"])
    (start,) = read_description(folder).starts
    assert start is not None
    assert (start.trained_on, start.complete, start.licence) == (("ImageNet-1k",), False, None)
    assert "not recorded" in start.name


def test_read_as_written(written: Path, demo_params: Params) -> None:
    images = torch.randn(1, 1, 64, 64)
    bundle, (network,) = read_bundle(written)
    assert (bundle.networks[0].temperature, bundle.task, bundle.networks[0].epoch) == (1.5, demo_params.task, 3)
    assert bundle == read_description(written)
    with torch.inference_mode():
        assert torch.equal(network(images), read_bundle(written)[1][0](images))
    assert "diagnosis" in json.loads((written / DESCRIPTION).read_text())["purpose"]


def test_what_was_chosen_on_val_lies_apart(folder: Path) -> None:
    """Another choice leaves the description of the network as it was, to the byte."""
    before, bundle = (folder / DESCRIPTION).read_bytes(), read_description(folder)
    assert not {"thresholds", "prediction_sets"} & set(json.loads(before))
    least = bundle.thresholds["specificity"].model_copy(update={"threshold": 0.25})
    write_description(folder, bundle.model_copy(update={"thresholds": {"specificity": least}}))
    assert (folder / DESCRIPTION).read_bytes() == before
    assert read_description(folder).thresholds["specificity"].threshold == 0.25


def test_without_a_choice_there_are_no_operating_points(folder: Path) -> None:
    (folder / THRESHOLDS).unlink()
    bundle = read_bundle(folder)[0]
    assert (bundle.thresholds, bundle.prediction_sets) == ({}, None)


def test_prediction_sets_are_by_name(written: Path) -> None:
    sets, order = read_description(written).prediction_sets, read_description(written).task.order
    assert sets is not None
    probabilities = np.array([[0.15, 0.15, 0.7]])
    assert sets.held(probabilities[None], order).tolist() == [[True, False, True]]
    assert sets.held(probabilities[None, :, ::-1], order[::-1]).tolist() == [[True, False, True]]


def test_format_1_is_read_as_the_task_that_it_answers(folder: Path, demo_params: Params) -> None:
    to_format_1(folder)
    bundle = read_bundle(folder)[0]
    assert bundle.task == demo_params.task
    assert bundle.thresholds["specificity"].prevalence is None
    assert bundle.prediction_sets is not None
    change(folder / DESCRIPTION, thresholds=None, prediction_sets=None)  # as before there were any
    assert read_description(folder).thresholds == {}
    for classes in (["covid", "flue"], ["covid"], "covid", None):
        change(folder / DESCRIPTION, classes=classes)
        with pytest.raises(CxrflowError, match=r"not a bundle of this version \(task"):
            read_description(folder)


@pytest.mark.parametrize("former", [False, True], ids=["format 2", "format 1"])
def test_a_bundle_of_another_order_of_classes_is_scored_under_the_right_names(
    former: bool, tiny: Tiny, demo_params: Params, tmp_path: Path
) -> None:
    task = demo_params.task
    turned = Task(classes=dict(reversed(task.classes.items())), positive=task.positive, names=task.names)
    dataset, steps = tiny(90)
    still = demo_params.training.augmentation.model_copy(update={"flip": 0.0})
    update = {"model": "crnn", "epochs": 3, "batch_size": 16, "learning_rate": 0.002, "augmentation": still}
    how = demo_params.training.model_copy(update=update)
    train(Dataset.join(dataset.records, dataset.store, turned), steps, how, tmp_path)
    if former:
        to_format_1(tmp_path / "bundle")
    predictor = Predictor(tmp_path / "bundle")
    assert predictor.bundle.task == turned
    scores = predictor.score(dataset)
    assert (scores.argmax(axis=1) == dataset.truth).mean() > 0.9
    assert np.array_equal(scores, predictor.scores(dataset.pixels())[:, ::-1])


def test_a_bundle_of_another_question_is_refused_before_any_scoring(
    written: Path, tiny: Tiny, demo_params: Params, two_classes: Task
) -> None:
    predictor = Predictor(written)
    predictor.networks[0].module.register_forward_pre_hook(lambda *_: pytest.fail("it was scored"))
    classes = demo_params.task.classes
    same_names = [
        demo_params.task.model_copy(update={"positive": demo_params.task.order[1]}),
        Task(classes=classes | {demo_params.task.order[0]: ("tuberculosis",)}, positive=demo_params.task.positive),
    ]
    for task in (two_classes, *same_names):
        with pytest.raises(
            CxrflowError, match=f"classes are {demo_params.task.order[0]} .* name a bundle of this task"
        ):
            predictor.score(tiny(12, task)[0])


@pytest.mark.parametrize("number", [4, 99])
def test_a_newer_format_is_refused_before_anything_else(number: int, folder: Path) -> None:
    change(folder / DESCRIPTION, format=number, surprise=1)
    (folder / weights_file(0)).unlink()
    for read in (read_description, read_bundle, Predictor):
        with pytest.raises(CxrflowError, match=f"format {number} is newer than this version's 3; update cxrflow"):
            read(folder)


def test_no_patient_is_named(written: Path) -> None:
    assert "Jane" not in (written / "trained_on.csv").read_text()
    assert read_trained_on(written).patient[0] == patient_digest("hospital:Jane Doe")
    assert patient_digest(None) is None


def test_damaged_weights_are_one_clear_sentence(folder: Path, tmp_path: Path) -> None:
    for nothing in (tmp_path, folder / weights_file(0)):
        with pytest.raises(CxrflowError, match="no bundle there"):
            read_bundle(nothing)
    weights = (folder / weights_file(0)).read_bytes()
    (folder / weights_file(0)).write_bytes(weights[: len(weights) // 2])
    with pytest.raises(CxrflowError, match="damaged"):
        read_bundle(folder)
    flipped = bytearray(weights)
    flipped[-1] ^= 1
    (folder / weights_file(0)).write_bytes(bytes(flipped))
    with pytest.raises(CxrflowError, match=r"not those that bundle\.json describes"):
        read_bundle(folder)


def test_a_task_of_another_number_of_classes_does_not_fit_the_weights(folder: Path, two_classes: Task) -> None:
    (folder / THRESHOLDS).unlink()
    change(folder / DESCRIPTION, task=two_classes.model_dump())
    with pytest.raises(CxrflowError, match="weights are absent, damaged or of another network"):
        read_bundle(folder)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"surprise": 1}, "surprise"),
        ({"format": "3"}, "format"),
        ({"format": 0}, "format"),
        ({"networks": []}, "networks"),
        ({"task": {"classes": {"a": ["mass"]}, "positive": "a"}}, r"task\.classes.*2 to"),
    ],
)
def test_a_description_that_is_none_is_one_clear_sentence(folder: Path, values: dict[str, Any], said: str) -> None:
    change(folder / DESCRIPTION, **values)
    with pytest.raises(CxrflowError, match=rf"bundle\.json: not a bundle of this version \(.*{said}") as stopped:
        read_description(folder)
    assert "\n" not in str(stopped.value)


@pytest.mark.parametrize("file", [DESCRIPTION, THRESHOLDS])
@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff", b"", b"[" * 100_000, b'{"a": ' * 100_000, b"9" * 5000])
def test_a_file_that_is_no_json_object_is_named(folder: Path, file: str, content: bytes) -> None:
    (folder / file).write_bytes(content)
    with pytest.raises(CxrflowError, match=rf"{file}: damaged, not a JSON object"):
        read_description(folder)


def test_prediction_sets_of_other_classes_are_refused(folder: Path, demo_params: Params) -> None:
    first, *others = demo_params.task.order
    for least in (dict.fromkeys(others, 0.1), dict.fromkeys([first, *others, "another"], 0.1)):
        change(folder / THRESHOLDS, prediction_sets={"coverage": 0.9, "least": least})
        with pytest.raises(CxrflowError, match=f"prediction_sets must name exactly {first}, {', '.join(others)}"):
            read_description(folder)
    change(folder / THRESHOLDS, prediction_sets=None, thresholds={"cost_ratio": {"wanted": 10}})
    with pytest.raises(CxrflowError, match=r"thresholds\.cost_ratio"):
        read_description(folder)
