"""A frozen backbone: its features are computed once, and its head is scikit-learn's."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from cxrflow.bundle_networks import read_bundle
from cxrflow.dataset import Dataset
from cxrflow.errors import CxrflowError
from cxrflow.evaluation.operating import choose_left_out
from cxrflow.metadata.groups import folds_of
from cxrflow.models import MODELS
from cxrflow.network import LoadedNetwork
from cxrflow.params import Images, Params, Training
from cxrflow.params_file import load_params
from cxrflow.predictor import Predictor
from cxrflow.studies.cross_validate import cross_validate
from cxrflow.studies.leave_one_out import leave_one_out
from cxrflow.task import Task
from cxrflow.training import features as cache
from cxrflow.training.checks import check_freeze
from cxrflow.training.head import CS, image_weights
from cxrflow.training.train import train

Tiny = Callable[..., tuple[Dataset, Images]]
OTHER = {"positive_share": 0.5}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with weights of the small network, its last layer for five classes."""
    torch.manual_seed(4)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_file(MODELS["small"].architecture(1, 5).state_dict(), path)
    return path


@pytest.fixture
def frozen(training: Training, weights: Path) -> Callable[..., Training]:
    """The recipe for a head without resampling, with some changes."""

    def make(**changes: object) -> Training:
        values = training.model_dump() | {"freeze": "backbone", "start": str(weights), "positive_share": None} | changes
        return Training.model_validate(values)

    return make


@pytest.fixture
def bundle(tiny: Tiny, frozen: Callable[..., Training], tmp_path: Path) -> Path:
    """A bundle to start from, whose scale is its own, whatever the training images."""
    train(*tiny(), frozen(), tmp_path / "first")
    return tmp_path / "first" / "bundle"


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """Counts the images whose features are computed; stops before image ``most``."""
    counted, compute = SimpleNamespace(images=0, most=10**9), LoadedNetwork.features

    def count(self: LoadedNetwork, images: np.ndarray) -> np.ndarray:
        if counted.images + len(images) > counted.most:
            raise KeyboardInterrupt
        counted.images += len(images)
        return compute(self, images)

    monkeypatch.setattr(LoadedNetwork, "features", count)
    return counted


def features_by_hand(weights: Path, dataset: Dataset) -> np.ndarray:
    """The features of all images, float32 (n, 256), normalised by the training images."""
    learned = dataset.split("train").pixels() / 255
    network = MODELS["small"].architecture(1, 5)
    network.load_state_dict(load_file(weights))
    pixels = torch.tensor((dataset.pixels() / 255 - learned.mean()) / learned.std()).float()
    with torch.inference_mode():
        return network[:-1].eval()(pixels[:, None]).numpy()


@pytest.mark.parametrize("two", [False, True])
def test_the_bundle_answers_as_scikit_learn_alone(
    tiny: Tiny, two: bool, two_classes: Task, frozen: Callable[..., Training], weights: Path, tmp_path: Path
) -> None:
    dataset, steps = tiny(150, two_classes) if two else tiny(150)
    bundle = train(dataset, steps, frozen(), tmp_path)
    assert bundle is not None
    features, learned = features_by_hand(weights, dataset), (dataset.records.split == "train").to_numpy()
    x, y = features[learned].astype(float), dataset.truth[learned]

    def alone(c: float) -> object:
        return make_pipeline(StandardScaler(), LogisticRegression(C=c, tol=1e-6, max_iter=5000))

    folds = PredefinedSplit(folds_of(dataset.groups[learned], 5, "head"))
    losses = [log_loss(y, cross_val_predict(alone(c), x, y, cv=folds, method="predict_proba")) for c in CS]
    (row,) = pd.read_csv(tmp_path / "history.csv").to_dict("records")
    assert row["head_c"] == pytest.approx(CS[int(np.argmin(losses))])
    expected = alone(row["head_c"]).fit(x, y).predict_proba(features.astype(float))
    (network,) = bundle.networks
    calibrated = expected ** (1 / network.temperature)
    calibrated /= calibrated.sum(axis=1, keepdims=True)
    predictor = Predictor(tmp_path / "bundle")
    assert np.abs(predictor.score(dataset) - calibrated).max() < 1e-5
    right = expected[~learned].argmax(axis=1) == dataset.truth[~learned]
    assert right.mean() > 0.9
    assert row["epoch"] == network.epoch == 0
    assert row["train_loss"] == pytest.approx(log_loss(y, expected[learned]), rel=1e-4)
    assert row["val_loss"] == pytest.approx(log_loss(dataset.truth[~learned], expected[~learned]), rel=1e-4)
    assert network.validation["macro_auroc"] == pytest.approx(row["val_macro_auroc"], abs=1e-5)
    heat = predictor.heat_maps(dataset.image(0), dataset.task.order[0])[0]
    assert heat.shape == (32, 32)
    assert (tmp_path / "checkpoints").is_dir()  # an output of the stage
    card = (tmp_path / "bundle" / "model-card.md").read_text()
    assert "\n- Training: The last layer alone is fitted, as a logistic regression; no epoch is chosen.\n- Fair" in card


