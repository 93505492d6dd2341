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
from torch import nn
from torchvision.models import ResNet18_Weights, resnet18
from torchvision.transforms.functional import normalize

from cxrflow.bundle import Bundle, Network
from cxrflow.bundle_files import read_description, read_trained_on
from cxrflow.bundle_networks import read_bundle
from cxrflow.dataset import Dataset
from cxrflow.errors import CxrflowError
from cxrflow.models import MODELS, find_model
from cxrflow.models.model import Pretrained, to_input
from cxrflow.models.passports import torchvision
from cxrflow.params import Images, Params, Training
from cxrflow.passport import Passport, unknown
from cxrflow.predictor import Predictor
from cxrflow.task import Task
from cxrflow.training import start as module
from cxrflow.training.fit_state import other_planes
from cxrflow.training.start import begin
from cxrflow.training.train import train

#: Of weights that a test makes up.
PICTURES = Passport(name="made up", trained_on=("pictures",))
Tiny = Callable[..., tuple[Dataset, Images]]
Run = tuple[Path, Bundle]


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


@pytest.mark.parametrize("planes", [1, 3])
def test_imagenet_weights_come_from_the_cache_with_the_scale_that_they_expect(
    planes: int, imagenet, params: Params, task: Task
) -> None:
    """A grey picture gives the first layer's output of the published network on its own input, which normalises each
    plane by another mean and deviation, but for a constant of each output: what the means differ by."""
    begun = begin("resnet18", "imagenet", params.images.model_copy(update={"channels": planes}), task)
    assert begun.pretrained_on == ("ImageNet-1k",)
    assert begun.passport == torchvision("resnet18", "IMAGENET1K_V1")
    assert begun.scale == pytest.approx(((0.485 + 0.456 + 0.406) / 3, (0.229 + 0.224 + 0.225) / 3))
    picture = torch.rand(2, 1, 64, 64)
    expected = normalize(picture.expand(-1, 3, -1, -1), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    theirs = torch.nn.functional.conv2d(expected, imagenet["conv1.weight"], stride=2)
    network = begun.network
    network.conv1.padding = (0, 0)  # a border of zeros is another grey value in each plane
    difference = network.conv1(to_input(picture, planes, *begun.scale)) - theirs
    constant = difference.mean(dim=(0, 2, 3), keepdim=True)
    assert torch.allclose(difference, constant.expand_as(difference), atol=2e-5)
    offsets = (torch.tensor([0.485, 0.456, 0.406]) - begun.scale[0]) / torch.tensor([0.229, 0.224, 0.225])
    told = (imagenet["conv1.weight"].sum(dim=(2, 3)) * offsets).sum(dim=1)
    assert torch.allclose(constant.flatten(), told, atol=2e-5)
    assert theirs.std() > 100 * difference.std(dim=(0, 2, 3)).max()
    own = network.state_dict()
    new = ("conv1.weight", "fc.weight", "fc.bias")
    assert all(torch.equal(own[name], imagenet[name]) for name in own if name not in new)
    assert own["fc.weight"].shape == (3, 512)


def test_timms_weights_come_from_the_cache_with_the_scale_that_they_expect(
    grey: Images, task: Task, cached: Callable[..., nn.Module]
) -> None:
    """TResNet's first convolution sees squares of 4 x 4 pixels in three colours; its pixels are not normalised."""
    published = cached("tresnet_m")
    begun = begin("timm:tresnet_m", "imagenet", grey, task)
    assert begun.scale == (0, 1)
    picture = torch.rand(2, 1, 64, 64)
    with torch.inference_mode():
        expected = published.forward_features(picture.expand(-1, 3, -1, -1))
        assert torch.allclose(begun.network.eval().forward_features(picture), expected, rtol=1e-3, atol=1e-4)
        assert expected.std() > 0.01
    cached("resnet10t")
    assert begin("timm:resnet10t", "imagenet", grey, task).scale == pytest.approx((0.449, 0.226))


@pytest.mark.parametrize(
    "name",
    [
        "vit_tiny_patch16_224",
        "deit_tiny_distilled_patch16_224",
        "swin_tiny_patch4_window7_224",
        "vit_small_patch16_dinov3",  # an EVA whose weights have no classes
    ],
)
def test_a_transformer_starts_from_downloaded_weights_at_another_size(
    name: str, grey: Images, task: Task, cached: Callable[..., nn.Module]
) -> None:
    """Its weights are those of 224 pixels at every size; a grey picture gives the tokens of the published network, but
    for what the planes' means differ by."""
    published = cached(name)
    begun = begin(f"timm:{name}", "imagenet", grey.model_copy(update={"size": 96}), task)
    mean, std = published.pretrained_cfg["mean"], published.pretrained_cfg["std"]
    assert begun.scale == pytest.approx((np.mean(mean), np.mean(std)))
    assert begun.pretrained_on == (f"timm {published.pretrained_cfg['tag']}",)
    assert begun.passport is not None
    assert begun.passport.licence is not None
    assert begun.passport.licence.name == published.pretrained_cfg["license"]
    own, theirs = begun.network.state_dict(), published.state_dict()
    new = {"patch_embed.proj.weight", *(n for n in own if n.startswith("head"))}
    assert [n for n in own if n not in new and not torch.equal(own[n], theirs[n])] == []
    assert own["patch_embed.proj.weight"].shape[1] == 1
    picture = torch.rand(1, 1, 224, 224)
    with torch.no_grad():  # the means' difference is moved into the bias, so that the rest must be the same
        offsets = (torch.tensor(mean) - begun.scale[0]) / torch.tensor(std)
        begun.network.patch_embed.proj.bias -= (theirs["patch_embed.proj.weight"].sum(dim=(2, 3)) * offsets).sum(dim=1)
        expected = published.forward_features(normalize(picture.expand(-1, 3, -1, -1), mean, std))
        tokens = begun.network.eval().forward_features(to_input(picture, 1, *begun.scale))
        assert torch.allclose(tokens, expected, rtol=1e-3, atol=1e-3)
        assert begun.network(torch.zeros(2, 1, 96, 96)).shape == (2, len(task.order))


def test_a_bundle_of_a_transformer_starts_another_at_another_size(
    tiny: Tiny, short: Training, task: Task, tmp_path: Path
) -> None:
    """Trained, written, read, used for a heat map, and taken as a start at twice the size."""
    vit = short.model_copy(update={"model": "timm:test_vit", "epochs": 2})
    dataset, steps = tiny(60)
    bundle = train(dataset, steps, vit, tmp_path)
    assert bundle is not None
    predictor = Predictor(tmp_path / "bundle")
    image = dataset.split("val").image(0)
    assert predictor.scores(image).shape == (1, 3)
    heat = predictor.heat_maps(image, task.order[0])[0]
    assert heat.shape == image.shape
    assert heat.max() <= 1
    twice = steps.model_copy(update={"size": 2 * steps.size})
    begun = begin("timm:test_vit", str(tmp_path / "bundle"), twice, task)
    assert begun.scale == (bundle.networks[0].mean, bundle.networks[0].std)
    state = read_bundle(tmp_path / "bundle")[1][0].state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in begun.network.state_dict().items())
    assert begun.network(torch.zeros(2, steps.channels, twice.size, twice.size)).shape == (2, 3)


