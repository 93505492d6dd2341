"""Two bundles on the same images: the images that count, looks that are entered, and what is refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from cxrflow.bundle import Bundle, Network, OperatingPoint
from cxrflow.bundle_files import seen_rows, write_bundle
from cxrflow.dataset import Dataset
from cxrflow.errors import CxrflowError
from cxrflow.evaluation.differences import SAME_WEIGHTS
from cxrflow.evaluation.operating import choose_left_out
from cxrflow.files import Root
from cxrflow.images.registry import prepare_image
from cxrflow.models import MODELS
from cxrflow.params import Params, Sources
from cxrflow.predictor import Predictor
from cxrflow.reading import read_radiograph
from cxrflow.studies.compare import Comparison, compare_collections, compare_stored, print_comparison
from cxrflow.task import Task

Two = tuple[Comparison, Dataset]
#: Threshold of both bundles' operating point: below 1 / 4, the mean probability of four classes.
AT = 0.2


def bundle_of(params: Params, seed: int, seen: pd.DataFrame, folder: Path, **changes: Any) -> Predictor:
    """An untrained network's bundle, opened."""
    torch.manual_seed(seed)
    point = OperatingPoint(wanted=0.9, threshold=AT, sensitivity=0.5, specificity=0.9)
    steps = changes.pop("images", params.images)
    about = Network(model="crnn", images=steps, mean=0.5, std=0.2, temperature=1.0, epoch=0, validation={})
    bundle = Bundle(
        **{"cxrflow": "0", "task": params.task, "networks": (about,), "sources": {}, "digests": {}}
        | {"thresholds": {"specificity": point}}
        | changes
    )
    network = MODELS["crnn"].build(params.images.channels, len(bundle.task.order))
    write_bundle(folder, [network], bundle, seen_rows(seen))
    return Predictor(folder)


@pytest.fixture
def two(
    short: Callable[..., Params], drawn_set: Callable[..., Dataset], engine: Any, tmp_path: Path
) -> Callable[[Task], Two]:
    """Two small networks, of which the second has seen the first six images, and thirty images."""

    def make(task: Task) -> Two:
        params, classes = short(task), len(task.order)
        plan = [("x", task.order[k % classes], 1) for k in range(30)]
        hashes = ["".join(f"{b:02x}" for b in np.random.default_rng(k).bytes(32)) for k in range(30)]
        dataset = drawn_set(task, plan, split="test", near_hash=hashes)
        first = bundle_of(params, 1, dataset.records[:0], tmp_path / "1")
        second = bundle_of(params, 2, dataset.records[:6], tmp_path / "2")
        out, ledger = tmp_path / "out", tmp_path / "ledger.csv"
        return Comparison(first, second, params.evaluation, engine, out, ledger), dataset

    return make


@pytest.fixture
def stored(two: Callable[[Task], Two], task: Task) -> Two:
    return two(task)


@pytest.fixture(params=["task", "two_classes", "four_classes"])
def any_stored(request: pytest.FixtureRequest, two: Callable[[Task], Two]) -> Two:
    return two(request.getfixturevalue(request.param))


