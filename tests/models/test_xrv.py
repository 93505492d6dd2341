"""Pretrained networks of torchxrayvision, with weights written here in the forms in which it publishes them."""

from pathlib import Path

import pytest
import requests
import torch
import torchvision
from torch import nn

from cxrflow.errors import CxrflowError
from cxrflow.models import find_model
from cxrflow.models.from_xrv import SEEN
from cxrflow.models.model import to_input
from cxrflow.models.passports import torchxrayvision
from cxrflow.params import Params
from cxrflow.task import Task
from cxrflow.training.start import begin

xrv = pytest.importorskip("torchxrayvision")

DENSENET, RESNET = "densenet121-res224-rsna", "resnet50-res512-all"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / ".torchxrayvision" / "models_data"
    folder.mkdir(parents=True)
    return folder


def file_of(cache: Path, weights: str) -> Path:
    return cache / xrv.models.model_urls[weights]["weights_url"].rsplit("/", 1)[-1]


@pytest.mark.parametrize("weights", SEEN)
def test_who_has_seen_nih_has_seen_rsna(weights: str) -> None:
    """RSNA's images were taken from NIH's: neither is new to weights that have seen the other."""
    assert ("NIH" in SEEN[weights]) == ("RSNA" in SEEN[weights])


@pytest.mark.parametrize("zipped", [False, True])  # its DenseNets were written by PyTorch before 1.6, which did not zip
def test_a_densenet_answers_as_torchxrayvisions_own(cache: Path, zipped: bool) -> None:
    torch.manual_seed(0)
    published = xrv.models.DenseNet(num_classes=18, in_channels=1)
    torch.save(published, file_of(cache, DENSENET), _use_new_zipfile_serialization=zipped)
    model = find_model(f"xrv:{DENSENET}")
    assert (model.default_size, model.pretrained_on) == (224, ("RSNA", "NIH"))
    assert model.passport == torchxrayvision(DENSENET, ("RSNA", "NIH"))
    network = model.build(3, 3).eval()
    assert network(torch.randn(2, 3, 64, 64)).shape == (2, 3)
    # The same radiograph in the library's units and in ours, at a mean of 0.5 and a standard deviation of 0.25.
    pixels = torch.randint(0, 256, (2, 1, 224, 224))
    theirs = xrv.models.get_model(DENSENET).features2(2048 * (pixels / 255) - 1024)
    seen: list[torch.Tensor] = []
    network.network.classifier.register_forward_hook(lambda *args: seen.append(args[1][0]))
    network(((pixels / 255 - 0.5) / 0.25).expand(-1, 3, -1, -1))
    assert torch.allclose(seen[0], theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("planes", [1, 3])
def test_the_network_gets_exactly_the_librarys_range(cache: Path, planes: int, params: Params, task: Task) -> None:
    """A start comes with the scale that turns black into -1024 and white into 1024."""
    torch.save(xrv.models.DenseNet(num_classes=18, in_channels=1), file_of(cache, DENSENET))
    images = params.images.model_copy(update={"channels": planes})
    start = begin(f"xrv:{DENSENET}", "scratch", images, task)
    assert start.scale is not None
    seen: list[torch.Tensor] = []
    start.network.eval().network.features.register_forward_pre_hook(lambda *args: seen.append(args[1][0]))
    pixels = torch.arange(256, dtype=torch.float32).repeat(16).reshape(1, 1, 64, 64)
    start.network(to_input(pixels / 255, planes, *start.scale))
    theirs = torch.tensor(xrv.datasets.normalize(pixels.numpy(), 255))
    assert torch.allclose(seen[0], theirs, rtol=0, atol=1e-3)
    assert (seen[0].min(), seen[0].max()) == (-1024, 1024)


def test_a_resnet_takes_its_weights_and_keeps_its_own_last_layer(cache: Path) -> None:
    torch.manual_seed(0)
    published = torchvision.models.resnet50(num_classes=18)
    published.conv1 = nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
    torch.save(published.state_dict(), file_of(cache, RESNET))
    model = find_model(f"xrv:{RESNET}")
    network = model.build(1, 3)
    assert model.default_size == 512
    assert torch.equal(network.network.conv1.weight, published.conv1.weight)
    assert torch.equal(network.network.layer4[2].conv3.weight, published.layer4[2].conv3.weight)
    assert network.network.fc.out_features == 3
    assert model.gradcam_layer(network, 512) is network.network.layer4[-1]


def test_what_cannot_be_loaded_is_one_clear_sentence(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CxrflowError, match=r"no weights called chest.*xrv:densenet121-res224-all"):
        find_model("xrv:chest")
    model = find_model(f"xrv:{DENSENET}")

    def no_network(*_args: object, **_options: object) -> None:
        raise requests.exceptions.ConnectionError

    monkeypatch.setattr(requests, "get", no_network)
    with pytest.raises(CxrflowError, match=rf"could not be downloaded.*put it at {cache}"):
        model.build(1, 3)
    file = file_of(cache, DENSENET)
    file.write_bytes(b"half")
    with pytest.raises(CxrflowError, match="damaged, or of another network"):
        model.build(1, 3)
    torch.save(nn.Linear(2, 2), file)
    with pytest.raises(CxrflowError, match="damaged, or of another network"):
        model.build(1, 3)


@pytest.mark.parametrize("zipped", [False, True])
def test_no_code_of_a_weights_file_is_run(cache: Path, zipped: bool) -> None:
    class Harmful:
        def __reduce__(self) -> tuple:
            return Path.touch, (cache / "harm",)

    torch.save(Harmful(), file_of(cache, DENSENET), _use_new_zipfile_serialization=zipped)
    with pytest.raises(CxrflowError, match="damaged, or of another network"):
        find_model(f"xrv:{DENSENET}").build(1, 3)
    assert not (cache / "harm").exists()


def test_no_program_of_a_weights_file_is_loaded(cache: Path) -> None:
    torch.jit.script(nn.Linear(2, 2)).save(file_of(cache, DENSENET))
    with pytest.raises(CxrflowError, match=r"damaged, or of another network .*TorchScript"):
        find_model(f"xrv:{DENSENET}").build(1, 3)


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torchxrayvision", None)
    with pytest.raises(CxrflowError, match=r"pip install 'cxrflow\[xrv\]'"):
        find_model(f"xrv:{DENSENET}")
