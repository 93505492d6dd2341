"""The interface of a network to the rest of cxrflow, and the normalisation of its input."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True, slots=True)
class Model:
    """A network available by name.

    architecture     (input channels, classes) -> network with random weights, from float (n, channels, size, size) with
                     roughly zero mean and unit variance to logits (n, classes)
    gradcam_layer    (network, image size in pixels) -> the layer that Grad-CAM uses; its output is a map
                     (n, planes, height, width)
    default_size     image size that its authors used (pixels)
    load_pretrained  loads pretrained weights into all layers of the network except the last; None if training starts
                     from random weights. Raises CxrflowError if the weights cannot be downloaded or read.
    pretrained_on    collections on which these pretrained weights were trained
    imagenet         returns ImageNet weights for this network with three planes (``state_dict``, including the last
                     layer) and the name of the data set; None if there are none. Raises if they cannot be downloaded.
    """

    architecture: Callable[[int, int], nn.Module]
    gradcam_layer: Callable[[nn.Module, int], nn.Module]
    default_size: int
    load_pretrained: Callable[[nn.Module], None] | None = None
    pretrained_on: tuple[str, ...] = ()
    imagenet: Callable[[], tuple[dict[str, torch.Tensor], str]] | None = None

    def build(self, channels: int, classes: int) -> nn.Module:
        """The network at the start of training: ``architecture``, with pretrained weights if it has any."""
        network = self.architecture(channels, classes)
        if self.load_pretrained is not None:
            self.load_pretrained(network)
        return network


def to_input(images: torch.Tensor, channels: int, mean: float, std: float) -> torch.Tensor:
    """Normalise grey images and repeat them in every channel.

    images     float (n, 1, size, size) in [0, 1]
    mean, std  of the training pixels, on the same scale
    Returns float (n, channels, size, size), channels last in memory.
    """
    planes = ((images - mean) / std).expand(-1, channels, -1, -1)
    return planes.contiguous(memory_format=torch.channels_last)
