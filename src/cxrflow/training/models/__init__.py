"""The networks: one file each, one registry. A new network is one file, one line here and one test."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from cxrflow.errors import CxrflowError
from cxrflow.training.models import resnet


@dataclass(frozen=True, slots=True)
class Model:
    """A network that can be asked for by name.

    build          (input channels, classes) -> network with random weights: float (n, channels, size, size), roughly
                   zero mean and unit variance, to logits (n, classes)
    gradcam_layer  (network, side of its pictures in pixels) -> the layer whose output Grad-CAM is taken at
    default_size   side of the pictures that its authors used (pixels)
    """

    build: Callable[[int, int], nn.Module]
    gradcam_layer: Callable[[nn.Module, int], nn.Module]
    default_size: int


MODELS: dict[str, Model] = {
    "resnet18": Model(resnet.build_resnet18, resnet.gradcam_layer, 224),
    "resnet50": Model(resnet.build_resnet50, resnet.gradcam_layer, 224),
}


def find_model(name: str) -> Model:
    """The network called ``name``. Raises CxrflowError naming those there are."""
    if name not in MODELS:
        raise CxrflowError(f"training.model: no network is called {name}; choose one of {', '.join(MODELS)}.")
    return MODELS[name]
