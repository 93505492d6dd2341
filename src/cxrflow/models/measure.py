"""Number of parameters, multiply-accumulates, Grad-CAM layer and valid image sizes of a network, on the meta device."""

import json
from dataclasses import asdict, dataclass

import torch
from rich.table import Table
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from cxrflow.errors import CxrflowError
from cxrflow.models import MODELS, find_model
from cxrflow.models.stored import STORED
from cxrflow.terminal import console


@dataclass(frozen=True, slots=True)
class Measures:
    """The size and cost of a network, for images of ``default_size``.

    parameters_m   millions of parameters
    macs_g         billions of multiply-accumulates in convolutions and matrix products per image
    gradcam_layer  name of the module that Grad-CAM uses
    """

    name: str
    parameters_m: float
    macs_g: float
    default_size: int
    gradcam_layer: str


def measure(name: str, channels: int = 3, classes: int = 3) -> Measures:
    """Measure the network called ``name``. Raises CxrflowError as ``find_model`` does."""
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


def print_models(as_json: bool) -> None:
    """Print all registered networks with their measures, as a table or as a JSON list of objects."""
    measured = [measure(name) for name in MODELS]
    if as_json:
        print(json.dumps([asdict(row) for row in measured], indent=2))
        return
    table = Table("model", "parameters (M)", "MACs (G)", "default size", "Grad-CAM layer")
    for row in measured:
        figures = f"{row.parameters_m:.1f}", f"{row.macs_g:.2f}", str(row.default_size)
        table.add_row(row.name, *figures, row.gradcam_layer)
    console().print(table)
    console().print(
        "For 3 planes and 3 classes; multiply-accumulates and layer at the default size. Other sizes work, too.\n"
        "timm:NAME    most networks of timm, such as timm:tresnet_m, timm:vit_small_patch16_224; random weights\n"
        "xrv:WEIGHTS  torchxrayvision's, pretrained on radiographs, such as xrv:densenet121-res224-all "
        "(pip install 'cxrflow\\[xrv]')\n"
        "published:NAME  rad-dino, eva-x-tiny, eva-x-small, eva-x-base, biomedclip, medsiglip; weights in local files",
        highlight=False,
        soft_wrap=True,
    )


def check_size(name: str, channels: int, size: int, classes: int, key: str = "images.size") -> None:
    """Raise CxrflowError if the network called ``name`` does not accept images of ``size``, and as ``find_model`` does.

    channels  number of input planes
    size      image size (pixels)
    classes   number of outputs
    key       parameter that sets the size, for the message
    """
    if name == STORED:  # training/start.py compares its size with that of its bundle
        return
    model = find_model(name)
    with torch.device("meta"), torch.inference_mode():
        network = model.architecture(channels, classes).eval()
        if _takes(network, channels, size):
            return
        near = [next((s for s in sizes if _takes(network, channels, s)), None) for sizes in _around(size)]
    fitting = " and ".join(str(s) for s in near if s is not None) or str(model.default_size)
    raise CxrflowError(f"{key}: {name} does not take images of {size} x {size}; nearest sizes: {fitting}.")


def _around(size: int, reach: int = 64) -> tuple[range, range]:
    return range(size - 1, max(size - reach, 31), -1), range(size + 1, size + reach)


def _takes(network: nn.Module, channels: int, size: int) -> bool:
    try:
        network(torch.empty(1, channels, size, size))
    except (AssertionError, RuntimeError, ValueError):  # incompatible shapes
        return False
    return True
