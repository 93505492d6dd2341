"""Transformers: the tokens of an image as a feature map, for Grad-CAM.

Grad-CAM needs a map (n, planes, height, width), whose gradient says where the evidence of a class is. Transformers have
tokens. The ones taken here are those that the last block reads. Where a class token alone is classified, as in ViT
(Dosovitskiy et al. 2021, arXiv:2010.11929), those that it writes have no gradient: nothing but the class token goes on.
The same place is used where all tokens are averaged, as in Swin (Liu et al. 2021, arXiv:2103.14030).

The alternative to Grad-CAM is Captum's occlusion (explanation/heat.py), which the audit sets beside it for every
network. Attention rollout (Abnar and Zuidema 2020, arXiv:2005.00928) would be the same map for every class, whereas the
audit asks for the evidence of one. It needs the attention matrices, which PyTorch's fused attention never forms, and is
not defined for Swin, whose windows have no token in common.
"""

from functools import partial
from math import isqrt
from typing import Any

import torch
from torch import nn


def add_map(block: nn.Module, prefix: int) -> None:
    """Pass the tokens that ``block`` reads through ``block.maps``, whose output is the map; nothing else changes.

    block   a block of a transformer, from float (n, prefix + height * width, planes) or (n, height, width, planes)
    prefix  number of tokens before those of the image, such as the class token, which are not in the map
    ``maps`` has no weights, so that the network's ``state_dict`` remains the library's.
    """
    block.maps = nn.Identity()
    block.register_forward_pre_hook(partial(_read_map, prefix))


def _read_map(prefix: int, block: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    tokens, *others = inputs
    if tokens.ndim == 4:
        return block.maps(tokens.permute(0, 3, 1, 2)).permute(0, 2, 3, 1), *others
    before, image = tokens[:, :prefix], tokens[:, prefix:]
    side = isqrt(image.shape[1])  # images are square
    maps: torch.Tensor = block.maps(image.transpose(1, 2).unflatten(2, (side, side)))
    return torch.cat([before, maps.flatten(2).transpose(1, 2)], dim=1), *others
