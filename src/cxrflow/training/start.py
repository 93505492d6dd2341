"""Where training starts from: random weights, ImageNet, a file, a bundle, or a checkpoint."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import pandas as pd
import torch
from safetensors.torch import load_file, save
from torch import nn

from cxrflow.bundle import DESCRIPTION, TRAINED_ON, read_bundle, read_trained_on
from cxrflow.errors import CxrflowError
from cxrflow.models import find_model
from cxrflow.models.stored import STORED
from cxrflow.params import IMAGENET, SCRATCH, Images


@dataclass(frozen=True)
class Start:
    """What training begins with.

    network        on the CPU
    pretrained_on  the collections that its weights have seen; empty from scratch
    seen           rows as ``bundle.seen_rows`` gives them, of all images that they have seen and that are listed
    listed         False where they have seen radiographs that nobody listed
    checkpoint     a checkpoint of an earlier training, whose optimiser and schedule go on; or None
    epochs         that the checkpoint has been trained for
    digest         SHA-256 (hexadecimal) of the weights; empty from scratch
    scale          mean and standard deviation of the pixels that the weights were trained with, which their input
                   keeps; None where it takes those of the new training images
    """

    network: nn.Module
    pretrained_on: tuple[str, ...] = ()
    seen: pd.DataFrame | None = None
    listed: bool = True
    checkpoint: Path | None = None
    epochs: int = 0
    digest: str = ""
    scale: tuple[float, float] | None = None


def begin(model: str, start: str, images: Images, classes: int) -> Start:
    """Build the network called ``model`` with the weights that ``start`` (``training.start``) names.

    start  ``scratch``: random, or those that a name as xrv:... promises; ``imagenet``: the library's own, from its
           cache or the network; a file of weights (.safetensors, or .pth with nothing but tensors in it); the folder of
           a bundle; or a checkpoint of a training (.ckpt), which then goes on with its optimiser and schedule
    A first convolution of three planes serves a network of one by the sum over its planes, which gives the same for a
    grey picture, and the other way round. Last layers for another number of classes are left at random.
    Raises CxrflowError where weights are absent, damaged, of another network, or cannot be downloaded.
    """
    known = None if model == STORED else find_model(model)
    if start == SCRATCH and known is not None:
        return Start(known.build(images.channels, classes), known.pretrained_on, listed=known.load_pretrained is None)
    path = Path(start)
    if (path / DESCRIPTION).exists():
        return _from_bundle(path, model, images, classes)
    if known is None:
        raise CxrflowError(
            f"training.start: {start} is no bundle, and a network called {STORED} comes from one; name its folder."
        )
    network = known.architecture(images.channels, classes)
    if start == IMAGENET:
        state, name = _imagenet(model)
        fit_state(network, state, f"the ImageNet weights of {model}")
        return Start(network, (name,), digest=_digest(network))
    if not path.is_file():
        raise CxrflowError(
            f"training.start: {start} is no file of weights, checkpoint or folder of a bundle; set it to {SCRATCH}, "
            f"{IMAGENET} or the path of one."
        )
    if path.suffix == ".ckpt":
        return _from_checkpoint(path, network)
    fit_state(network, _state_of(path), str(path))
    return Start(network, (f"unknown ({path.name})",), listed=False, digest=_digest(network))


def fit_state(network: nn.Module, state: Mapping[str, torch.Tensor], where: str) -> None:
    """Load ``state`` into ``network``; the first convolution and the last layers may differ as ``begin`` says.

    where  what the weights are called in an error
    """
    own = network.state_dict()
    taken: dict[str, torch.Tensor] = {}
    left: list[str] = []
    for name, ours in own.items():
        theirs = state.get(name)
        if theirs is not None and theirs.shape == ours.shape:
            taken[name] = theirs
        elif theirs is not None and (stem := _other_planes(theirs, ours)) is not None:
            taken[name] = stem
        else:
            left.append(name)
    end = list(own)[-1]
    classes, last = len(own[end]), end.rpartition(".")[0]
    left += [name for name in state if name not in own]

    def is_last(name: str) -> bool:
        """Of the layer that comes last, or of a second one that gives the classes."""
        if name.rpartition(".")[0] == last:
            return True
        both = name in own and name in state
        return both and len(own[name]) == classes and own[name].shape[1:] == state[name].shape[1:]

    if wrong := [name for name in left if not is_last(name)]:
        raise CxrflowError(
            f"training.start: {where} does not fit the network: {wrong[0]} is in one of them only or of another shape; "
            "set training.model to the network that it is of."
        )
    network.load_state_dict(own | taken)


def _from_bundle(path: Path, model: str, images: Images, classes: int) -> Start:
    bundle, other = read_bundle(path)
    if bundle.model != model:
        raise CxrflowError(f"training.start: {path} holds a {bundle.model}, not a {model}; set training.model to it.")
    network = other
    if model != STORED:
        network = find_model(model).architecture(images.channels, classes)
        fit_state(network, other.state_dict(), str(path))
    elif (bundle.images.size, bundle.images.channels, len(bundle.classes)) != (images.size, images.channels, classes):
        raise CxrflowError(
            f"training.start: the imported network in {path} keeps its images.size {bundle.images.size}, its "
            f"images.channels {bundle.images.channels} and {len(bundle.classes)} classes; set the first two to these."
        )
    before = tuple(dict.fromkeys((*bundle.pretrained_on, *bundle.sources)))
    return Start(
        network.train(),  # a bundle's is read for scoring
        before,
        read_trained_on(path),
        bundle.seen == "listed",
        digest=_digest(network),
        scale=(bundle.mean, bundle.std),
    )


def _digest(network: nn.Module) -> str:
    return sha256(save(network.state_dict())).hexdigest()


def _from_checkpoint(path: Path, network: nn.Module) -> Start:
    """What is known of a checkpoint; its weights are loaded with its optimiser, when training goes on."""
    held = _load(path)
    try:
        state, origin, epochs = held["state_dict"], held["origin"], held["epoch"] + 1
        before = tuple(dict.fromkeys((*origin["pretrained_on"], *origin["sources"])))
        mean, std = origin["scale"]
    except (KeyError, TypeError):
        raise CxrflowError(
            f"training.start: {path} is no checkpoint of this version's `cxrflow training`; name another."
        ) from None
    theirs = {name.removeprefix("network."): t.shape for name, t in state.items() if name.startswith("network.")}
    if theirs != {name: tensor.shape for name, tensor in network.state_dict().items()}:
        raise CxrflowError(
            f"training.start: {path} is of another network, or of other images.channels; set training.model to its own."
        )
    try:
        seen = read_trained_on(path.parent)
    except CxrflowError:
        raise CxrflowError(
            f"training.start: {path} lies without the {TRAINED_ON} that training writes beside it, so what it has seen "
            "is unknown; keep the two together."
        ) from None
    known = {"epochs": epochs, "digest": sha256(path.read_bytes()).hexdigest(), "scale": (mean, std)}
    return Start(network, before, seen, origin["listed"], path, **known)


def _other_planes(theirs: torch.Tensor, ours: torch.Tensor) -> torch.Tensor | None:
    """Weights of a convolution for pictures of another number of planes, 1 or 3; None where they differ in more.

    TResNet's first convolution sees each square of 4 x 4 pixels as planes, pixel by pixel, of each its 3 planes (Ridnik
    et al. 2020, arXiv:2003.13630, section 2.1; timm's ``SpaceToDepth``): 48 planes, or 16.
    """
    alike = theirs.ndim == ours.ndim == 4 and theirs.shape[0] == ours.shape[0] and theirs.shape[2:] == ours.shape[2:]
    if not alike or {theirs.shape[1], ours.shape[1]} not in ({1, 3}, {16, 48}):
        return None
    if theirs.shape[1] > ours.shape[1]:
        return theirs.unflatten(1, (-1, 3)).sum(dim=2)
    return theirs.repeat_interleave(3, dim=1) / 3


def _imagenet(model: str) -> tuple[dict[str, torch.Tensor], str]:
    load = find_model(model).imagenet
    if load is None:
        raise CxrflowError(f"training.start: there are no ImageNet weights for {model}; set it to {SCRATCH}.")
    try:
        return load()
    except Exception as error:  # the libraries raise almost anything without a network
        reason = " ".join(str(error).split())[:200]
        raise CxrflowError(
            f"training.start: the ImageNet weights of {model} are not in the cache and could not be downloaded "
            f"({reason}); set it to the path of a file of weights, or to {SCRATCH}."
        ) from None


def _state_of(path: Path) -> dict[str, torch.Tensor]:
    state = _load(path)
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise CxrflowError(f"training.start: {path} is no state_dict of tensors; save its state_dict as .safetensors.")
    return state


def _load(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError:
        raise CxrflowError(
            f"training.start: {path} holds more than tensors, or is damaged, and nothing else is ever unpickled; save "
            "its state_dict as .safetensors."
        ) from None
    except Exception as error:  # a damaged file raises anything
        raise CxrflowError(f"training.start: {path} holds no weights ({' '.join(str(error).split())[:200]}).") from None
