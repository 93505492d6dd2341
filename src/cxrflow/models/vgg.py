"""VGG-11 and VGG-19 (Simonyan and Zisserman 2014, arXiv:1409.1556), from torchvision, without batch normalisation."""

from typing import Any

from torch import nn


def build_vgg11(channels: int, classes: int) -> nn.Module:
    """VGG-11 (table 1, column A) for ``channels`` input planes."""
    return _build("vgg11", channels, classes)


def build_vgg19(channels: int, classes: int) -> nn.Module:
    """VGG-19 (table 1, column E) for ``channels`` input planes."""
    return _build("vgg19", channels, classes)


def gradcam_layer(network: nn.Module, size: int) -> nn.Module:
    """The last convolution after its ReLU (Selvaraju et al. 2017, section 3): 14 x 14 at 224 pixels.

    Below 112 pixels, that map would be smaller than 7 x 7, so the last convolution of the previous stage is used.
    """
    from torchvision.models import VGG

    if not isinstance(network, VGG):
        raise TypeError(f"expected a VGG, got {type(network).__name__}")
    before_pooling = [i - 1 for i, layer in enumerate(network.features) if isinstance(layer, nn.MaxPool2d)]
    layer: nn.Module = network.features[before_pooling[-1 if size >= 7 * 16 else -2]]
    return layer


def _build(name: str, channels: int, classes: int) -> nn.Module:
    from torchvision import models  # takes as long to import as torch itself, and other networks do not need it

    network: Any = models.get_model(name, num_classes=classes)
    if channels != 3:
        network.features[0] = nn.Conv2d(channels, 64, kernel_size=3, padding=1)
        nn.init.kaiming_normal_(network.features[0].weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(network.features[0].bias)
    built: nn.Module = network
    return built
