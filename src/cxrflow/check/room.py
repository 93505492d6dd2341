"""What room the planned work takes, and what is free on this machine: memory and disk."""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import psutil
import torch

from cxrflow.models import find_model
from cxrflow.models.stored import STORED
from cxrflow.params import Images, Member, Training

#: Gigabytes of a training beside the tensors of its network: the interpreter with its libraries, and their workspaces.
_BESIDE = 1.0
#: Tensors the size of the weights: weights, gradients, two moments of AdamW, moving average.
_OF_WEIGHTS = 5
#: What a training holds at its peak, as a multiple of the activations that its gradient needs: 1.15 measured on a CPU
#: (docs/check.md).
_SLACK = 1.2


def training_gb(images: Images, training: Training, classes: int) -> float | None:
    """About how many gigabytes a training takes, by the tensors that its gradient needs; None if the network does not
    take images of this size, or is read from a bundle, whose size is not known."""
    if training.model == STORED:
        return _BESIDE
    found = tensors(training.model, images.channels, images.size, classes)
    if found is None:
        return None
    weights, activations = found
    kept = 1 if training.freeze == "backbone" else _OF_WEIGHTS
    return _BESIDE + (kept * weights + _SLACK * activations * training.batch_size) / 1e9


@lru_cache(maxsize=64)
def tensors(model: str, channels: int, size: int, classes: int) -> tuple[int, int] | None:
    """Bytes of a network's weights, and of the activations that the gradient of one image needs; without computing
    anything, on PyTorch's meta device. None if it does not take images of this size."""
    held: dict[int, int] = {}
    alive: list[torch.Tensor] = []  # so that no two storages have one place

    def note(tensor: torch.Tensor) -> torch.Tensor:
        held[_place(tensor)] = tensor.untyped_storage().nbytes()
        alive.append(tensor)
        return tensor

    with torch.device("meta"):
        network = find_model(model).architecture(channels, classes).train()
        weights = {_place(each): each.numel() * 4 for each in network.parameters()}
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            try:
                network(torch.empty(2, channels, size, size))  # batch normalisation needs two
            except (AssertionError, RuntimeError, ValueError):
                return None
    return sum(weights.values()), sum(held[key] for key in held.keys() - weights.keys()) // 2


def _place(tensor: torch.Tensor) -> int:
    """The same for tensors that share their memory; on the meta device, all of them have the address 0."""
    return int(tensor.untyped_storage()._cdata)


def available_gb() -> float:
    """Memory in gigabytes that a training can have: of the GPU if there is one, else of the machine or of the control
    group, whichever has less."""
    if torch.cuda.is_available():
        return float(torch.cuda.mem_get_info()[0]) / 1e9
    free = float(psutil.virtual_memory().available)
    with suppress(OSError, ValueError):  # "max" where there is no limit
        group = Path("/sys/fs/cgroup")
        most, used = (int((group / name).read_text(encoding="ascii")) for name in ("memory.max", "memory.current"))
        free = min(free, most - used)
    return free / 1e9


def disk_gb(networks: Sequence[Member], images: int, classes: int) -> float:
    """Gigabytes that prepared images, checkpoints and bundle take, the images twice, because DVC keeps a copy."""
    steps = dict.fromkeys(network.images.model_copy(update={"channels": 1}) for network in networks)
    pixels = sum(each.size**2 * (1 if each.lungs == "none" else 2) for each in steps)
    weights = 0
    for network in networks:
        if network.training.model != STORED:
            found = tensors(network.training.model, network.images.channels, network.images.size, classes)
            weights += found[0] if found else 0
    # A checkpoint has the weights, their average and two moments; there are two, then the bundle and DVC's copy of it.
    return (2 * images * pixels + (2 * 4 + 2) * weights) / 1e9


def free_gb(folder: Path) -> float:
    """Gigabytes that are free on the disk of ``folder``."""
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    return shutil.disk_usage(there).free / 1e9
