"""What every training needs around its fit: checkpoints written whole and used by their own run alone, memory kept
from step to step, and quiet."""

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

#: File beside checkpoints: the digests of the run that they are of.
RUN = "run.json"
# Devices found, products recommended: nothing that a person who trains can act on.
logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)


class WholeFiles(TorchCheckpointIO):
    """Checkpoints written beside their place and moved there, so that a kill never leaves half of one."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write ``checkpoint`` to ``path``, whole or not at all."""
        temporary = f"{path}.writing"
        super().save_checkpoint(checkpoint, temporary, storage_options)
        os.replace(temporary, path)


def begun_by_same(folder: Path, digests: dict[str, str]) -> bool:
    """Whether the checkpoints in ``folder`` are of a run with these digests."""
    try:
        return json.loads((folder / RUN).read_text()) == digests
    except (OSError, ValueError):
        return False


def accelerator() -> str:
    """``cuda`` where there is one, else ``cpu``: Apple's has no float64, in which losses are summed."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def keep_memory() -> None:
    """Let the C library keep what a training step frees for the next step, where it is glibc; nothing elsewhere.

    It would give large blocks back and the kernel would clear them anew in each step: an eighth of the time of
    ResNet-18 at 112 pixels, more beside other work (docs/speed.md).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    most = 32 * 2**20  # of M_MMAP_THRESHOLD, by malloc.h
    for option, value in ((-3, most), (-1, 2**31 - 1)):  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
        mallopt(option, value)


@contextmanager
def fitting(without_memory: str, going_on: str) -> Iterator[None]:
    """Around ``trainer.fit``: no warnings of what is meant to be so; CxrflowError where memory does not suffice, or
    the loss is no longer a number (FloatingPointError, with its sentence).

    without_memory  the sentence for memory
    going_on        how to go on with what was trained: the last sentence of both
    """
    keep_memory()
    with warnings.catch_warnings():
        # Batches are cut from memory-mapped arrays: there is nothing for worker processes to do.
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec.*")
        warnings.filterwarnings("ignore", ".*Checkpoint directory .* exists and is not empty.*")
        warnings.filterwarnings("ignore", ".*dirpath has changed.*")
        # A class that val lacks, where the classes were chosen, is no part of the macro AUROC.
        warnings.filterwarnings("ignore", "No positive samples in targets.*")
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if not isinstance(error, MemoryError) and not re.search("out of memory|can't allocate memory", str(error)):
                raise
            raise CxrflowError(f"{without_memory} {going_on}") from None
        except FloatingPointError as error:
            raise CxrflowError(f"{error} {going_on}") from None