def test_planes_are_weighted_by_their_own_deviation() -> None:
    """Each triple of planes, and by a factor of exactly 1 where all have one."""
    weight = torch.randn(4, 6, 1, 1)
    state, scale = Pretrained({"w": weight}, "n", (0.1, 0.2, 0.6), (0.1, 0.2, 0.3), PICTURES).one_scale(["w"])
    assert scale == pytest.approx((0.3, 0.2))
    assert torch.allclose(state["w"] / weight, torch.tensor([2, 1, 2 / 3] * 2)[None, :, None, None].expand(4, 6, 1, 1))
    alike, scale = Pretrained({"w": weight}, "n", (0.1, 0.2, 0.6), (0.7, 0.7, 0.7), PICTURES).one_scale(["w"])
    assert torch.equal(alike["w"], weight)


def test_a_bundle_has_the_scale_of_its_imagenet_weights(
    tiny: Tiny, short: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the mean and deviation of the training pictures."""
    own = find_model("small")
    state = own.architecture(3, 1000).state_dict()
    published = replace(own, imagenet=lambda: Pretrained(state, "pictures", (0.4, 0.5, 0.3), (0.2, 0.2, 0.2), PICTURES))
    monkeypatch.setitem(MODELS, "small", published)
    bundle = train(*tiny(60), short.model_copy(update={"start": "imagenet", "epochs": 2}), tmp_path)
    assert bundle is not None
    assert bundle.pretrained_on == ("pictures",)
    assert read_description(tmp_path / "bundle").starts == [PICTURES]
    assert (bundle.networks[0].mean, bundle.networks[0].std) == pytest.approx((0.4, 0.2))


def test_without_cache_and_network_one_sentence_says_what_to_do(
    tmp_path: Path, grey: Images, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("socket.getaddrinfo", lambda *a, **k: (_ for _ in ()).throw(OSError("no network")))
    with pytest.raises(CxrflowError, match=r"not in the cache and could not be downloaded .*set it to the path"):
        begin("resnet18", "imagenet", grey, task)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CxrflowError, match=r"timm:vit_tiny_patch16_224 are not in the cache .*set it to the path"):
        begin("timm:vit_tiny_patch16_224", "imagenet", grey, task)
    with pytest.raises(CxrflowError, match="no ImageNet weights for crnn"):
        begin("crnn", "imagenet", grey, task)


@pytest.mark.parametrize("extension", [".safetensors", ".pth"])
def test_a_file_of_weights(extension: str, tmp_path: Path, params: Params, task: Task) -> None:
    """Of three planes into three, of another number of classes: all but the last layer."""
    torch.manual_seed(0)
    state = find_model("crnn").architecture(3, 14).state_dict()
    path = tmp_path / f"weights{extension}"
    if extension == ".pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    begun = begin("crnn", str(path), params.images.model_copy(update={"channels": 3}), task)
    own = begun.network.state_dict()
    assert [name for name in own if not torch.equal(own[name], state[name])] == ["head.weight", "head.bias"]
    assert not begun.listed
    assert path.name in begun.pretrained_on[0]
    assert begun.passport == unknown(f"a file of weights, {path.name}")


def test_files_that_are_no_weights_of_this_network(tmp_path: Path, grey: Images, task: Task) -> None:
    torch.save({"model": find_model}, tmp_path / "code.pth")
    with pytest.raises(CxrflowError, match="more than tensors"):
        begin("crnn", str(tmp_path / "code.pth"), grey, task)
    (tmp_path / "text.safetensors").write_text("not weights")
    with pytest.raises(CxrflowError, match="holds no weights"):
        begin("crnn", str(tmp_path / "text.safetensors"), grey, task)
    save_file(find_model("resnet18").architecture(1, 3).state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(CxrflowError, match="does not fit the network"):
        begin("crnn", str(tmp_path / "other.safetensors"), grey, task)
    with pytest.raises(CxrflowError, match="neither a file of weights, a checkpoint nor the folder of a bundle"):
        begin("crnn", "scrach", grey, task)


@pytest.fixture(scope="session")
def short(training: Training) -> Training:
    return training.model_copy(update={"epochs": 3})


@pytest.fixture(scope="session")
def first(tiny: Tiny, short: Training, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished training of three epochs: its folder and bundle, not to be changed."""
    out = tmp_path_factory.mktemp("first")
    bundle = train(*tiny(60), short, out)
    assert bundle is not None
    return out, bundle


def test_a_bundle_hands_its_weights_and_what_it_has_seen_on(
    tiny: Tiny, short: Training, task: Task, first: Run, tmp_path: Path
) -> None:
    """To three planes, another size, darker pictures; the first training's images stay among those it has seen."""
    dataset, steps = tiny(60)
    folder, bundle = first[0] / "bundle", first[1]
    begun = begin("small", str(folder), steps.model_copy(update={"channels": 3, "size": 48}), task)
    _, (network,) = read_bundle(folder)
    picture = torch.randn(2, 1, 48, 48)
    with torch.inference_mode():
        assert torch.allclose(begun.network.eval()(picture.expand(-1, 3, -1, -1)), network(picture), atol=1e-4)
    assert begun.network.train().training
    others = dataset.records.assign(
        content_hash=[f"{k + 1000:064x}" for k in range(60)], patient_id=[f"other:{k}" for k in range(60)]
    )
    index = dataset.store.index.assign(content_hash=others.content_hash)
    other = Dataset.join(others, replace(dataset.store, images=dataset.store.images // 2, index=index), task)
    again = short.model_copy(update={"start": str(folder), "epochs": 2})
    second = train(other, steps, again, tmp_path)
    assert second is not None
    assert second.pretrained_on == ("tiny",)
    (start,) = second.starts
    assert start is not None
    assert (start.trained_on, start.complete, start.before) == (("tiny",), True, None)
    assert bundle.starts == [None]
    assert second.seen == "listed"
    assert (second.networks[0].mean, second.networks[0].std) == (
        bundle.networks[0].mean,
        bundle.networks[0].std,
    )  # its weights know grey levels by these
    seen = read_trained_on(tmp_path / "bundle")
    assert {*dataset.records.content_hash, *others.content_hash} == set(seen.content_hash)
    started, scratch = (pd.read_csv(out / "history.csv") for out in (tmp_path, first[0]))
    assert started.val_macro_auroc[0] > 0.9
    assert started.train_loss[0] < 0.8 * scratch.train_loss[0]  # it does not begin at random


@pytest.mark.parametrize("name", ["small", "crnn", "timm:test_convnext2", "timm:repvit_m0_9"])
def test_a_bundle_of_the_same_classes_in_another_order_gives_each_class_its_own_output(
    name: str, task: Task, grey: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RepViT has two last layers; other findings, and another positive class, change nothing of it."""
    first, second, third = task.order
    turned = Task(classes={third: ("mass",), second: ("tuberculosis",), first: ("cancer",)}, positive=second)
    torch.manual_seed(0)
    held = find_model(name).architecture(1, 3).eval()
    about = Network(model=name, images=grey, mean=0.4, std=0.2, temperature=1, epoch=0, validation={})
    bundle = Bundle(cxrflow="0", task=turned, networks=(about,), sources={"a": 1}, digests={})
    (tmp_path / "bundle.json").touch()
    monkeypatch.setattr(module, "read_bundle", lambda path: (bundle, [held]))
    monkeypatch.setattr(module, "read_trained_on", lambda path: pd.DataFrame())
    network = begin(name, str(tmp_path), grey, task).network.eval()
    picture = torch.randn(2, 1, 64, 64)
    with torch.inference_mode():
        assert torch.allclose(network(picture), held(picture)[:, [2, 1, 0]], atol=1e-5)


@pytest.mark.parametrize("as_many", [True, False])
def test_a_bundle_of_other_classes_leaves_the_last_layer_at_random(
    as_many: bool, first: Run, grey: Images, task: Task, four_classes: Task
) -> None:
    """Also where there are as many, or some are the same: which output would be whose is not known."""
    renamed = Task(
        classes={task.order[0]: ("mass",), task.order[1]: ("nodule",), "another": ("cancer",)}, positive="another"
    )
    other = renamed if as_many else four_classes
    folder = first[0] / "bundle"
    own = begin("small", str(folder), grey, other).network.state_dict()
    state = read_bundle(folder)[1][0].state_dict()
    new = [name for name in own if own[name].shape != state[name].shape or not torch.equal(own[name], state[name])]
    assert new == ["9.weight", "9.bias"]
    assert own["9.weight"].std() > 0
    assert len(own["9.bias"]) == len(other.order)


def test_a_checkpoint_goes_on_with_optimiser_and_schedule(
    tiny: Tiny, short: Training, task: Task, tmp_path: Path
) -> None:
    """Three epochs and then two of the same schedule end where five at once do, to the last bit."""
    step = short.schedule.model_copy(update={"name": "step", "step_epochs": 2, "step_factor": 0.5})
    five = short.model_copy(update={"epochs": 5, "schedule": step})
    dataset, steps = tiny(60)
    train(dataset, steps, five, tmp_path / "whole")
    train(dataset, steps, five.model_copy(update={"epochs": 3}), tmp_path / "half")
    checkpoint = tmp_path / "half" / "checkpoints" / "last.ckpt"
    going_on = five.model_copy(update={"start": str(checkpoint)})
    with pytest.raises(CxrflowError, match="where training writes its own results"):
        train(dataset, steps, going_on, tmp_path / "half")
    with pytest.raises(CxrflowError, match="trained for 3 epochs; set the new total above"):
        train(dataset, steps, going_on.model_copy(update={"epochs": 3}), tmp_path / "rest")
    train(dataset, steps, going_on, tmp_path / "rest")
    whole, rest = (pd.read_csv(tmp_path / name / "history.csv") for name in ("whole", "rest"))
    pd.testing.assert_frame_equal(whole, rest)
    ends = [
        torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for name in ("whole", "rest")
    ]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    half = read_bundle(tmp_path / "half" / "bundle")[0]
    assert begin("small", str(checkpoint), steps, task).scale == (half.networks[0].mean, half.networks[0].std)


def test_a_checkpoint_that_cannot_go_on_is_one_sentence(
    first: Run, task: Task, two_classes: Task, grey: Images, tmp_path: Path
) -> None:
    checkpoint = first[0] / "checkpoints" / "last.ckpt"
    with pytest.raises(CxrflowError, match="is of another network"):
        begin("plain", str(checkpoint), grey, task)
    turned = Task(classes=dict(reversed(task.classes.items())), positive=task.positive)
    for other in (turned, two_classes):
        with pytest.raises(CxrflowError, match=f"was trained for {', '.join(task.order)}, .*start from its bundle"):
            begin("small", str(checkpoint), grey, other)
    damaged = tmp_path / "damaged.ckpt"
    damaged.write_bytes(checkpoint.read_bytes()[:5000])
    with pytest.raises(CxrflowError, match=r"damaged\.ckpt"):
        begin("small", str(damaged), grey, task)
    held = torch.load(checkpoint, weights_only=True)
    del held["origin"]["classes"]  # as before tasks
    torch.save(held, tmp_path / "former.ckpt")
    with pytest.raises(CxrflowError, match="not a checkpoint of this version"):
        begin("small", str(tmp_path / "former.ckpt"), grey, task)
    alone = tmp_path / "last.ckpt"
    alone.write_bytes(checkpoint.read_bytes())
    with pytest.raises(CxrflowError, match="its training images are unknown"):
        begin("small", str(alone), grey, task)


def test_a_checkpoint_goes_on_with_new_settings(tiny: Tiny, short: Training, first: Run, tmp_path: Path) -> None:
    """Another total, rate and decay hold from the first new epoch, also where the old cosine was nearly at 0."""
    last = first[0] / "checkpoints" / "last.ckpt"
    update = {"epochs": 5, "learning_rate": 0.0004, "weight_decay": 0.3, "start": str(last)}
    train(*tiny(60), short.model_copy(update=update), tmp_path)
    rates = pd.read_csv(tmp_path / "history.csv").learning_rate.tolist()
    assert short.schedule.warmup_epochs == 1
    half, rest = (1 + math.cos(math.pi * 2 / 4)) / 2, (1 + math.cos(math.pi * 3 / 4)) / 2
    assert rates[3:] == pytest.approx([0.0004 * half, 0.0004 * rest])
    (optimiser,) = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["optimizer_states"]
    assert optimiser["param_groups"][0]["weight_decay"] == 0.3


def test_a_run_that_stopped_early_goes_on_with_its_new_patience(tiny: Tiny, short: Training, tmp_path: Path) -> None:
    still = short.model_copy(update={"learning_rate": 1e-12, "early_stopping_epochs": 1, "epochs": 10})
    train(*tiny(60), still, tmp_path / "stopped")
    stopped = len(pd.read_csv(tmp_path / "stopped" / "history.csv"))
    assert stopped < 6
    last = tmp_path / "stopped" / "checkpoints" / "last.ckpt"
    on = still.model_copy(update={"early_stopping_epochs": 3, "start": str(last)})
    train(*tiny(60), on, tmp_path / "on")
    # One epoch sets what is to be beaten, three more may fail to.
    assert len(pd.read_csv(tmp_path / "on" / "history.csv")) >= stopped + 4


def test_what_is_unknown_stays_unknown(tiny: Tiny, short: Training, tmp_path: Path) -> None:
    """A checkpoint of a training that began with somebody's weights does not forget it."""
    save_file(find_model("small").architecture(1, 3).state_dict(), tmp_path / "w.safetensors")
    begun = short.model_copy(update={"epochs": 2, "start": str(tmp_path / "w.safetensors")})
    train(*tiny(60), begun, tmp_path / "a")
    on = short.model_copy(update={"epochs": 3, "start": str(tmp_path / "a" / "checkpoints" / "last.ckpt")})
    bundle = train(*tiny(60), on, tmp_path / "b")
    assert bundle is not None
    assert bundle.seen == "unknown"
    assert bundle.pretrained_on == ("unknown (w.safetensors)", "tiny")  # what the checkpoint's own training saw
    (start,) = bundle.starts
    assert start is not None
    assert [each.trained_on for each in start.chain] == [("tiny",), ()]
    assert start.before == unknown("a file of weights, w.safetensors")
    held = torch.load(tmp_path / "a" / "checkpoints" / "last.ckpt", weights_only=True)
    del held["origin"]["passport"]  # as before passports
    torch.save(held, tmp_path / "a" / "checkpoints" / "former.ckpt")
    former = begin("small", str(tmp_path / "a" / "checkpoints" / "former.ckpt"), bundle.networks[0].images, bundle.task)
    assert former.passport is not None
    assert former.passport.before is not None
    assert former.passport.before.trained_on == ("unknown (w.safetensors)",)
    assert not former.passport.before.complete


def test_a_deeper_network_of_the_family_does_not_fit(tmp_path: Path, grey: Images, task: Task) -> None:
    save_file(find_model("resnet34").architecture(1, 3).state_dict(), tmp_path / "deeper.safetensors")
    with pytest.raises(CxrflowError, match="in only one of the two"):
        begin("resnet18", str(tmp_path / "deeper.safetensors"), grey, task)


@pytest.mark.parametrize("name", ["timm:tresnet_m", "timm:repvit_m0_9"])
def test_weights_for_colour_and_other_classes_serve_a_grey_picture(
    name: str, tmp_path: Path, params: Params, grey: Images, task: Task
) -> None:
    """TResNet's first convolution sees 4 x 4 pixels as planes; RepViT has two last layers. Both ways, the same map."""
    model = find_model(name)
    torch.manual_seed(0)
    published = model.architecture(3, 1000).eval()
    save_file({n: t.contiguous() for n, t in published.state_dict().items()}, tmp_path / "colour.safetensors")
    one = begin(name, str(tmp_path / "colour.safetensors"), grey, task).network.eval()
    save_file({n: t.contiguous() for n, t in one.state_dict().items()}, tmp_path / "grey.safetensors")
    colour = params.images.model_copy(update={"channels": 3})
    three = begin(name, str(tmp_path / "grey.safetensors"), colour, task).network.eval()
    picture = torch.randn(2, 1, 64, 64)
    with torch.inference_mode():
        assert one(picture).shape == (2, 3)
        expected = published.forward_features(picture.expand(-1, 3, -1, -1))
        assert torch.allclose(one.forward_features(picture), expected, rtol=1e-3, atol=1e-4)
        assert torch.allclose(three.forward_features(picture.expand(-1, 3, -1, -1)), expected, rtol=1e-3, atol=1e-4)
        assert expected.std() > 0.01


def test_planes_are_summed_and_spread() -> None:
    three, one = torch.randn(4, 3, 3, 3), torch.zeros(4, 1, 3, 3)
    summed = other_planes(three, one)
    assert summed is not None
    assert torch.allclose(summed[:, 0], three.sum(dim=1))
    spread = other_planes(summed, three)
    assert spread is not None
    assert np.allclose(spread.sum(dim=1), summed[:, 0], atol=1e-6)
    assert other_planes(torch.zeros(4, 3, 5, 5), one) is None
