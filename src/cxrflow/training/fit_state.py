"""Fits weights to a network with another number of input planes or of classes."""

from collections.abc import Callable, Collection, Mapping

import torch
from torch import nn

from cxrflow.errors import CxrflowError

State = Mapping[str, torch.Tensor]


def fit_state(network: nn.Module, state: State, where: str, random: Collection[str] = ()) -> None:
    """Load ``state`` into ``network``; first convolution and last layer may differ as described in ``start.begin``.

    where   name of the weights in error messages
    random  names of tensors that keep their random values
    """
    own = network.state_dict()
    taken: dict[str, torch.Tensor] = {}
    left: list[str] = []
    for name, ours in own.items():
        if name in random:
            continue
        theirs = state.get(name)
        if theirs is not None and theirs.shape == ours.shape:
            taken[name] = theirs
        elif theirs is not None and (stem := other_planes(theirs, ours)) is not None:
            taken[name] = stem
        else:
            left.append(name)
    end = list(own)[-1]
    classes, last = len(own[end]), end.rpartition(".")[0]
    left += [name for name in state if name not in own]

    def is_last(name: str) -> bool:
        """Whether a tensor belongs to the last layer, or to a second output layer for the same classes."""
        if name.rpartition(".")[0] == last:
            return True
        both = name in own and name in state
        return both and len(own[name]) == classes and own[name].shape[1:] == state[name].shape[1:]

    if wrong := [name for name in left if not is_last(name)]:
        raise CxrflowError(
            f"training.start: {where} does not fit the network: {wrong[0]} is in only one of the two, or has another "
            "shape; set training.model to the network of these weights."
        )
    network.load_state_dict(own | taken)


def changed_tensors(
    architecture: Callable[[int, int], nn.Module], one: tuple[int, int], two: tuple[int, int]
) -> list[str]:
    """Names of the tensors whose shape differs between two networks of these numbers of (planes, classes): one row per
    class in the last layers, or one kernel per plane in the first convolutions."""
    with torch.device("meta"):
        these, those = architecture(*one).state_dict(), architecture(*two).state_dict()
    return [name for name, tensor in these.items() if tensor.shape != those[name].shape]


def other_planes(theirs: torch.Tensor, ours: torch.Tensor) -> torch.Tensor | None:
    """Convolution weights adapted to images with another number of channels, 1 or 3; None if more differs.

    TResNet first turns each square of 4 x 4 pixels into channels, the colours of a pixel next to each other (Ridnik et
    al. 2020, arXiv:2003.13630, section 2.1; timm's ``SpaceToDepth``): 48 channels for colour, 16 for grey.
    """
    alike = theirs.ndim == ours.ndim == 4 and theirs.shape[0] == ours.shape[0] and theirs.shape[2:] == ours.shape[2:]
    if not alike or {theirs.shape[1], ours.shape[1]} not in ({1, 3}, {16, 48}):
        return None
    if theirs.shape[1] > ours.shape[1]:
        outputs, planes, *sides = theirs.shape
        return theirs.reshape(outputs, planes // 3, 3, *sides).sum(dim=2)
    return theirs.repeat_interleave(3, dim=1) / 3
