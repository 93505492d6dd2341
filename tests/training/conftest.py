"""Networks that train in a fraction of a second, and a recipe for one."""

from collections.abc import Iterator

import pytest
from torch import nn

from cxrflow.models import MODELS
from cxrflow.models.model import Model
from cxrflow.params import Params, Training


def build_small(channels: int, classes: int) -> nn.Module:
    """Two convolutions with batch normalisation, a map of 4 x 4, dropout, one linear layer."""
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Dropout(0.1), nn.Linear(256, classes),
    )  # fmt: skip


def build_plain(channels: int, classes: int) -> nn.Module:
    """The same without what depends on the other pictures of a batch, or on chance."""
    layers = build_small(channels, classes).children()
    return nn.Sequential(*(layer for layer in layers if not isinstance(layer, (nn.BatchNorm2d, nn.Dropout))))


NETWORKS = {
    "small": Model(build_small, lambda network, size: network.get_submodule("5"), 32),
    "plain": Model(build_plain, lambda network, size: network.get_submodule("3"), 32),
}


@pytest.fixture(scope="session", autouse=True)
def networks() -> Iterator[None]:
    """Both are in the registry."""
    with pytest.MonkeyPatch.context() as patch:
        for name, model in NETWORKS.items():
            patch.setitem(MODELS, name, model)
        yield


@pytest.fixture(scope="session")
def training(params: Params) -> Training:
    """Four epochs of the small network; no flips, since the class of a tiny picture is where it is bright."""
    update = {
        "model": "small",
        "epochs": 4,
        "batch_size": 16,
        "learning_rate": 0.005,
        "early_stopping_epochs": 9,
        "augmentation": params.training.augmentation.model_copy(update={"flip": 0.0}),
    }
    return params.training.model_copy(update=update)
