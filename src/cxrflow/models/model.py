"""The interface of a network to the rest of cxrflow, and the normalisation of its input."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import torch
from torch import nn

from cxrflow.passport import Passport


@dataclass(frozen=True, slots=True)
class Pretrained:
    """Weights of a network that was trained on colour pictures.

    state      ``state_dict`` with three planes, including the last layer
    name       name of the data set
    mean, std  of each plane, for pixels in [0, 1]: the weights expect (pixel - mean) / std
    passport   origin, licence and training data of the weights
    """

    state: dict[str, torch.Tensor]
    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    passport: Passport

    def one_scale(self, first: Collection[str]) -> tuple[dict[str, torch.Tensor], tuple[float, float]]:
        """The weights for grey pictures whose planes are all normalised alike, and that mean and standard deviation.

        first  names of the weights of the first convolutions
        With w_c the weights of plane c, the first convolution of a grey picture g is the sum over planes of
        w_c (g - mean_c) / std_c. With m and s the means of mean_c and std_c, z = (g - m) / s and w'_c = w_c s / std_c,
        it is the sum of w'_c z, which the new weights give, and of w_c (m - mean_c) / std_c: a constant for each
        output, 0 where the planes have one mean.
        """
        mean, std = fmean(self.mean), fmean(self.std)
        state = dict(self.state)
        for name in first:
            factors = state[name].new_tensor([std / own for own in self.std])
            # A convolution of squares of pixels (TResNet) has several triples of planes.
            state[name] = state[name] * factors.repeat(state[name].shape[1] // 3)[None, :, None, None]
        return state, (mean, std)


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
    passport         origin, licence and training data of these pretrained weights; None if training starts from random
                     weights
    scale            mean and standard deviation of pixels in [0, 1] with which these pretrained weights expect their
                     input; None if training starts from random weights
    from_files       reads the published weights from a local folder or file, for three planes and without a last layer;
                     None if this network has none of that kind. Raises CxrflowError if they cannot be read.
    imagenet         returns ImageNet weights for this network; None if there are none. Raises if they cannot be
                     downloaded.
    """

    architecture: Callable[[int, int], nn.Module]
    gradcam_layer: Callable[[nn.Module, int], nn.Module]
    default_size: int
    load_pretrained: Callable[[nn.Module], None] | None = None
    pretrained_on: tuple[str, ...] = ()
    scale: tuple[float, float] | None = None
    from_files: Callable[[Path], Pretrained] | None = None
    imagenet: Callable[[], Pretrained] | None = None
    passport: Passport | None = None

    def build(self, channels: int, classes: int) -> nn.Module:
        """The network at the start of training: ``architecture``, with pretrained weights if it has any."""
        network = self.architecture(channels, classes)
        if self.load_pretrained is not None:
            self.load_pretrained(network)
        return network


def to_input(images: torch.Tensor, channels: int, mean: float, std: float) -> torch.Tensor:
    """Normalise grey images and repeat them in every channel.

    images     float (n, 1, size, size) in [0, 1]
    mean, std  of the training pixels, or those that pretrained weights expect, on the same scale
    Returns float (n, channels, size, size), channels last in memory.
    """
    planes = ((images - mean) / std).expand(-1, channels, -1, -1)
    return planes.contiguous(memory_format=torch.channels_last)
