"""A bundle as one ONNX file, which ``cxrflow export`` writes (exporting/) and ONNX Runtime runs, without PyTorch.

The file is data: it is read whole, compared with its SHA-256 and with the bundle's description, and can name no other
file. Its inputs are prepared images, uint8 (n, size, size), one for each of ``Bundle.steps``; its outputs are
PROBABILITIES and BY_FOLD.
"""

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cxrflow.bundle import Bundle
from cxrflow.engines import cores
from cxrflow.errors import CxrflowError, one_line
from cxrflow.files import digest
from cxrflow.plugins import are_here
from cxrflow.state import read_bytes
from cxrflow.terminal import remark

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

#: In a bundle's folder: the file, and its SHA-256 in the form of ``sha256sum``.
ONNX, SUM = "model.onnx", "model.onnx.sha256"
#: Calibrated probabilities, float32 (n, classes), as ``Bundle.pooled``; and (folds, n, classes), from which it is made.
PROBABILITIES, BY_FOLD = "probabilities", "by_fold"
#: Keys of the metadata with digests of what the file computes, and of the weights that it was made of.
COMPUTES, WEIGHTS = "computes", "weights"
#: Key of what quantisation has changed; absent of a float32 file.
INT8 = "int8"
#: Protocol buffers, and so ONNX files, hold at most 2 GiB.
MOST = 2**31 - 1
#: Number of images that are scored at once: more take memory and are no faster.
_BATCH = 8
_EXPORT = "`cxrflow export` writes it again"
#: Of drivers of GPUs on Linux (NVIDIA, AMD) and on Linux in Windows.
_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")


def input_names(bundle: Bundle) -> list[str]:
    """The input for each of ``Bundle.steps``."""
    count = len(bundle.steps)
    return ["image"] if count == 1 else [f"image_{number + 1}" for number in range(count)]


def computes(bundle: Bundle) -> str:
    """Digest of what the scores depend on, besides the pixels."""
    fields = ("model", "images", "mean", "std", "temperature", "fold", "weights", "graph")
    networks = [network.model_dump(mode="json", include=set(fields)) for network in bundle.networks]
    return digest([networks, bundle.sharpness, bundle.task.order])


class OnnxScores:
    """Scores prepared images by a bundle's ONNX file, on the CPU."""

    def __init__(self, content: bytes, bundle: Bundle) -> None:
        """Open the content of an ONNX file. Raises CxrflowError if it is not one of this bundle."""
        self._names = input_names(bundle)
        self._shape = (max(bundle.folds, 1), 0, len(bundle.task.order))
        try:
            self._session = open_session(content)
            metadata = self._session.get_modelmeta().custom_metadata_map
        except Exception as error:  # ONNX Runtime raises its own classes, which derive from nothing else
            raise CxrflowError(f"ONNX Runtime cannot open it ({one_line(str(error))})") from None
        if (metadata.get(COMPUTES), metadata.get(WEIGHTS)) != (computes(bundle), bundle.digests.get("weights")):
            raise CxrflowError("it was made of other networks than those of the bundle")
        #: Whether the networks are quantised.
        self.int8 = INT8 in metadata

    def scores_by_fold(self, views: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
        """As ``Predictor.scores_by_fold``: float64 (folds, n, classes)."""
        parts = [np.empty(self._shape)]
        for start in range(0, len(views[0]), _BATCH):
            images = {name: view[start : start + _BATCH] for name, view in zip(self._names, views, strict=True)}
            parts += self._session.run([BY_FOLD], images)
        return np.concatenate(parts, axis=1, dtype=np.float64)


def open_session(content: bytes) -> "InferenceSession":
    """A session of the ONNX file with this content, on the CPU, with a thread per core or OMP_NUM_THREADS."""
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    threads = os.environ.get("OMP_NUM_THREADS", "")
    options.intra_op_num_threads = int(threads) if threads.isdecimal() else cores()
    # A thread that waits spins by default, on a core that a worker process could decode a file on.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Weights in other files are looked for in this folder, and not found: the file holds all of them.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    options.log_severity_level = 4
    return InferenceSession(content, options, providers=["CPUExecutionProvider"])


def open_onnx(folder: Path, bundle: Bundle) -> OnnxScores | None:
    """The ONNX file of the bundle in ``folder``; None without one, or if a GPU is there, which PyTorch uses where it
    has the networks' code.

    A file that is damaged, or of other networks, is not used, with a remark.
    """
    if not (folder / ONNX).exists() or (_has_gpu() and are_here(bundle.plugins, folder)):
        return None
    try:
        content = read_bytes(folder / ONNX, _EXPORT, MOST)
        if hashlib.sha256(content).hexdigest() != read_bytes(folder / SUM, _EXPORT, 1000).split(b" ")[0].decode():
            raise CxrflowError("it is not the file whose SHA-256 stands beside it")
        scores = OnnxScores(content, bundle)
        if scores.int8:
            raise CxrflowError("its networks are quantised to int8, and the bundle's figures are of float32")
        return scores
    except (CxrflowError, OSError, UnicodeDecodeError) as error:
        remark(f"{folder / ONNX} is not used: {str(error).rstrip('.')}; {_EXPORT}. PyTorch scores instead.")
        return None


def _has_gpu() -> bool:
    """Whether PyTorch sees a GPU; PyTorch is imported only where a driver says that there may be one."""
    if not (any(os.path.exists(path) for path in _DRIVERS) or shutil.which("nvidia-smi")):
        return False
    import torch

    return bool(torch.cuda.is_available())
