"""Around ``trainer.fit``: checkpoints that are written whole and resumed by their own run only, memory reused between
steps, and errors in one sentence."""

import ctypes
import json
import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from cxrflow.errors import CxrflowError

#: File beside checkpoints: the digests of the run that wrote them.
RUN = "run.json"
# Lightning's list of devices and its product recommendations call for no action.
logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint to a temporary file and renames it, so that a kill never leaves half of one."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write ``checkpoint`` to ``path``, whole or not at all."""
        temporary = f"{path}.writing"
        super().save_checkpoint(checkpoint, temporary, storage_options)
        os.replace(temporary, path)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint on the CPU; nothing but tensors and plain values is unpickled."""
    held: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return held


def begun_by_same(folder: Path, digests: dict[str, str]) -> bool:
    """Whether the checkpoints in ``folder`` are of a run with these digests."""
    try:
        return bool(json.loads((folder / RUN).read_text()) == digests)
    except (OSError, ValueError):
        return False


def accelerator() -> str:
    """``cuda`` where available, else ``cpu``. Apple's MPS has no float64, in which losses are summed."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def keep_memory() -> None:
    """Let glibc keep the memory that a training step frees for the next step; does nothing with other C libraries.

    By default glibc returns large blocks to the kernel, which clears them again at each step: an eighth of the training
    time of ResNet-18 at 112 pixels, more on a busy machine (docs/speed.md).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    largest = 32 * 2**20  # allowed for M_MMAP_THRESHOLD, by malloc.h
    for option, value in ((-3, largest), (-1, 2**31 - 1)):  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
        mallopt(option, value)


@contextmanager
def fitting(without_memory: str, going_on: str) -> Iterator[None]:
    """Context of ``trainer.fit``: silences warnings about what is intended; raises CxrflowError when out of memory, or
    when the loss is NaN (a FloatingPointError, whose text is kept).

    without_memory  the sentence for out of memory
    going_on        how to continue from what was trained: the last sentence of both
    """
    keep_memory()
    with warnings.catch_warnings():
        # Batches are cut from memory-mapped arrays: worker processes would have nothing to do.
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec.*")
        warnings.filterwarnings("ignore", ".*Checkpoint directory .* exists and is not empty.*")
        warnings.filterwarnings("ignore", ".*dirpath has changed.*")
        # A class without val images (``classes`` of ``train``) is left out of the macro AUROC.
        warnings.filterwarnings("ignore", "No positive samples in targets.*")
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if not isinstance(error, MemoryError) and not re.search("out of memory|can't allocate memory", str(error)):
                raise
            raise CxrflowError(f"{without_memory} {going_on}") from None
        except FloatingPointError as error:
            raise CxrflowError(f"{error} {going_on}") from None
