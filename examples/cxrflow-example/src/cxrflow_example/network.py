"""A network: three convolutions, for images of any size."""

import itertools

from torch import nn

from cxrflow.models.model import Model


def build(channels: int, classes: int) -> nn.Module:
    """Float (n, channels, size, size) to logits (n, classes)."""
    widths = (channels, 16, 32, 64)
    layers = []
    for inputs, planes in itertools.pairwise(widths):
        layers += [nn.Conv2d(inputs, planes, 3, stride=2, padding=1), nn.BatchNorm2d(planes), nn.ReLU()]
    return nn.Sequential(nn.Sequential(*layers), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes))


def gradcam_layer(network: nn.Module, size: int) -> nn.Module:
    """The last map, an eighth of the image."""
    return network.get_submodule("0")


SMALL = Model(build, gradcam_layer, 64)
