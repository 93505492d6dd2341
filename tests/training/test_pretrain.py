"""Pretraining learns without labels, from training images alone, and survives a kill."""

import copy
import json
import math
import multiprocessing
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import chain, pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from cxrflow.bundle import patient_digest, seen_rows
from cxrflow.cli import app
from cxrflow.errors import CxrflowError
from cxrflow.images.prepare import Store
from cxrflow.params import Images
from cxrflow.records import CLASSES
from cxrflow.training import pretrain as module
from cxrflow.training.models import MODELS, find_model
from cxrflow.training.models.model import Model
from cxrflow.training.module import to_input
from cxrflow.training.pretrain import Backbone, learning_rate_factor, pretrain, put_projection, read_backbone, views
from cxrflow.training.start import fit_state

Tiny = Callable[..., tuple[pd.DataFrame, Store, Images]]
FILES = ("backbone.safetensors", "backbone.json", "trained_on.csv", "history.csv")


class Case(NamedTuple):
    records: pd.DataFrame
    store: Store
    steps: Images


@pytest.fixture
def textures(tiny: Tiny) -> Case:
    """The tiny set, its classes drawn as stripes along one side, along the other, or a chequered pattern.

    Any phase, brightness and contrast: what a network with random weights mostly sees says nothing of the class.
    """
    records, store, steps = tiny(96)
    random = np.random.default_rng(5)
    y, x = np.mgrid[:32, :32]
    for image, label in zip(store.images, records.label.map(CLASSES.index), strict=True):
        down, across = (np.sin(2 * np.pi * axis / 8 + random.uniform(0, 2 * np.pi)) for axis in (y, x))
        pattern = (down, across, down * across)[label] + random.normal(0, 0.15, (32, 32))
        image[:] = np.clip(random.uniform(60, 190) + random.uniform(10, 50) * pattern, 0, 255)
    return Case(records, store, steps)


class Little(nn.Module):
    """Three convolutions, so that there is time for the steps that it takes to learn something."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        layers = [
            (nn.Conv2d(a, b, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU())
            for a, b in pairwise((channels, 16, 32, 64))
        ]
        self.maps = nn.Sequential(*chain.from_iterable(layers))
        self.head = nn.Linear(64, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.maps(images).mean(dim=(2, 3)))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pretraining")


@pytest.fixture
def learned(kept: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where ``backbone_of`` keeps what it pretrained, for all tests of this file that ask for it."""
    monkeypatch.setitem(MODELS, "little", Model(Little, lambda network, size: network.maps, 32))
    monkeypatch.setattr(module, "BATCH_SIZE", 32)
    return kept


def backbone_of(case: Case, out: Path) -> Backbone:
    """Pretrained once: a second call finds a finished run, and writes the same again."""
    return pretrain(*case, "little", 48, 1, out)


def contents(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in FILES}


def test_the_loss_is_nt_xent() -> None:
    """Equation 1 by hand, cosines over 0.1: positives 0.6 and 1; projections of any length."""
    one, other = torch.tensor([[3.0, 0.0], [0.0, 0.5]]), torch.tensor([[0.6, 0.8], [0.0, 2.0]])
    e = math.exp
    terms = [
        -math.log(e(6) / (e(0) + e(6) + e(0))),
        -math.log(e(10) / (e(0) + e(8) + e(10))),
        -math.log(e(6) / (e(6) + e(8) + e(8))),
        -math.log(e(10) / (e(0) + e(10) + e(8))),
    ]
    assert float(module._loss()(one, other)) == pytest.approx(sum(terms) / 4, rel=1e-5)


def test_views_differ_and_stay_pictures() -> None:
    pictures = torch.rand(5, 1, 40, 40).expand(-1, 3, -1, -1)
    one = views(pictures, torch.Generator().manual_seed(1))
    assert one.shape == pictures.shape
    assert one.min() >= 0
    assert one.max() <= 1
    assert torch.allclose(one[:, 0], one[:, 2])  # still grey
    assert torch.equal(one, views(pictures, torch.Generator().manual_seed(1)))
    twice = views(pictures[:1].repeat(2, 1, 1, 1), torch.Generator().manual_seed(1))
    assert (twice[0] - twice[1]).abs().mean() > 0.05


@pytest.mark.parametrize("name", MODELS)
def test_every_network_takes_a_projection_in_the_place_of_its_last_layer(name: str) -> None:
    """What is kept is all but that layer, and goes back into the network; shapes only, without weights."""
    with torch.device("meta"):
        network = find_model(name).architecture(1, 3)
        own = network.state_dict()
        last = put_projection(network, 3)
        assert network.eval()(torch.empty(2, 1, 64, 64)).shape == (2, module.PROJECTION)
    kept = {key: value for key, value in network.state_dict().items() if not key.startswith(f"{last}.")}
    assert [key for key in own if key not in kept] == [f"{last}.weight", f"{last}.bias"]
    assert list(own)[-1] == f"{last}.bias"
    assert all(kept[key].shape == own[key].shape for key in kept)