def test_the_backbone_stays_as_it_was(
    tiny: Tiny, frozen: Callable[..., Training], weights: Path, tmp_path: Path
) -> None:
    train(*tiny(), frozen(), tmp_path)
    _, (module,) = read_bundle(tmp_path / "bundle")
    before = load_file(weights)
    for name, tensor in module.state_dict().items():
        assert name.startswith("9.") or torch.equal(tensor, before[name]), name


def test_no_val_image_enters_the_head(tiny: Tiny, frozen: Callable[..., Training], tmp_path: Path) -> None:
    dataset, steps = tiny(90)
    train(dataset, steps, frozen(), tmp_path / "one")
    val = (dataset.records.split == "val").to_numpy()
    images, labels = dataset.store.images.copy(), dataset.records.label.to_numpy(object).copy()
    images[val] = 255 - images[val]
    labels[val] = np.roll(labels[val], 1)
    hashes = np.where(val, "f" + dataset.records.content_hash.str[1:], dataset.records.content_hash)
    changed = replace(
        dataset,
        stores=(replace(dataset.store, images=images),),
        records=dataset.records.assign(label=labels, content_hash=hashes),
    )
    train(changed, steps, frozen(), tmp_path / "two")
    files = [(tmp_path / name / "bundle" / "model.safetensors").read_bytes() for name in ("one", "two")]
    assert files[0] == files[1]
    scores = [pd.read_csv(tmp_path / name / "history.csv").val_macro_auroc[0] for name in ("one", "two")]
    assert scores[0] != scores[1]


def test_another_head_on_the_same_images_computes_no_feature(
    tiny: Tiny, frozen: Callable[..., Training], bundle: Path, computed: SimpleNamespace, tmp_path: Path
) -> None:
    dataset, steps = tiny()
    dataset = replace(dataset, records=dataset.records.assign(paediatric=False, left_out=None))
    there = tmp_path / "features"
    train(dataset, steps, frozen(start=str(bundle)), tmp_path / "one", features=there)
    assert computed.images == len(dataset)
    train(dataset, steps, frozen(start=str(bundle), **OTHER), tmp_path / "two", features=there)
    train(dataset, steps, frozen(start=str(bundle), folds=3), tmp_path / "three", features=there)
    assert computed.images == len(dataset)
    train(dataset, steps.model_copy(update={"channels": 3}), frozen(start=str(bundle)), tmp_path / "4", features=there)
    assert computed.images == 2 * len(dataset)  # three planes: another input


