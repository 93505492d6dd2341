"""Networks from timm (huggingface.co/docs/timm), by name, with random weights: convolutional ones and transformers."""

import difflib
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from cxrflow.errors import CxrflowError
from cxrflow.models import passports
from cxrflow.models.efficientnet_lite import PACKAGES, packaged_weights
from cxrflow.models.model import Model, Pretrained
from cxrflow.models.tokens import add_map


def find(name: str, changes: Mapping[str, Any] | None = None) -> Model:
    """timm's network ``name``, built with the arguments ``changes`` in place of its own.

    Transformers (ViT, DeiT, EVA, Swin and their kin) take images of any size that their patches divide: learned
    positions are interpolated from the grid of timm's own size, whose weights therefore fit at every size.
    Raises CxrflowError if timm has no network of that name, if it accepts a single image size only, or if its last two
    stages do not output maps (n, planes, height, width) or tokens, which Grad-CAM needs.
    """
    import timm  # takes seconds to import, and other networks do not need it

    names = timm.list_models()
    if name not in names:
        near = difflib.get_close_matches(name, names, n=5, cutoff=0.5)
        hint = f"did you mean {', '.join(f'timm:{n}' for n in near)}?" if near else "its names: timm.list_models()."
        raise CxrflowError(f"training.model: timm has no network called {name} (without tags such as .a1_in1k); {hint}")
    options: dict[str, Any] = dict(changes or {})

    def architecture(channels: int, classes: int) -> nn.Module:
        network: nn.Module = timm.create_model(
            name, pretrained=False, in_chans=channels, num_classes=classes, **options
        )
        blocks = {_last_block(network, stage) for stage in _stages(network)} if _has_tokens(network) else set()
        for block in blocks:
            add_map(block, getattr(network, "num_prefix_tokens", 0))
        return network

    with torch.device("meta"):  # shapes without values
        network: Any = architecture(1, 2).eval()
        size = int(options.get("img_size", network.pretrained_cfg["input_size"][-1]))
        if network.pretrained_cfg.get("fixed_input_size"):
            options["dynamic_img_size"] = True
            try:
                network = architecture(1, 2).eval()
            except TypeError:  # no such argument
                raise CxrflowError(
                    f"training.model: timm:{name} takes images of {size} x {size} only; choose a network that takes "
                    "any size, such as a ResNet, EfficientNet, ConvNeXt, TResNet, ViT, DeiT, EVA or Swin."
                ) from None
        if not _has_maps(network, size):
            raise CxrflowError(
                f"training.model: the last stages of timm:{name} give no feature maps, which Grad-CAM needs; choose "
                "another, such as a ResNet, EfficientNet, ConvNeXt, TResNet, ViT, DeiT, EVA or Swin."
            )

    def imagenet() -> Pretrained:
        with torch.device("meta"):
            network: Any = architecture(3, 1000)
        data_set, state = "ImageNet-1k", packaged_weights(name, network)
        if state is not None:
            passport = passports.efficientnet_lite(PACKAGES[name])
        else:
            network = timm.create_model(name, pretrained=True, **options)
            about = network.pretrained_cfg
            data_set, state = f"timm {about['tag']}", network.state_dict()
            passport = passports.timm(name, about["tag"], about.get("license"), about.get("hf_hub_id"))
        return Pretrained(state, data_set, network.pretrained_cfg["mean"], network.pretrained_cfg["std"], passport)

    return Model(architecture, gradcam_layer, size, imagenet=imagenet if timm.is_model_pretrained(name) else None)


def gradcam_layer(network: nn.Module, size: int) -> nn.Module:
    """The last stage in timm's ``feature_info`` if its map is at least 7 x 7, else a finer one before it.

    Of a transformer, the tokens that the stage's last block reads (models/tokens.py).
    """
    before, last = _stages(network)
    return _map_of(network, last if size >= 7 * last["reduction"] else before)


def _stages(network: Any) -> list[dict[str, Any]]:
    """timm's description of the last two stages with maps of different size: planes, reduction (stride) of the map,
    module name. Twice the last one if all have one size, as in ViT."""
    last = network.feature_info[-1]
    before = [stage for stage in network.feature_info if stage["reduction"] < last["reduction"]]
    return [(before or [last])[-1], last]


def _has_tokens(network: nn.Module) -> bool:
    return hasattr(network, "dynamic_img_size")


def _last_block(network: nn.Module, stage: dict[str, Any]) -> nn.Module:
    """The last block of a transformer's stage; in ViT each block is a stage."""
    module: Any = network.get_submodule(stage["module"])
    block: nn.Module = module.blocks[-1] if hasattr(module, "blocks") else module
    return block


def _map_of(network: nn.Module, stage: dict[str, Any]) -> nn.Module:
    """The layer whose output is the map of a stage."""
    block: Any = _last_block(network, stage)
    layer: nn.Module = block.maps if _has_tokens(network) else network.get_submodule(stage["module"])
    return layer


def _has_maps(network: nn.Module, size: int) -> bool:
    shapes: list[tuple[int, ...]] = []
    try:
        stages = _stages(network)
        for stage in stages:
            _map_of(network, stage).register_forward_hook(
                lambda _layer, _inputs, output: shapes.append(tuple(getattr(output, "shape", ())))
            )
        with torch.inference_mode():
            network(torch.zeros(1, 1, size, size))
    except (AttributeError, LookupError, RuntimeError):  # no stages, or they do not exist, or three planes are required
        return False
    return [shape[:2] for shape in shapes if len(shape) == 4] == [(1, stage["num_chs"]) for stage in stages]