def test_it_learns_what_the_pictures_show(textures: Case, learned: Path) -> None:
    """Without a label the loss falls, and of held-out pictures more have a nearest neighbour of their own class."""
    backbone = backbone_of(textures, learned)
    assert len(backbone.loss) == backbone.epochs == 48
    assert np.mean(backbone.loss[-3:]) < 0.8 * backbone.loss[0]
    assert backbone.loss[0] > 4  # log(63) is guessing
    before = []
    for seed in range(4):
        torch.manual_seed(seed)
        network = find_model("little").architecture(1, 3)
        before.append(neighbours(textures, network, backbone))
    fit_state(network, read_backbone(learned)[1], "the backbone")
    assert neighbours(textures, network, backbone) > max(before) + 0.05


def neighbours(case: Case, network: nn.Module, backbone: Backbone) -> float:
    """Share of the val images whose nearest training image, by the cosine of features, is of the same class."""
    network = copy.deepcopy(network)
    network.head = nn.Identity()
    pictures = torch.from_numpy(case.store.images)[:, None].float() / 255
    with torch.inference_mode():
        features = network.eval()(to_input(pictures, 1, backbone.mean, backbone.std))
    features = nn.functional.normalize(features - features.mean(dim=0), dim=1).numpy()
    train = (case.records.split == "train").to_numpy()
    nearest = (features[~train] @ features[train].T).argmax(axis=1)
    labels = case.records.label.to_numpy()
    return float((labels[train][nearest] == labels[~train]).mean())


def test_what_is_written_says_what_was_seen(textures: Case, learned: Path) -> None:
    backbone_of(textures, learned)
    first = contents(learned)
    for name in FILES[:3]:
        (learned / name).unlink()
    backbone = backbone_of(textures, learned)
    assert contents(learned) == first
    read, state, seen = read_backbone(learned)
    assert read == backbone
    assert backbone.sources == {"tiny": 64}
    assert backbone.method.startswith("SimCLR")
    used = textures.records[textures.records.split == "train"]
    assert seen.split.unique().tolist() == ["pretraining"]
    assert seen.columns.tolist() == seen_rows(used).columns.tolist()
    assert seen.content_hash.tolist() == used.content_hash.tolist()
    assert seen.patient[0] == patient_digest(used.patient_id.iloc[0])
    own = find_model("little").architecture(1, 3).state_dict()
    assert sorted(state) == sorted(name for name in own if not name.startswith("head."))


def test_labels_sources_and_other_splits_change_nothing(textures: Case, tmp_path: Path) -> None:
    records, store, steps = textures
    pretrain(records, store, steps, "crnn", 1, 1, tmp_path / "plain")
    train = records.split == "train"
    poisoned = store.images.copy()
    poisoned[~train] = 255 - poisoned[~train]
    other = records.assign(label=records.label.to_numpy()[::-1], source=records.source.where(train, "other"))
    pretrain(other, Store(poisoned, None, store.index, store.steps), steps, "crnn", 1, 1, tmp_path / "poisoned")
    assert contents(tmp_path / "poisoned") == contents(tmp_path / "plain")
    pretrain(records[train], store, steps, "crnn", 1, 1, tmp_path / "alone")
    assert contents(tmp_path / "alone") == contents(tmp_path / "plain")
    renamed = records.assign(source="other")
    pretrain(renamed, store, steps, "crnn", 1, 1, tmp_path / "renamed")
    assert contents(tmp_path / "renamed")[FILES[0]] == contents(tmp_path / "plain")[FILES[0]]