def test_images_that_either_has_seen_are_left_out_and_both_looks_are_entered(
    any_stored: Two, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    comparison, dataset = any_stored
    task = dataset.task
    result = compare_stored(comparison, dataset, Root(tmp_path))
    assert result["n"] == 24
    assert (tmp_path / "out" / "comparison.json").exists()
    ledger = pd.read_csv(tmp_path / "ledger.csv")
    assert ledger.bundle.tolist() == [p.bundle.digests["weights"] for p in (comparison.a, comparison.b)]
    assert len(set(ledger.test_set_hash)) == 1
    left = dataset.where(np.arange(30) >= 6)
    by_hand = comparison.a.scores(left.pixels())[left.labels == task.positive, task.positive_column]
    assert result["figures"]["sensitivity"]["a"].value == np.mean(by_hand >= AT)
    print_comparison(result, task)
    printed = capsys.readouterr().out
    assert "B - A" in printed
    assert task.positive_name in printed
    assert SAME_WEIGHTS not in printed
    copied = {name: each | {"weights": "f" * 64} for name, each in result["bundles"].items()}
    print_comparison(result | {"bundles": copied}, task)
    assert SAME_WEIGHTS in " ".join(capsys.readouterr().out.split())


def test_the_order_of_a_bundles_classes_plays_no_part(stored: Two, tmp_path: Path) -> None:
    """The second bundle is the first one, its outputs in another order: not an image is scored otherwise."""
    comparison, dataset = stored
    task, bundle, network = dataset.task, comparison.a.bundle, comparison.a.networks[0].module
    turned = task.model_copy(update={"classes": {name: task.classes[name] for name in reversed(task.order)}})
    layers = [m for m in network.modules() if isinstance(m, torch.nn.Linear) and m.out_features == len(task.order)]
    with torch.no_grad():
        for parameter in (layers[-1].weight, layers[-1].bias):
            parameter.copy_(parameter.flip(0))
    other = bundle.model_copy(update={"task": Task.model_validate(turned.model_dump())})
    write_bundle(tmp_path / "turned", [network], other, seen_rows(dataset.records[:0]))
    a, b = Predictor(tmp_path / "1"), Predictor(tmp_path / "turned")
    assert b.bundle.task.order == tuple(reversed(task.order))
    found = compare_stored(replace(comparison, a=a, b=b), dataset, Root(tmp_path))
    for figures in found["figures"].values():
        assert figures["difference"].value == pytest.approx(0, abs=1e-9)


def test_another_question_is_refused_in_one_sentence_before_any_work(
    stored: Two, two_classes: Task, short: Callable[..., Params], tmp_path: Path
) -> None:
    comparison, dataset = stored
    other = bundle_of(short(two_classes), 3, dataset.records[:0], tmp_path / "3")
    with pytest.raises(CxrflowError, match=r"classes are .*pneumothorax"):
        replace(comparison, b=other)
    both = replace(comparison, a=other, b=other)
    with pytest.raises(CxrflowError, match=r"classes are .*pneumothorax"):
        compare_stored(both, dataset, Root(tmp_path))
    assert not comparison.ledger.exists()


def test_nothing_left_is_one_clear_sentence(stored: Two, tmp_path: Path) -> None:
    comparison, dataset = stored
    with pytest.raises(CxrflowError, match="have seen every image"):
        compare_stored(comparison, dataset.where(np.arange(6)), Root(tmp_path))


def on_disk(dataset: Dataset, root: Path) -> Dataset:
    """The data set whose records name files, and the files of twice the size."""
    (root / "x").mkdir()
    files = [f"x/{k}.png" for k in range(len(dataset))]
    for file, picture in zip(files, dataset.pixels(), strict=True):
        cv2.imwrite(str(root / file), cv2.resize(picture, (80, 80)))
    return Dataset.join(dataset.records.assign(path=files, turned=False), dataset.store, dataset.task)


@pytest.fixture
def larger(stored: Two, short: Callable[..., Params], tmp_path: Path) -> Two:
    """The second bundle takes 40 pixels where 32 are stored, and has seen none of the images."""
    comparison, dataset = stored
    params = short(dataset.task)
    steps = params.images.model_copy(update={"size": 40})
    second = bundle_of(params, 2, dataset.records[:0], tmp_path / "larger", images=steps)
    return replace(comparison, b=second), dataset


def test_a_bundle_of_other_image_steps_gets_images_of_its_own(larger: Two, tmp_path: Path) -> None:
    """One file cannot be read and counts for neither."""
    comparison, dataset = larger
    dataset = on_disk(dataset, tmp_path)
    (tmp_path / "x/7.png").write_bytes(b"no picture")
    result = compare_stored(comparison, dataset, Root(tmp_path))
    assert result["n"] == 29
    left = dataset.where(np.arange(30) != 7)
    steps = comparison.b.bundle.steps[0]
    pictures = [prepare_image(read_radiograph(tmp_path / file), steps).image for file in left.records.path]
    positive, column = left.labels == dataset.task.positive, dataset.task.positive_column
    by_hand = np.mean(comparison.b.scores(np.stack(pictures))[positive, column] >= AT)
    assert result["figures"]["sensitivity"]["b"].value == pytest.approx(by_hand)


def test_where_the_files_are_gone_is_one_clear_sentence(larger: Two, tmp_path: Path) -> None:
    comparison, dataset = larger
    gone = dataset.records.assign(path=[f"x/{k}.png" for k in range(30)], turned=False)
    with pytest.raises(CxrflowError, match="are the files there"):
        compare_stored(comparison, Dataset.join(gone, dataset.store, dataset.task), Root(tmp_path))
    assert not comparison.ledger.exists()  # no look at a test set was recorded


def test_other_collections_are_labelled_by_the_task_of_the_bundles(
    two: Callable[[Task], Two], two_classes: Task, own: Callable[..., Path], params: Params
) -> None:
    """Of a user's own collection whose labels are findings, those of another task are in no class."""
    comparison, _ = two(two_classes)
    labels = ["no finding", "pneumothorax", "pneumonia"]
    rows = [(f"{k}.png", labels[k % 3], f"p{k}") for k in range(12)]
    root = own(rows, {row[0]: seed for seed, row in enumerate(rows)})
    result = compare_collections(comparison, Sources(root=str(root), collections=None), params.metadata)
    assert result["n"] == 8
    assert result["figures"]["positive_auroc"]["a"].n == 8


def test_what_is_chosen_on_val_is_written_into_the_bundle_and_weights_stay(stored: Two, params: Params) -> None:
    comparison, dataset = stored
    first, task = comparison.a, dataset.task
    split = np.where(np.arange(30) < 20, "val", "test")
    val = dataset.where(np.arange(20))
    scores, positive = first.score(val)[:, task.positive_column], val.labels == task.positive
    chosen = choose_left_out(first.folder, dataset.divided(split), params.evaluation)
    again = Predictor(first.folder).bundle
    assert again == chosen
    assert again.digests == first.bundle.digests
    for name in ("specificity", "cost_ratio"):
        point = again.thresholds[name]
        assert point.sensitivity == np.mean(scores[positive] >= point.threshold)
        assert point.specificity == np.mean(scores[~positive] < point.threshold)
    assert again.thresholds["specificity"].specificity >= params.evaluation.specificity
    assert again.prediction_sets is not None
    assert again.prediction_sets.least.keys() == set(task.order)
    assert again.prediction_sets.least[task.positive] == 0  # seven patients are too few to exclude it at 0.9
