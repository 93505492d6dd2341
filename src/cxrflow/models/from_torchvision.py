"""ImageNet weights of torchvision's networks, from the cache or downloaded."""

from collections.abc import Callable

import torch

State = dict[str, torch.Tensor]


def imagenet(name: str) -> Callable[[], tuple[State, str]]:
    """A loader of the ImageNet weights of torchvision's network ``name``: its ``state_dict``, and the data set's name.

    The loader raises OSError if the weights are not in torch's cache (``TORCH_HOME``) and cannot be downloaded, and
    RuntimeError if their SHA-256 is not the published one.
    """

    def load() -> tuple[State, str]:
        from torchvision.models import get_model_weights  # imported on use, because it takes seconds

        weights = get_model_weights(name).DEFAULT
        return weights.get_state_dict(check_hash=True, weights_only=True, map_location="cpu"), "ImageNet-1k"

    return load
