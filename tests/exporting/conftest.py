"""Bundles of one or several networks with random weights."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import nn

from cxrflow.bundle import Bundle, LeftOutScores, Network, OperatingPoint, PredictionSets
from cxrflow.bundle_files import seen_rows, write_bundle
from cxrflow.exporting.export import export
from cxrflow.models import find_model
from cxrflow.params import Images, Params
from cxrflow.task import Task


def settled(module: nn.Module, channels: int, size: int) -> nn.Module:
    """With weights by which noise keeps its variance from layer to layer (Mishkin and Matas 2016, arXiv:1511.06422),
    and the statistics of batch normalisation that it has then; in evaluation mode. Without, what some networks see dies
    away, and they give every picture the same answer."""
    layers = [layer for layer in module.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    with torch.no_grad():
        hooks = [layer.register_forward_hook(_to_unit_variance) for layer in layers]
        module.train()(torch.randn(4, channels, size, size))
        for hook in hooks:
            hook.remove()
        for _ in range(2):
            module.train()(torch.randn(4, channels, size, size))
    return module.eval()


def _to_unit_variance(layer: Any, _: Any, out: torch.Tensor) -> torch.Tensor:
    spread = out.std()
    layer.weight /= spread
    if layer.bias is not None:
        layer.bias /= spread
    return out / spread


@pytest.fixture(scope="session")
def settle() -> Callable[..., nn.Module]:
    return settled


@pytest.fixture(scope="session")
def describe(demo_params: Params) -> Callable[..., Network]:
    """A network's description; ``steps`` are other image steps than the demo's."""

    def make(model: str, fold: int | None = None, temperature: float = 2.0, **steps: Any) -> Network:
        images = Images(**demo_params.images.model_dump() | {"size": 64} | steps)
        return Network(model=model, images=images, mean=0.4, std=0.2, temperature=temperature, fold=fold, epoch=0,
                       validation={})  # fmt: skip

    return make


@pytest.fixture(scope="session")
def write(task: Task) -> Callable[..., Path]:
    """Writes a bundle of some networks into a folder; ``more`` are further fields of its description."""

    def make(folder: Path, networks: Sequence[Network], **more: Any) -> Path:
        torch.manual_seed(1)
        of = more.get("task", task)
        bundle = Bundle(cxrflow="0", networks=tuple(networks), sources={}, digests={}, **{"task": task} | more)
        modules = []
        for network in networks:
            module = find_model(network.model).build(network.images.channels, len(of.order))
            modules.append(settled(module, network.images.channels, network.images.size))
        empty = pd.DataFrame({"split": [], "content_hash": [], "near_hash": [], "patient_id": []})
        write_bundle(folder, modules, bundle, seen_rows(empty))
        return folder

    return make


@pytest.fixture(scope="session")
def exported(
    tmp_path_factory: pytest.TempPathFactory, write: Callable[..., Path], describe: Callable[..., Network], task: Task
) -> Path:
    """A bundle of three networks, of two folds and two sets of image steps, sharpened, exported into its folder."""
    networks = [
        describe("crnn", 0),
        describe("crnn", 0, 0.5, size=48, channels=3, equalise="none"),
        describe("crnn", 1, 1.5, size=48, equalise="none"),
    ]
    half = LeftOutScores(scores=(0.1, 0.4), weights=(0.2, 0.25))
    sets = PredictionSets(coverage=0.9, left_out=dict.fromkeys(task.order, (half, half)))
    point = OperatingPoint(wanted=0.9, threshold=0.4, sensitivity=0.8, specificity=0.9)
    folder = tmp_path_factory.mktemp("bundle")
    write(folder, networks, sharpness=1.85, thresholds={"specificity": point}, prediction_sets=sets)
    export(folder)
    return folder
