"""What the rest of cxrflow knows of a network."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True, slots=True)
class Model:
    """A network that can be asked for by name.

    architecture     (input channels, classes) -> network with random weights: float (n, channels, size, size), roughly
                     zero mean and unit variance, to logits (n, classes)
    gradcam_layer    (network, side of its pictures in pixels) -> the layer whose output, a map (n, planes, height,
                     width), Grad-CAM is taken at
    default_size     side of the pictures that its authors used (pixels)
    load_pretrained  puts the weights that its name promises into such a network, all but those of the last layer;
                     None where it begins at random. Raises CxrflowError where they are not to be had.
    pretrained_on    the collections that those weights have seen
    imagenet         loads weights trained on ImageNet for such a network of three planes: its ``state_dict``, the last
                     layer among it, and the name of what they have seen; None where there are none. Raises where they
                     cannot be had.
    """

    architecture: Callable[[int, int], nn.Module]
    gradcam_layer: Callable[[nn.Module, int], nn.Module]
    default_size: int
    load_pretrained: Callable[[nn.Module], None] | None = None
    pretrained_on: tuple[str, ...] = ()
    imagenet: Callable[[], tuple[dict[str, torch.Tensor], str]] | None = None

    def build(self, channels: int, classes: int) -> nn.Module:
        """The network that training begins with: ``architecture``, and the weights that its name promises, if any."""
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
