"""A network as the rest of cxrflow knows it, and its input."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True, slots=True)
class Model:
    """A network that can be asked for by name.

    architecture     (input channels, classes) -> network with random weights: float (n, channels, size, size), roughly
                     zero mean and unit variance, to logits (n, classes)
    gradcam_layer    (network, side of its pictures in pixels) -> the layer that Grad-CAM uses; its output is a map
                     (n, planes, height, width)
    default_size     side of the pictures that its authors used (pixels)
    load_pretrained  loads pretrained weights into all layers of such a network but the last; None where training begins
                     with random weights. Raises CxrflowError where they cannot be downloaded or read.
    pretrained_on    the collections that those weights were trained on
    imagenet         loads ImageNet weights for such a network with three planes: its ``state_dict``, last layer
                     included, and the name of the data set; None where there are none. Raises where they cannot be
                     downloaded.
    """

    architecture: Callable[[int, int], nn.Module]
    gradcam_layer: Callable[[nn.Module, int], nn.Module]
    default_size: int
    load_pretrained: Callable[[nn.Module], None] | None = None
    pretrained_on: tuple[str, ...] = ()
    imagenet: Callable[[], tuple[dict[str, torch.Tensor], str]] | None = None

    def build(self, channels: int, classes: int) -> nn.Module:
        """The network that training begins with: ``architecture``, with its pretrained weights where it has any."""
        network = self.architecture(channels, classes)
        if self.load_pretrained is not None:
            self.load_pretrained(network)
        return network


def to_input(images: torch.Tensor, channels: int, mean: float, std: float) -> torch.Tensor:
    """Normalise grey images and repeat them on every channel.

    images  float (n, 1, size, size) in [0, 1]; mean, std  of the training pixels, as shares of white
    Returns float (n, channels, size, size), channels last in memory.
    """
    planes = ((images - mean) / std).expand(-1, channels, -1, -1)
    return planes.contiguous(memory_format=torch.channels_last)
