"""ResNet-18, 34, 50, 101 and 152 (He et al. 2015, arXiv:1512.03385), from torchvision."""

from typing import Any

from torch import nn


def build_resnet18(channels: int, classes: int) -> nn.Module:
    """ResNet-18 (table 1, 18 layers) for ``channels`` input planes."""
    return _build("resnet18", channels, classes)


def build_resnet34(channels: int, classes: int) -> nn.Module:
    """ResNet-34 (table 1, 34 layers) for ``channels`` input planes."""
    return _build("resnet34", channels, classes)


def build_resnet50(channels: int, classes: int) -> nn.Module:
    """ResNet-50 (table 1, 50 layers) for ``channels`` input planes."""
    return _build("resnet50", channels, classes)


def build_resnet101(channels: int, classes: int) -> nn.Module:
    """ResNet-101 (table 1, 101 layers) for ``channels`` input planes."""
    return _build("resnet101", channels, classes)


def build_resnet152(channels: int, classes: int) -> nn.Module:
    """ResNet-152 (table 1, 152 layers) for ``channels`` input planes."""
    return _build("resnet152", channels, classes)


def gradcam_layer(network: nn.Module, size: int) -> nn.Module:
    """The last block of the last stage for images of at least 224 pixels, else of the third stage.

    At 224 pixels the last stage's map is 7 x 7, as in Selvaraju et al. 2017 (section 3). At 128 it is 4 x 4, too coarse
    to separate lung from heart; the third stage's map has twice the resolution.
    """
    from torchvision.models import ResNet

    if not isinstance(network, ResNet):
        raise TypeError(f"expected a ResNet, got {type(network).__name__}")
    layer: nn.Module = network.layer4[-1] if size >= 7 * 32 else network.layer3[-1]
    return layer


def _build(name: str, channels: int, classes: int) -> nn.Module:
    from torchvision import models  # takes as long to import as torch itself, and other networks do not need it

    network: Any = models.get_model(name, num_classes=classes)
    if channels != 3:
        network.conv1 = nn.Conv2d(channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    built: nn.Module = network
    return built
