"""Convolutional networks from timm (huggingface.co/docs/timm), by name, with random weights."""

import difflib
from typing import Any

import torch
from torch import nn

from cxrflow.errors import CxrflowError
from cxrflow.models.efficientnet_lite import packaged_weights
from cxrflow.models.model import Model, Pretrained


def find(name: str) -> Model:
    """timm's network ``name``.

    Raises CxrflowError if timm has no network of that name, if it accepts a single image size only, or if its last two
    stages (as in most transformers) do not output maps (n, planes, height, width), which Grad-CAM needs.
    """
    import timm  # takes seconds to import, and other networks do not need it

    names = timm.list_models()
    if name not in names:
        near = difflib.get_close_matches(name, names, n=5, cutoff=0.5)
        hint = f"did you mean {', '.join(f'timm:{n}' for n in near)}?" if near else "its names: timm.list_models()."
        raise CxrflowError(f"training.model: timm has no network called {name} (without tags such as .a1_in1k); {hint}")

    def architecture(channels: int, classes: int) -> nn.Module:
        network: nn.Module = timm.create_model(name, pretrained=False, in_chans=channels, num_classes=classes)
        return network

    with torch.device("meta"):  # shapes without values
        network: Any = architecture(1, 2).eval()
        size = int(network.pretrained_cfg["input_size"][-1])
        if network.pretrained_cfg.get("fixed_input_size"):
            raise CxrflowError(
                f"training.model: timm:{name} takes images of {size} x {size} only; choose a network that takes any "
                "size, such as a ResNet, EfficientNet, ConvNeXt or TResNet."
            )
        if not _has_maps(network, size):
            raise CxrflowError(
                f"training.model: the last stages of timm:{name} give no feature maps, which Grad-CAM needs; choose "
                "a convolutional network, such as a ResNet, EfficientNet, ConvNeXt or TResNet."
            )

    def imagenet() -> Pretrained:
        with torch.device("meta"):
            network: Any = architecture(3, 1000)
        data_set, state = "ImageNet-1k", packaged_weights(name, network)
        if state is None:
            network = timm.create_model(name, pretrained=True)
            data_set, state = f"timm {network.pretrained_cfg['tag']}", network.state_dict()
        return Pretrained(state, data_set, network.pretrained_cfg["mean"], network.pretrained_cfg["std"])

    return Model(architecture, gradcam_layer, size, imagenet=imagenet if timm.is_model_pretrained(name) else None)


def gradcam_layer(network: nn.Module, size: int) -> nn.Module:
    """The last stage in timm's ``feature_info`` if its map is at least 7 x 7, else the stage before it."""
    before, last = _stages(network)
    return network.get_submodule((last if size >= 7 * last["reduction"] else before)["module"])


def _stages(network: Any) -> list[dict[str, Any]]:
    """timm's description of the last two stages: planes, reduction (stride) of the map, module name."""
    return list(network.feature_info)[-2:]


def _has_maps(network: nn.Module, size: int) -> bool:
    stages = _stages(network) if hasattr(network, "feature_info") else []
    shapes: list[tuple[int, ...]] = []
    try:
        for stage in stages:
            network.get_submodule(stage["module"]).register_forward_hook(
                lambda _layer, _inputs, output: shapes.append(tuple(getattr(output, "shape", ())))
            )
        with torch.inference_mode():
            network(torch.zeros(1, 1, size, size))
    except (AttributeError, RuntimeError):  # a listed stage does not exist, or the network requires three planes
        return False
    planes = [stage["num_chs"] for stage in stages]
    return len(planes) == 2 and [shape[:2] for shape in shapes if len(shape) == 4] == [(1, n) for n in planes]
