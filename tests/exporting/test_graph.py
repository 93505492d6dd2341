"""The ONNX graph gives PyTorch's probabilities: of every network, and of several together."""

import gc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn import functional

from cxrflow import CxrflowError, Predictor
from cxrflow.bundle import Bundle, Network
from cxrflow.exporting import graph
from cxrflow.exporting.graph import largest_difference, to_onnx
from cxrflow.models import find_model
from cxrflow.models.stored import STORED, StoredNetwork
from cxrflow.onnx_file import ONNX
from cxrflow.task import Task

#: One of each kind, because an export takes seconds; benchmarks/parity.py compares the whole registry. Those that the
#: released COVID-Net is made of are tested as a stored network.
NAMES = ["resnet18", "resnet50", "covidnet_small", "crnn", "timm:vit_tiny_patch16_224"]


def run(content: bytes | str, **images: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    assert [each.name for each in session.get_outputs()] == ["probabilities", "by_fold"]
    return session.run(None, images)


def noise(n: int, size: int) -> np.ndarray:
    return np.random.default_rng(size).integers(0, 256, (n, size, size)).astype(np.uint8)


def bundle_of(task: Task, *networks: Network) -> Bundle:
    return Bundle(cxrflow="0", task=task, networks=networks, sources={}, digests={})


def by_hand(module: nn.Module, images: np.ndarray, channels: int = 1, temperature: float = 2.0) -> np.ndarray:
    pixels = (torch.from_numpy(images).double() / 255 - 0.4) / 0.2
    with torch.no_grad():
        logits = module(pixels.float()[:, None].repeat(1, channels, 1, 1))
    return functional.softmax(logits.double() / temperature, dim=1).numpy()


@pytest.mark.parametrize("name", NAMES)
def test_every_network_gives_pytorchs_probabilities(
    name: str, task: Task, describe: Callable[..., Network], settle: Callable[..., nn.Module]
) -> None:
    torch.manual_seed(0)
    module = settle(find_model(name).architecture(1, 3), 1, 64)
    model = to_onnx(bundle_of(task, describe(name)), [module])
    content, images = model.SerializeToString(), noise(3, 64)  # exported with two rows
    del model
    probabilities, by_fold = run(content, image=images)
    assert 1e-3 < probabilities.min() < probabilities.max() < 0.999  # a difference would be seen
    assert np.ptp(probabilities, axis=0).max() > 1e-3  # the answer depends on the picture
    assert probabilities == pytest.approx(by_hand(module, images), abs=1e-4)
    assert by_fold.shape == (1, 3, 3)
    assert np.array_equal(by_fold[0], probabilities)
    del content, module
    gc.collect()


def test_a_stored_network_gives_pytorchs_probabilities(
    task: Task, describe: Callable[..., Network], onnx_network: Callable[[int], bytes]
) -> None:
    pytest.importorskip("onnx2torch")
    module = StoredNetwork(onnx_network(64)).eval()
    content = to_onnx(bundle_of(task, describe(STORED, channels=3)), [module]).SerializeToString()
    images = noise(3, 64)
    assert run(content, image=images)[0] == pytest.approx(by_hand(module, images, 3), abs=1e-4)


def test_networks_of_folds_and_different_steps_are_pooled(exported: Path) -> None:
    predictor, large, small = Predictor(exported), noise(5, 64), noise(5, 48)
    given = zip(predictor.networks, (large, small, small), (1, 3, 1), (2.0, 0.5, 1.5), strict=True)
    each = [by_hand(network.module, images, *how) for network, images, *how in given]
    expected = np.stack([(each[0] + each[1]) / 2, each[2]])
    mean = expected.mean(axis=0) ** 1.85
    probabilities, by_fold = run(str(exported / ONNX), image_1=large, image_2=small)
    assert by_fold == pytest.approx(expected, abs=1e-4)
    assert probabilities == pytest.approx(mean / mean.sum(axis=1, keepdims=True), abs=1e-4)
    assert predictor.scores([large, small]) == pytest.approx(probabilities, abs=1e-4)
    assert np.abs(probabilities - by_fold.mean(axis=0)).max() > 1e-3  # sharpened


class _Overflows(nn.Module):
    """No finite number for a white image."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        mean = images.mean(dim=(1, 2, 3))
        return torch.stack([mean, -mean, torch.where(mean > 2.9, -torch.inf, 0.0)], dim=1)


def test_no_finite_number_is_no_probability(task: Task, describe: Callable[..., Network]) -> None:
    bundle, module = bundle_of(task, describe("crnn")), _Overflows()
    images = np.zeros((2, 64, 64), np.uint8)
    images[1] = 255
    probabilities, _ = run(to_onnx(bundle, [module]).SerializeToString(), image=images)
    assert np.isfinite(probabilities[0]).all()
    assert np.isnan(probabilities[1]).all()


def test_another_graph_is_seen_to_differ(task: Task, describe: Callable[..., Network]) -> None:
    networks = [find_model("crnn").architecture(1, 3).eval() for _ in range(2)]
    content = to_onnx(bundle_of(task, describe("crnn")), networks[:1]).SerializeToString()
    assert largest_difference(bundle_of(task, describe("crnn")), networks[:1], content) < 1e-5
    assert largest_difference(bundle_of(task, describe("crnn")), networks[1:], content) > 1e-4


def test_what_cannot_be_exported_is_one_sentence(
    task: Task, describe: Callable[..., Network], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Asks(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(np.linalg.pinv(images[:, 0, :3, :3].numpy()))[:, 0]

    with pytest.raises(CxrflowError, match=r"^PyTorch cannot export crnn \(.*\)\.$"):
        to_onnx(bundle_of(task, describe("crnn")), [Asks()])
    monkeypatch.setattr(graph, "MOST", 1000)
    with pytest.raises(CxrflowError, match=r"an ONNX file at most 2 GB; use PyTorch"):
        to_onnx(bundle_of(task, describe("crnn")), [find_model("crnn").architecture(1, 3)])
