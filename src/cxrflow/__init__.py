"""cxrflow: from the raw files of chest-radiograph collections to a trustworthy classifier.

Research software, not a diagnostic device. The Python interface is ``Predictor``, which gives ``result.Result``s, and
two exceptions: ``CxrflowError`` stops a run, ``LeftOut`` says why one image cannot be used.
"""

import os
from typing import TYPE_CHECKING, Any

# ONNX Runtime from 1.29 on writes an identifier of the device into the home folder and reports its use to its makers,
# unless this is set before it is imported, here and in the worker processes.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from cxrflow.errors import CxrflowError, LeftOut

if TYPE_CHECKING:
    from cxrflow.predictor import Predictor

__version__ = "0.1.0"
__all__ = ["CxrflowError", "LeftOut", "Predictor", "__version__"]


def __getattr__(name: str) -> Any:
    """Import ``Predictor`` on first access, because it imports torch, which most commands do not need."""
    if name == "Predictor":
        from cxrflow.predictor import Predictor

        return Predictor
    raise AttributeError(f"module {__name__} has no attribute {name}")