def test_after_a_kill_it_goes_on_and_ends_with_the_same_bytes(
    textures: Case, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """kill -9 once the first epoch is saved; a whole run is the same command a second time."""
    how = (*textures, "crnn", 4, 1)
    pretrain(*how, tmp_path / "whole")
    child = multiprocessing.get_context("spawn").Process(target=pretrain, args=(*how, tmp_path / "killed"))
    child.start()
    saved = tmp_path / "killed" / "checkpoints" / "last.ckpt"
    deadline = time.monotonic() + 300
    while not saved.exists():
        assert time.monotonic() < deadline, "pretraining did not reach its second epoch"
        assert child.is_alive(), "pretraining ended before it could be killed"
        time.sleep(0.002)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    assert not (tmp_path / "killed" / "backbone.json").exists()
    assert torch.load(saved, weights_only=True)["epoch"] < 3
    capfd.readouterr()
    pretrain(*how, tmp_path / "killed")
    assert "Going on after the last whole epoch" in capfd.readouterr().out
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_checkpoints_of_another_seed_are_not_used(textures: Case, tmp_path: Path) -> None:
    pretrain(*textures, "crnn", 1, 1, tmp_path)
    first = contents(tmp_path)
    pretrain(*textures, "crnn", 1, 2, tmp_path)
    assert contents(tmp_path)["backbone.safetensors"] != first["backbone.safetensors"]
    pretrain(*textures, "crnn", 1, 1, tmp_path)
    assert contents(tmp_path) == first


def test_what_is_no_backbone_is_told_in_one_sentence(textures: Case, tmp_path: Path) -> None:
    with pytest.raises(CxrflowError, match=r"no pretrained backbone there \(backbone.json"):
        read_backbone(tmp_path)
    pretrain(*textures, "crnn", 1, 1, tmp_path)
    whole = contents(tmp_path)

    def damage(name: str, content: bytes) -> str:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CxrflowError) as error:
            read_backbone(tmp_path)
        (tmp_path / name).write_bytes(whole[name])
        return str(error.value)

    assert "damaged, it is not what" in damage("backbone.safetensors", whole["backbone.safetensors"][:-1])
    assert "damaged, it is not what" in damage("trained_on.csv", b"split,content_hash,near_hash,patient\n")
    assert "damaged, or of another version" in damage("backbone.json", whole["backbone.json"][:40])
    later = json.loads(whole["backbone.json"]) | {"teacher": "resnet50"}
    assert "another version of cxrflow (teacher: " in damage("backbone.json", json.dumps(later).encode())
    (tmp_path / "trained_on.csv").unlink()
    with pytest.raises(CxrflowError, match=r"trained_on\.csv: absent"):
        read_backbone(tmp_path)


def test_what_cannot_be_pretrained(textures: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records, store, steps = textures
    with pytest.raises(CxrflowError, match="two training images at least, there are 0"):
        pretrain(records[records.split == "val"], store, steps, "crnn", 1, 1, tmp_path)
    with pytest.raises(CxrflowError, match="other image steps"):
        pretrain(records, store, steps.model_copy(update={"size": 64}), "crnn", 1, 1, tmp_path)
    with pytest.raises(CxrflowError, match="does not end in a linear layer"):
        put_projection(nn.Conv2d(1, 3, 1), 3)
    monkeypatch.setitem(MODELS, "ready", replace(MODELS["crnn"], load_pretrained=lambda network: None))
    with pytest.raises(CxrflowError, match="ready comes pretrained"):
        pretrain(records, store, steps, "ready", 1, 1, tmp_path)
    monkeypatch.setitem(sys.modules, "monai.losses", None)
    with pytest.raises(CxrflowError, match=r"needs MONAI; `pip install 'cxrflow\[pretraining\]'`"):
        pretrain(records, store, steps, "crnn", 1, 1, tmp_path)


def test_the_command(textures: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network and the seed of the parameter file, into results/pretraining."""
    text = (Path(__file__).parents[2] / "params.yaml").read_text()
    text = text.replace("size: 128 ", "size: 32 ").replace("model: resnet18 ", "model: crnn ")
    (tmp_path / "params.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("cxrflow.records.read_kept", lambda path: textures.records)
    monkeypatch.setattr("cxrflow.images.prepare.open_store", lambda folder: textures.store)
    done = CliRunner().invoke(app, ["pretrain", "--epochs", "1"], catch_exceptions=False)
    assert done.exit_code == 0
    # The loss of a random network lies near the logarithm of the other views in a batch, whatever the processor.
    told = re.search(r"64 images, loss (\d\.\d+) in the first epoch and \1 in the last", done.output)
    assert told is not None
    assert abs(float(told[1]) - math.log(2 * 64 - 1)) < 1
    assert read_backbone(tmp_path / "results" / "pretraining")[0].model == "crnn"


def test_a_loss_that_is_no_number_stops_in_one_sentence(
    textures: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_RATE", math.inf)
    with pytest.raises(CxrflowError, match=r"no longer a number in epoch \d"):
        pretrain(*textures, "crnn", 3, 1, tmp_path)


def test_the_rate_warms_up_and_falls_to_zero() -> None:
    factors = [learning_rate_factor(40)(step) for step in range(41)]
    assert factors[:4] == pytest.approx([0.25, 0.5, 0.75, 1])
    assert factors[22] == pytest.approx(0.5)  # half way through the 36 that remain after 4
    assert factors[40] == pytest.approx(0, abs=1e-12)
    assert all(a >= b for a, b in pairwise(factors[4:]))
    assert learning_rate_factor(1)(0) == 1
