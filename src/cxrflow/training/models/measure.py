"""Parameters, multiply-accumulates and the Grad-CAM layer of a network, without its weights."""

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from cxrflow.records import CLASSES
from cxrflow.training.models import find_model


@dataclass(frozen=True, slots=True)
class Measures:
    """A network for pictures of ``default_size`` with 3 planes, and 3 classes.

    parameters_m   millions of parameters
    macs_g         billions of multiply-accumulates in convolutions and matrix products for one picture
    gradcam_layer  name of the module that Grad-CAM is taken at
    """

    name: str
    parameters_m: float
    macs_g: float
    default_size: int
    gradcam_layer: str


def measure(name: str, channels: int = 3, classes: int = len(CLASSES)) -> Measures:
    """Measure the network called ``name``. Raises CxrflowError as ``find_model``."""
    model = find_model(name)
    with torch.device("meta"), torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network = model.architecture(channels, classes).eval()
        network(torch.empty(1, channels, model.default_size, model.default_size))
    layer = model.gradcam_layer(network, model.default_size)
    return Measures(
        name=name,
        parameters_m=round(sum(p.numel() for p in network.parameters()) / 1e6, 6),
        macs_g=round(counter.get_total_flops() / 2e9, 6),
        default_size=model.default_size,
        gradcam_layer=next(path for path, module in network.named_modules() if module is layer),
    )
