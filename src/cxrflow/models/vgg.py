"""VGG-11 and VGG-19 (Simonyan and Zisserman 2014, arXiv:1409.1556), torchvision's, without batch normalisation."""

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from torchvision.models import VGG


def build_vgg11(channels: int, classes: int) -> nn.Module:
    """VGG-11 (table 1, column A) for ``channels`` input planes."""
    return _build("vgg11", channels, classes)


def build_vgg19(channels: int, classes: int) -> nn.Module:
    """VGG-19 (table 1, column E) for ``channels`` input planes."""
    return _build("vgg19", channels, classes)


def gradcam_layer(network: nn.Module, size: int) -> nn.Module:
    """The last convolution, rectified (Selvaraju et al. 2017, section 3): 14 x 14 at 224 pixels.

    Where its map would be smaller than 7 x 7, below 112 pixels, that of the stage before the last pooling but one.
    """
    from torchvision.models import VGG

    if not isinstance(network, VGG):
        raise TypeError(f"expected a VGG, got {type(network).__name__}")
    before_pooling = [i - 1 for i, layer in enumerate(network.features) if isinstance(layer, nn.MaxPool2d)]
    return network.features[before_pooling[-1 if size >= 7 * 16 else -2]]


def _build(name: str, channels: int, classes: int) -> "VGG":
    from torchvision import models  # takes as long to import as torch itself; other networks do without it

    network: VGG = models.get_model(name, num_classes=classes)
    if channels != 3:
        network.features[0] = nn.Conv2d(channels, 64, kernel_size=3, padding=1)
        nn.init.kaiming_normal_(network.features[0].weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(network.features[0].bias)
    return network
