"""The surroundings of ``trainer.fit``: atomic checkpoints that only their own run resumes, memory reuse between steps,
and one-sentence errors."""

import ctypes
import json
import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import distributed, nn

from cxrflow.errors import CxrflowError
from cxrflow.files import WRITING, refused
from cxrflow.state import is_whole_archive

#: File beside the checkpoints with the digests of the run that wrote them.
RUN = "run.json"
#: What gloo says, in a RuntimeError, when it waits for a process that has ended.
_PEER_GONE = "Connection closed by peer|Connection reset by peer|Broken pipe"
#: What Lightning needs to go on.
OF_A_TRAINING = {"epoch", "global_step", "loops", "callbacks", "optimizer_states", "lr_schedulers", "state_dict"}
# Hides Lightning's list of devices and product tips.
logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)


class WholeFiles(TorchCheckpointIO):
    """Atomic checkpoints: written to a temporary file and renamed, so that a kill never leaves a partial one. A second
    checkpoint of the same step is a link to the first one: both hold the same training, and none is ever changed."""

    def __init__(self) -> None:
        super().__init__()
        self._written: tuple[int, Path] | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write ``checkpoint`` to ``path`` atomically."""
        step, temporary = int(checkpoint["global_step"]), Path(f"{path}{WRITING}")
        try:
            if not (self._written and self._written[0] == step and _linked(self._written[1], temporary)):
                super().save_checkpoint(checkpoint, temporary, storage_options)
            os.replace(temporary, path)
        except OSError as error:
            raise refused(error, path) from None
        self._written = step, Path(path)


def _linked(file: Path, link: Path) -> bool:
    """Whether ``link`` could be made a hard link to ``file``; not every file system has them."""
    try:
        link.unlink(missing_ok=True)
        link.hardlink_to(file)
    except OSError:
        return False
    return True


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Load a checkpoint onto the CPU; only tensors and plain values are unpickled."""
    held: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return held


def begun_by_same(folder: Path, digests: dict[str, str]) -> bool:
    """Whether a run with these digests wrote the checkpoints in ``folder``."""
    try:
        return bool(json.loads((folder / RUN).read_text(encoding="utf-8")) == digests)
    except (OSError, ValueError, RecursionError):
        return False


def is_whole(path: Path, module: nn.Module) -> bool:
    """Whether a checkpoint is whole and holds the state of a training of ``module``."""
    if not is_whole_archive(path):
        return False
    try:
        held = read_checkpoint(path)
        shapes = {name: tensor.shape for name, tensor in held["state_dict"].items()}
    except Exception:  # a damaged file can raise anything
        return False
    own = {name: tensor.shape for name, tensor in module.state_dict().items()}
    return shapes == own and held.keys() >= OF_A_TRAINING and isinstance(held["epoch"], int)


def accelerator() -> str:
    """``cuda`` if available, else ``cpu``. Apple's MPS is not used: it lacks float64, in which losses are summed."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def precision() -> Literal["bf16-mixed", "32-true"]:
    """Lightning's name of the arithmetic: on a GPU that has it bfloat16 with float32 weights, else float32."""
    return "bf16-mixed" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "32-true"


def keep_memory() -> None:
    """Let glibc keep freed memory for the next training step; has no effect with other C libraries.

    By default glibc returns large blocks to the kernel, which zeroes them again at each step. This costs ResNet-18 at
    112 pixels an eighth of its training time, more on a busy machine (docs/speed.md).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    largest = 32 * 2**20  # the maximum of M_MMAP_THRESHOLD in malloc.h
    for option, value in ((-3, largest), (-1, 2**31 - 1)):  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
        mallopt(option, value)


@contextmanager
def fitting(without_memory: str, going_on: str) -> Iterator[None]:
    """Context for ``trainer.fit``: silences warnings about intended behaviour, and raises CxrflowError when memory runs
    out, the loss is NaN (a FloatingPointError, whose text is kept) or another process of the training has ended.

    without_memory  the error message for out of memory
    going_on        how to continue from the last checkpoint; ends both error messages
    """
    keep_memory()
    with warnings.catch_warnings():
        # Batches are read from memory-mapped arrays, so worker processes would have nothing to do.
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec.*")
        warnings.filterwarnings("ignore", ".*Checkpoint directory .* exists and is not empty.*")
        warnings.filterwarnings("ignore", ".*dirpath has changed.*")
        # A class without val images (``classes`` of ``train``) is left out of the macro AUROC.
        warnings.filterwarnings("ignore", "No positive samples in targets.*")
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if isinstance(error, distributed.DistError) or re.search(_PEER_GONE, str(error)):
                raise CxrflowError(
                    "training: another process of this training has ended; run the same command again to go on after "
                    "the last whole epoch."
                ) from None
            if not isinstance(error, MemoryError) and not re.search("out of memory|can't allocate memory", str(error)):
                raise
            raise CxrflowError(f"{without_memory} {going_on}") from None
        except FloatingPointError as error:
            raise CxrflowError(f"{error} {going_on}") from None
