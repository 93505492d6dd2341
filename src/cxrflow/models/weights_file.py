"""Reads files of weights without running any code in them."""

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors.torch import load_file

from cxrflow.errors import CxrflowError, one_line


def read_weights(path: Path) -> Any:
    """What a .safetensors file, or a file of ``torch.save`` holds, on the CPU; only tensors and plain values are read.

    Raises CxrflowError if it is absent, damaged, or holds more.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError:
        raise CxrflowError(
            f"training.start: {path} is damaged, or holds more than tensors, which is never unpickled; save its "
            "state_dict as .safetensors."
        ) from None
    except Exception as error:  # a damaged file can raise anything
        raise CxrflowError(f"training.start: {path} holds no weights ({one_line(str(error))}).") from None