def test_cross_validation_and_leave_one_out_compute_each_feature_once(
    tiny: Tiny,
    params: Params,
    frozen: Callable[..., Training],
    bundle: Path,
    computed: SimpleNamespace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No image goes through a network a second time: scores are the head's of the stored features."""
    dataset, steps = tiny(150)
    source = np.where(np.arange(150) % 2, "one", "two")
    dataset = replace(
        dataset,
        records=dataset.records.assign(source=source, paediatric=False, left_out=None, view="PA", sex=None, age=None),
    )
    how = params.model_copy(update={"images": steps, "training": frozen(start=str(bundle))})
    there, ledger = tmp_path / "features", tmp_path / "ledger.csv"
    with monkeypatch.context() as patch:
        patch.delattr(LoadedNetwork, "probabilities")
        figures = cross_validate(dataset, how, 3, tmp_path / "cv", ledger, there)
        assert figures["test"]["macro_auroc"].value > 0.9
        assert computed.images == 150
        leave_one_out(dataset, how, tmp_path / "loo", ledger, there)
        assert computed.images == 150
    table = pd.read_csv(tmp_path / "cv" / "predictions.csv")
    for fold in range(3):
        inside = (table.fold == fold).to_numpy()
        scores = Predictor(tmp_path / "cv" / f"fold{fold}" / "bundle").score(dataset.where(inside))
        assert table.loc[inside, list(dataset.task.order)].to_numpy() == pytest.approx(scores, abs=1e-5)


def test_an_interrupted_run_goes_on_with_the_images_that_it_lacks(
    tiny: Tiny,
    frozen: Callable[..., Training],
    computed: SimpleNamespace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset, steps = tiny(90)
    monkeypatch.setattr(cache, "_PART", 20)
    train(dataset, steps, frozen(), tmp_path / "whole")
    computed.images, computed.most = 0, 50
    with pytest.raises(KeyboardInterrupt):
        train(dataset, steps, frozen(), tmp_path / "again")
    assert computed.images == 40
    computed.most = 10**9
    train(dataset, steps, frozen(), tmp_path / "again")
    assert computed.images == 90
    for name in ("bundle/model.safetensors", "bundle/bundle.json", "history.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_a_damaged_file_of_features_is_computed_again(
    tiny: Tiny, frozen: Callable[..., Training], computed: SimpleNamespace, tmp_path: Path
) -> None:
    dataset, steps = tiny(90)
    train(dataset, steps, frozen(), tmp_path)
    before = (tmp_path / "bundle" / "model.safetensors").read_bytes()
    (file,) = (tmp_path / "features").rglob("*.npy")
    content = bytearray(file.read_bytes())
    content[-5] ^= 64
    file.write_bytes(content)
    train(dataset, steps, frozen(), tmp_path)
    assert computed.images == 180
    assert (tmp_path / "bundle" / "model.safetensors").read_bytes() == before


def test_one_member_is_frozen_and_another_is_not(
    tiny: Tiny, training: Training, params: Params, weights: Path, tmp_path: Path
) -> None:
    dataset, steps = tiny(120)
    dataset = replace(dataset, records=dataset.records.assign(paediatric=False, left_out=None))
    members = [{"freeze": "backbone", "start": str(weights)}, {}]
    recipe = Training.model_validate(training.model_dump() | {"members": members, "folds": 2})
    made = train(dataset, steps, recipe, tmp_path)
    assert made is not None
    assert [network.epoch for network in made.networks] == [0, 3]
    assert pd.read_csv(tmp_path / "history.csv").network.value_counts().to_dict() == {1: 1, 2: 4}
    chosen = choose_left_out(tmp_path / "bundle", dataset, params.evaluation)
    assert chosen.prediction_sets is not None
    assert np.isfinite(Predictor(tmp_path / "bundle").score(dataset)).all()


def test_a_class_without_images_is_not_learned(tiny: Tiny, frozen: Callable[..., Training], tmp_path: Path) -> None:
    dataset, steps = tiny(90)
    order = dataset.task.order
    train(dataset.where(dataset.labels != order[1]), steps, frozen(), tmp_path, (order[0], order[2]))
    scores = Predictor(tmp_path / "bundle").score(dataset)
    assert scores[:, 1].max() < 1e-6
    known = dataset.labels != order[1]
    assert (scores[known].argmax(axis=1) == dataset.truth[known]).mean() > 0.9


def test_weights_are_how_often_an_image_would_be_drawn(frozen: Callable[..., Training]) -> None:
    truth, chances, order = np.array([0, 0, 1, 1, 1, 1, 1, 2]), np.array([0.3, *[0.1] * 7]), ("a", "b", "c")

    def of(**changes: object) -> np.ndarray:
        return image_weights(frozen(**changes), truth, 2, order, chances)

    assert of().tolist() == [1.0] * 8
    for balance in ("positive_share", "replacement"):
        shared = of(positive_share=0.25, balance=balance)
        assert shared[truth == 2].sum() / shared.sum() == pytest.approx(0.25)
        assert np.ptp(shared[truth != 2]) == 0
    assert of(balance="source_and_class") == pytest.approx(chances * 8)
    assert of(loss_weights={"c": 9.0}) == pytest.approx([0.5] * 7 + [4.5])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"robust": "group_dro"}, "backbone has no batches for robust"),
        ({"start": "results/other/last.ckpt"}, "does not continue a checkpoint"),
        ({"members": [{"robust": "group_dro"}]}, r"training\.members: entry 1: .*no batches for robust"),
    ],
)
def test_what_has_no_meaning_for_a_head_stops_before_any_work(
    change: dict, said: str, params: Params, tmp_path: Path
) -> None:
    values = params.model_dump(mode="json")
    values["training"] |= {"freeze": "backbone"} | change
    (tmp_path / "params.yaml").write_text(json.dumps(values))
    with pytest.raises(CxrflowError, match=said):
        load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"start": "scratch"}, r"small would keep random weights; set training\.start to imagenet"),
        ({"model": "timm:deit_tiny_distilled_patch16_224"}, "is not that of one linear layer"),
        ({"model": "convolutional"}, "is not that of one linear layer"),
        ({"model": "onnx"}, "has no layer to fit"),
    ],
)
def test_networks_that_have_no_head_are_named(
    change: dict, said: str, frozen: Callable[..., Training], monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(channels: int, classes: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(channels, classes, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    monkeypatch.setitem(MODELS, "convolutional", replace(MODELS["small"], architecture=build))
    with pytest.raises(CxrflowError, match=said):
        check_freeze(frozen(**change), 1, 64, 3)


@pytest.mark.parametrize(
    "model", ["resnet18", "vgg11", "covidnet_small", "crnn", "timm:resnet10t", "timm:tf_efficientnet_lite0",
              "timm:vit_tiny_patch16_224", "timm:swin_tiny_patch4_window7_224"],
)  # fmt: skip
def test_networks_of_all_kinds_can_be_frozen(model: str, frozen: Callable[..., Training]) -> None:
    check_freeze(frozen(model=model), 1, 224, 3)
