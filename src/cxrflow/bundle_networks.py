"""The networks of a bundle, built and loaded from its files (bundle_files.py). Nothing is unpickled."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import nn

from cxrflow.bundle import Bundle, Network
from cxrflow.bundle_files import DESCRIPTION, graph_file, read_description, weights_digest, weights_file
from cxrflow.errors import CxrflowError, one_line
from cxrflow.models import find_model, plugin_of
from cxrflow.models.model import to_input
from cxrflow.models.stored import STORED, StoredNetwork
from cxrflow.plugins import Plugin, check_trained_with, described
from cxrflow.state import read_bytes

_MOST_GRAPH = 2**28
_RESTORE = "train the bundle again or restore the file"


def read_bundle(folder: Path) -> tuple[Bundle, list[nn.Module]]:
    """A bundle's description and its networks. Raises CxrflowError as ``read_description`` and ``read_networks`` do."""
    bundle = read_description(folder)
    return bundle, read_networks(folder, bundle)


def read_networks(folder: Path, bundle: Bundle) -> list[nn.Module]:
    """The networks of the bundle in ``folder``, whose description is ``bundle``, on the CPU, in evaluation mode.

    Raises CxrflowError if weights are damaged or of another network, if one of them is no finite number, if a network
    gives no number for a black image, or if its code is not here (``plugins.check_trained_with``).
    """
    check_trained_with(bundle.plugins, folder)
    if hidden := set(plugins_of(bundle.networks)) - set(bundle.plugins):
        raise CxrflowError(f"{folder / DESCRIPTION}: plugins does not describe {hidden.pop().name}; {_RESTORE}.")
    if weights_digest(bundle.networks) != bundle.digests.get("weights"):
        raise CxrflowError(f"{folder / DESCRIPTION}: digests.weights is not that of its networks; {_RESTORE}.")
    return [_read(folder, bundle, number) for number in range(len(bundle.networks))]


def _read(folder: Path, bundle: Bundle, number: int) -> nn.Module:
    network, classes, file = bundle.networks[number], len(bundle.task.order), folder / weights_file(number)
    module = _build(folder, bundle, number)
    if isinstance(module, StoredNetwork) and len(module.order) != classes:
        raise CxrflowError(
            f"{folder / DESCRIPTION}: the network has {len(module.order)} outputs, not one for each of the classes "
            f"{', '.join(bundle.task.order)}; import it again."
        )
    try:
        content = file.read_bytes()
        state = load(content)
        module.load_state_dict(state)
    except (OSError, SafetensorError, RuntimeError, ValueError, KeyError) as error:
        reason = one_line(str(error).splitlines()[0] if str(error) else type(error).__name__)
        raise CxrflowError(
            f"{file}: weights are absent, damaged or of another network ({reason}); {_RESTORE}."
        ) from None
    if hashlib.sha256(content).hexdigest() != network.weights:
        raise CxrflowError(f"{file}: weights are not those that {DESCRIPTION} describes; restore them.")
    for name, tensor in module.state_dict().items():
        if state[name].dtype != tensor.dtype:
            raise CxrflowError(f"{file}: {name} holds {state[name].dtype}, not {tensor.dtype}; {_RESTORE}.")
        if not torch.isfinite(tensor).all():
            raise CxrflowError(f"{file}: {name} holds values that are no finite numbers; {_RESTORE}.")
    if isinstance(module, StoredNetwork) and sorted(module.order.tolist()) != list(range(classes)):
        raise CxrflowError(f"{file}: order does not name each output once; import the network again.")
    _try(module.eval(), network, classes, folder)
    return module


@torch.inference_mode()
def _try(module: nn.Module, network: Network, classes: int, folder: Path) -> None:
    """Raise CxrflowError unless the network gives finite numbers, one for each class, for a black image."""
    size, planes = network.images.size, network.images.channels
    try:
        logits = module(to_input(torch.zeros(1, 1, size, size), planes, network.mean, network.std))
        answers = tuple(logits.shape) == (1, classes) and bool(torch.isfinite(logits).all())
        reason = "it gives no number for each class"
    except Exception as error:  # a stored graph can raise anything
        answers, reason = False, one_line(str(error))
    if not answers:
        raise CxrflowError(
            f"{folder}: the network cannot be used on {planes} x {size} x {size} images ({reason}); {_RESTORE}."
        )


def plugins_of(networks: Iterable[Network]) -> tuple[Plugin, ...]:
    """The networks and image steps of others that some networks need, each once (``Bundle.plugins``)."""
    found: dict[Plugin | None, None] = {}
    for network in networks:
        found[None if network.model == STORED else plugin_of(network.model)] = None
        found |= dict.fromkeys(described("image_steps", name, "images.extra") for name in network.images.extra)
    return tuple(each for each in found if each is not None)


def gradcam_layer(network: Network, module: nn.Module) -> nn.Module:
    """The layer of a bundle's network that Grad-CAM uses."""
    if isinstance(module, StoredNetwork):
        return module.gradcam_layer
    return find_model(network.model).gradcam_layer(module, network.images.size)


def _build(folder: Path, bundle: Bundle, number: int) -> nn.Module:
    network = bundle.networks[number]
    if network.model != STORED:
        try:
            return find_model(network.model).architecture(network.images.channels, len(bundle.task.order))
        except CxrflowError as error:
            raise CxrflowError(f"{folder / DESCRIPTION}: model: {error}") from None
    file = folder / graph_file(number)
    graph = read_bytes(file, "import the network again", _MOST_GRAPH)
    if hashlib.sha256(graph).hexdigest() != network.graph:
        raise CxrflowError(f"{file}: not the graph that {DESCRIPTION} describes; import it again.")
    try:
        return StoredNetwork(graph)
    except CxrflowError as error:
        raise CxrflowError(f"{file}: {error}") from None
