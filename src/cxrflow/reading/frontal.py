"""The frontal check: does an image look like an upright frontal chest radiograph, and is it inverted?

ONNX Runtime runs a small network (frontal.onnx, in this folder) on a thumbnail. ``cxrflow frontal`` fits the network
(metadata/fit_frontal.py); docs/frontal.md gives its performance.
"""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

#: Side of the thumbnail that the network sees (pixels).
THUMBNAIL = 32
#: An image with a lower score is flagged: it does not look like a frontal chest radiograph.
FLAG = 0.5
#: A flagged image is inverted if its inverse scores at least this.
TURN = 0.9
#: Texts of the flags.
NOT_FRONTAL = "does not look like a frontal chest radiograph"
TURNED = "was stored inverted and has been corrected"

#: The network: input ``thumbnails``, float32 (n, THUMBNAIL ** 2); output the logit of "frontal", float32 (n, 1).
WEIGHTS = Path(__file__).with_name("frontal.onnx")
_SAMPLED = 128
_CLIP = 3.0


def turn(grey: np.ndarray) -> tuple[np.ndarray, float, bool]:
    """Correct an inverted radiograph, and score how much the image looks like a frontal one.

    grey  (height, width) uint8 or uint16
    Returns the image with dark air, its score in [0, 1] (flagged if below FLAG), and whether it was inverted. Only an
    image that is flagged, and whose inverse looks like a frontal radiograph, is inverted.
    """
    score, inverted = judge(thumbnail(grey))
    return (invert(grey) if inverted else grey), score, inverted


def invert(grey: np.ndarray) -> np.ndarray:
    """The image with black and white exchanged; uint8 or uint16, as given."""
    return np.iinfo(grey.dtype).max - grey


def thumbnail(grey: np.ndarray) -> np.ndarray:
    """The network's input: float32 (THUMBNAIL ** 2), mean 0 and standard deviation 1, clipped to [-3, 3].

    grey  (height, width) of any size and any real dtype; an image without contrast gives zeros
    Inverting the image only changes the sign. Large images are subsampled first (every n-th pixel).
    """
    if grey.size == 0:
        return np.zeros(THUMBNAIL**2, dtype=np.float32)
    rows, columns = (max(1, side // _SAMPLED) for side in grey.shape)
    with np.errstate(over="ignore", invalid="ignore"):  # NaN and overflow are handled below
        seen = np.ascontiguousarray(grey[::rows, ::columns]).astype(np.float32)
        small = cv2.resize(seen, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA).ravel()
        mean, spread = (float(value[0, 0]) for value in cv2.meanStdDev(small))
        flat = 1e-6 * cv2.norm(seen, cv2.NORM_INF)  # upper bound of rounding errors
    if not flat < spread < np.inf:
        return np.zeros(THUMBNAIL**2, dtype=np.float32)
    return np.asarray(np.maximum(np.minimum((small - np.float32(mean)) / np.float32(spread), _CLIP), -_CLIP))


def probability(thumbnails: np.ndarray, network: "InferenceSession | None" = None) -> np.ndarray:
    """The probability that each thumbnail, float32 (n, THUMBNAIL ** 2), is a frontal radiograph: float32 (n,).

    network  from ``open_network``; None for the one that ships with the package
    A thumbnail without contrast has probability 0.
    """
    (logits,) = (network or _shipped()).run(None, {"thumbnails": thumbnails})
    return np.where(thumbnails.any(axis=1), 0.5 + 0.5 * np.tanh(logits[:, 0] / 2), 0)


def judge(thumb: np.ndarray, network: "InferenceSession | None" = None) -> tuple[float, bool]:
    """Score in [0, 1] of one thumbnail, and whether it shows an inverted radiograph (then the inverse is scored)."""
    score = float(probability(thumb[None], network)[0])
    if score < FLAG and (inverted := float(probability(-thumb[None], network)[0])) >= TURN:
        return inverted, True
    return score, False


def open_network(content: bytes) -> "InferenceSession":
    """The network in an ONNX file, restricted to one thread, because every core has its own process reading images."""
    from onnxruntime import InferenceSession, SessionOptions  # the main process of a prediction does without it

    options = SessionOptions()
    options.intra_op_num_threads = 1
    return InferenceSession(content, options, providers=["CPUExecutionProvider"])


@cache
def _shipped() -> "InferenceSession":
    return open_network(WEIGHTS.read_bytes())
