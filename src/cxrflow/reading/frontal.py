"""Does a picture look like an upright frontal chest radiograph, and is it inverted? A small network on a thumbnail.

``cxrflow frontal`` fits the weights beside this file (metadata/fit_frontal.py); docs/frontal.md has the figures.
"""

from functools import cache
from pathlib import Path

import cv2
import numpy as np
from safetensors.numpy import load_file

#: Side of the thumbnail that the network sees (pixels).
THUMBNAIL = 32
#: A picture that scores less is flagged: it does not look like a frontal chest radiograph.
FLAG = 0.5
#: What a flagged picture has to score with its grey values inverted, for it to be turned.
TURN = 0.9
#: What is said of a flagged picture.
NOT_FRONTAL = "does not look like a frontal chest radiograph"

#: What is said of a turned one.
TURNED = "lay inverted and was turned"

WEIGHTS = Path(__file__).with_name("frontal.safetensors")
_SAMPLED = 128
_CLIP = 3.0

Weights = dict[str, np.ndarray]


def turn(grey: np.ndarray) -> tuple[np.ndarray, float, bool]:
    """A picture with dark air, how much it looks like a frontal radiograph, and whether it was inverted.

    grey  (height, width) uint8 or uint16
    Returns the picture (inverted only where it then looks like a frontal radiograph and does not as it is; otherwise
    ``grey`` itself), its score in [0, 1] (below FLAG: flagged), and True where it was inverted.
    """
    score, inverted = judge(thumbnail(grey), weights())
    return (invert(grey) if inverted else grey), score, inverted


def invert(grey: np.ndarray) -> np.ndarray:
    """The picture with black and white exchanged, uint8 or uint16 as it was."""
    return np.iinfo(grey.dtype).max - grey


def thumbnail(grey: np.ndarray) -> np.ndarray:
    """What the network sees of a picture: float32 (THUMBNAIL ** 2), mean 0 and spread 1, clipped to [-3, 3].

    grey  (height, width) of any size and any real dtype; a picture without any contrast gives zeros
    Inverting the picture changes the sign and nothing else. Only every n-th pixel of a large picture is looked at.
    """
    if grey.size == 0:
        return np.zeros(THUMBNAIL**2, dtype=np.float32)
    rows, columns = (max(1, side // _SAMPLED) for side in grey.shape)
    with np.errstate(over="ignore", invalid="ignore"):  # values that are no numbers or too large are met below
        seen = np.ascontiguousarray(grey[::rows, ::columns]).astype(np.float32)
        small = cv2.resize(seen, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA).ravel()
        mean, spread = (float(value[0, 0]) for value in cv2.meanStdDev(small))
        flat = 1e-6 * cv2.norm(seen, cv2.NORM_INF)  # what rounding alone may leave
    if not flat < spread < np.inf:
        return np.zeros(THUMBNAIL**2, dtype=np.float32)
    return np.maximum(np.minimum((small - np.float32(mean)) / np.float32(spread), _CLIP), -_CLIP)


def probability(thumbnails: np.ndarray, weights: Weights) -> np.ndarray:
    """The network: float32 (n, THUMBNAIL ** 2) to the probability of a frontal radiograph, float32 (n,).

    No contrast at all, as in a blank, is 0.
    """
    x = thumbnails
    layers = len(weights) // 2
    for layer in range(layers):
        x = x @ weights[f"weight{layer}"] + weights[f"bias{layer}"]
        if layer < layers - 1:
            x = np.maximum(x, 0)
    return np.where(thumbnails.any(axis=1), 0.5 + 0.5 * np.tanh(x[:, 0] / 2), 0)


def judge(thumb: np.ndarray, weights: Weights) -> tuple[float, bool]:
    """Score in [0, 1] of one thumbnail, and whether its picture is an inverted radiograph; the score is then that of
    the picture turned."""
    as_it_is = float(probability(thumb[None], weights)[0])
    if as_it_is < FLAG and (inverted := float(probability(-thumb[None], weights)[0])) >= TURN:
        return inverted, True
    return as_it_is, False


@cache
def weights() -> Weights:
    """The weights that come with the package, float32."""
    return load_weights(WEIGHTS)


def load_weights(path: Path) -> Weights:
    """``weight0``, ``bias0``, ... of a file that ``cxrflow frontal`` wrote (float16), as float32."""
    return {name: array.astype(np.float32) for name, array in load_file(path).items()}
