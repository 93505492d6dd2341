"""Training begins with the weights that it is told to begin with."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import ResNet18_Weights, resnet18

from cxrflow.bundle import read_bundle, read_trained_on
from cxrflow.errors import CxrflowError
from cxrflow.images.prepare import Store
from cxrflow.models import find_model
from cxrflow.params import Images, Params, Training
from cxrflow.training import start as module
from cxrflow.training.start import begin
from cxrflow.training.train import train

Tiny = Callable[..., tuple[pd.DataFrame, Store, Images]]


@pytest.fixture
def grey(params: Params) -> Images:
    return params.images.model_copy(update={"channels": 1})


@pytest.fixture
def imagenet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """Weights that this test writes where torchvision looks for the downloaded ones."""
    torch.manual_seed(3)
    state = resnet18().state_dict()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(state, folder / ResNet18_Weights.DEFAULT.url.rpartition("/")[2])
    return state


def test_imagenet_weights_come_from_the_cache_and_keep_their_stem(imagenet, grey: Images) -> None:
    """A grey picture gives the same in the first layer as three equal planes in the published network."""
    begun = begin("resnet18", "imagenet", grey, 3)
    assert begun.pretrained_on == ("ImageNet-1k",)
    picture = torch.randn(2, 1, 64, 64)
    theirs = torch.nn.functional.conv2d(picture.expand(-1, 3, -1, -1), imagenet["conv1.weight"], stride=2, padding=3)
    assert torch.allclose(begun.network.conv1(picture), theirs, atol=1e-5)
    own = begun.network.state_dict()
    new = ("conv1.weight", "fc.weight", "fc.bias")
    assert all(torch.equal(own[name], imagenet[name]) for name in own if name not in new)
    assert own["fc.weight"].shape == (3, 512)


def test_without_cache_and_network_one_sentence_says_what_to_do(
    tmp_path: Path, grey: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("socket.getaddrinfo", lambda *a, **k: (_ for _ in ()).throw(OSError("no network")))
    with pytest.raises(CxrflowError, match=r"not in the cache and could not be downloaded .*set it to the path"):
        begin("resnet18", "imagenet", grey, 3)
    with pytest.raises(CxrflowError, match="no ImageNet weights for crnn"):
        begin("crnn", "imagenet", grey, 3)


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
def test_a_file_of_weights(ending: str, tmp_path: Path, params: Params) -> None:
    """Of three planes into three, of another number of classes: all but the last layer."""
    torch.manual_seed(0)
    state = find_model("crnn").architecture(3, 14).state_dict()
    path = tmp_path / f"weights{ending}"
    if ending == ".pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    begun = begin("crnn", str(path), params.images.model_copy(update={"channels": 3}), 3)
    own = begun.network.state_dict()
    assert [name for name in own if not torch.equal(own[name], state[name])] == ["head.weight", "head.bias"]
    assert not begun.listed
    assert path.name in begun.pretrained_on[0]


def test_files_that_are_no_weights_of_this_network(tmp_path: Path, grey: Images) -> None:
    torch.save({"model": find_model}, tmp_path / "code.pth")
    with pytest.raises(CxrflowError, match="more than tensors"):
        begin("crnn", str(tmp_path / "code.pth"), grey, 3)
    (tmp_path / "text.safetensors").write_text("not weights")
    with pytest.raises(CxrflowError, match="holds no weights"):
        begin("crnn", str(tmp_path / "text.safetensors"), grey, 3)
    save_file(find_model("resnet18").architecture(1, 3).state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(CxrflowError, match="does not fit the network"):
        begin("crnn", str(tmp_path / "other.safetensors"), grey, 3)
    with pytest.raises(CxrflowError, match="no file of weights, checkpoint or folder of a bundle"):
        begin("crnn", "scrach", grey, 3)


@pytest.fixture
def short(params: Params) -> Training:
    update = {"model": "crnn", "epochs": 3, "batch_size": 16, "early_stopping_epochs": 9}
    return params.training.model_copy(update=update)


def test_a_bundle_hands_its_weights_and_what_it_has_seen_on(tiny: Tiny, short: Training, tmp_path: Path) -> None:
    """To three planes, another size, darker pictures; the first training's images stay among those it has seen."""
    records, store, steps = tiny(60)
    first = train(records, store, steps, short, tmp_path / "first")
    other = records.assign(
        content_hash=[f"{k + 1000:064x}" for k in range(60)], patient_id=[f"other:{k}" for k in range(60)]
    )
    begun = begin("crnn", str(tmp_path / "first" / "bundle"), steps.model_copy(update={"channels": 3, "size": 48}), 3)
    _, network = read_bundle(tmp_path / "first" / "bundle")
    picture = torch.randn(2, 1, 48, 48)
    with torch.inference_mode():
        assert torch.allclose(begun.network.eval()(picture.expand(-1, 3, -1, -1)), network(picture), atol=1e-4)
    again = short.model_copy(update={"start": str(tmp_path / "first" / "bundle"), "epochs": 2})
    darker = replace(store, images=store.images // 2)
    second = train(other, darker, steps, again, tmp_path / "second")
    assert first is not None
    assert second is not None
    assert second.pretrained_on == ("tiny",)
    assert second.seen == "listed"
    assert (second.mean, second.std) == (first.mean, first.std)  # its weights know grey levels by these
    seen = read_trained_on(tmp_path / "second" / "bundle")
    assert {*records.content_hash, *other.content_hash} == set(seen.content_hash)
    assert pd.read_csv(tmp_path / "second" / "history.csv").val_macro_auroc[0] > 0.9  # it does not begin at random


def test_a_checkpoint_goes_on_with_optimiser_and_schedule(tiny: Tiny, short: Training, tmp_path: Path) -> None:
    """Three epochs and then two of the same schedule end where five at once do, to the last bit."""
    records, store, steps = tiny(60)
    step = short.schedule.model_copy(update={"name": "step", "step_epochs": 2, "step_factor": 0.5})
    five = short.model_copy(update={"epochs": 5, "schedule": step})
    train(records, store, steps, five, tmp_path / "whole")
    train(records, store, steps, five.model_copy(update={"epochs": 3}), tmp_path / "half")
    checkpoint = tmp_path / "half" / "checkpoints" / "last.ckpt"
    going_on = five.model_copy(update={"start": str(checkpoint)})
    with pytest.raises(CxrflowError, match="where training writes its own results"):
        train(records, store, steps, going_on, tmp_path / "half")
    with pytest.raises(CxrflowError, match="trained for 3 epochs; set the new total above"):
        train(records, store, steps, going_on.model_copy(update={"epochs": 3}), tmp_path / "rest")
    train(records, store, steps, going_on, tmp_path / "rest")
    whole, rest = (pd.read_csv(tmp_path / name / "history.csv") for name in ("whole", "rest"))
    pd.testing.assert_frame_equal(whole, rest)
    ends = [
        torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for name in ("whole", "rest")
    ]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    half = read_bundle(tmp_path / "half" / "bundle")[0]
    assert begin("crnn", str(checkpoint), steps, 3).scale == (half.mean, half.std)
    with pytest.raises(CxrflowError, match="is of another network"):
        begin("resnet18", str(checkpoint), steps, 3)
    damaged = tmp_path / "damaged.ckpt"
    damaged.write_bytes(checkpoint.read_bytes()[:5000])
    with pytest.raises(CxrflowError, match=r"damaged\.ckpt"):
        begin("crnn", str(damaged), steps, 3)
    checkpoint.with_name("trained_on.csv").unlink()
    with pytest.raises(CxrflowError, match="what it has seen is unknown"):
        train(records, store, steps, going_on, tmp_path / "unknown")


def test_a_checkpoint_goes_on_with_new_settings(tiny: Tiny, short: Training, tmp_path: Path) -> None:
    """Another total, rate and decay hold from the first new epoch, also where the old cosine ended at 0."""
    records, store, steps = tiny(60)
    cosine = short.schedule.model_copy(update={"name": "cosine", "warmup_epochs": 0})
    two = short.model_copy(update={"epochs": 2, "schedule": cosine, "weight_decay": 0.0})
    train(records, store, steps, two, tmp_path / "two")
    last = tmp_path / "two" / "checkpoints" / "last.ckpt"
    update = {"epochs": 4, "learning_rate": 0.0004, "weight_decay": 0.3, "start": str(last)}
    train(records, store, steps, two.model_copy(update=update), tmp_path / "four")
    rates = pd.read_csv(tmp_path / "four" / "history.csv").learning_rate.tolist()
    half, rest = (1 + math.cos(math.pi * 2 / 4)) / 2, (1 + math.cos(math.pi * 3 / 4)) / 2
    assert rates[2:] == pytest.approx([0.0004 * half, 0.0004 * rest])
    (optimiser,) = torch.load(tmp_path / "four" / "checkpoints" / "last.ckpt", weights_only=True)["optimizer_states"]
    assert optimiser["param_groups"][0]["weight_decay"] == 0.3


def test_a_run_that_stopped_early_goes_on_with_its_new_patience(tiny: Tiny, short: Training, tmp_path: Path) -> None:
    records, store, steps = tiny(60)
    still = short.model_copy(update={"learning_rate": 1e-12, "early_stopping_epochs": 1, "epochs": 10})
    train(records, store, steps, still, tmp_path / "stopped")
    stopped = len(pd.read_csv(tmp_path / "stopped" / "history.csv"))
    assert stopped < 6
    last = tmp_path / "stopped" / "checkpoints" / "last.ckpt"
    on = still.model_copy(update={"early_stopping_epochs": 3, "start": str(last)})
    train(records, store, steps, on, tmp_path / "on")
    # One epoch sets what is to be beaten, three more may fail to.
    assert len(pd.read_csv(tmp_path / "on" / "history.csv")) >= stopped + 4


def test_what_is_unknown_stays_unknown(tiny: Tiny, short: Training, tmp_path: Path) -> None:
    """A checkpoint of a training that began with somebody's weights does not forget it."""
    records, store, steps = tiny(60)
    save_file(find_model("crnn").architecture(1, 3).state_dict(), tmp_path / "w.safetensors")
    begun = short.model_copy(update={"epochs": 2, "start": str(tmp_path / "w.safetensors")})
    train(records, store, steps, begun, tmp_path / "a")
    on = short.model_copy(update={"epochs": 3, "start": str(tmp_path / "a" / "checkpoints" / "last.ckpt")})
    bundle = train(records, store, steps, on, tmp_path / "b")
    assert bundle is not None
    assert bundle.seen == "unknown"
    assert bundle.pretrained_on == ("unknown (w.safetensors)", "tiny")  # what the checkpoint's own training saw


def test_a_deeper_network_of_the_family_does_not_fit(tmp_path: Path, grey: Images) -> None:
    save_file(find_model("resnet34").architecture(1, 3).state_dict(), tmp_path / "deeper.safetensors")
    with pytest.raises(CxrflowError, match="in one of them only"):
        begin("resnet18", str(tmp_path / "deeper.safetensors"), grey, 3)


@pytest.mark.parametrize("name", ["timm:tresnet_m", "timm:repvit_m0_9"])
def test_weights_for_colour_and_other_classes_serve_a_grey_picture(
    name: str, tmp_path: Path, params: Params, grey: Images
) -> None:
    """TResNet's first convolution sees 4 x 4 pixels as planes; RepViT has two last layers. Both ways, the same map."""
    model = find_model(name)
    torch.manual_seed(0)
    published = model.architecture(3, 1000).eval()
    save_file({n: t.contiguous() for n, t in published.state_dict().items()}, tmp_path / "colour.safetensors")
    one = begin(name, str(tmp_path / "colour.safetensors"), grey, 3).network.eval()
    save_file({n: t.contiguous() for n, t in one.state_dict().items()}, tmp_path / "grey.safetensors")
    colour = params.images.model_copy(update={"channels": 3})
    three = begin(name, str(tmp_path / "grey.safetensors"), colour, 3).network.eval()
    picture = torch.randn(2, 1, 64, 64)
    with torch.inference_mode():
        assert one(picture).shape == (2, 3)
        expected = published.forward_features(picture.expand(-1, 3, -1, -1))
        assert torch.allclose(one.forward_features(picture), expected, rtol=1e-3, atol=1e-4)
        assert torch.allclose(three.forward_features(picture.expand(-1, 3, -1, -1)), expected, rtol=1e-3, atol=1e-4)
        assert expected.std() > 0.01


def test_planes_are_summed_and_spread() -> None:
    three, one = torch.randn(4, 3, 3, 3), torch.zeros(4, 1, 3, 3)
    summed = module._other_planes(three, one)
    assert summed is not None
    assert torch.allclose(summed[:, 0], three.sum(dim=1))
    spread = module._other_planes(summed, three)
    assert spread is not None
    assert np.allclose(spread.sum(dim=1), summed[:, 0], atol=1e-6)
    assert module._other_planes(torch.zeros(4, 3, 5, 5), one) is None
