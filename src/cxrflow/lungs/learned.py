"""Lungs found by two small U-Nets that ship with the package (see docs/lungs.md), run by ONNX Runtime.

``cxrflow lungs`` trains it (lungs/train.py). The masks that it learned from take in most of the heart: "lungs" here
means the two lungs with what lies in front of and behind the heart.
"""

from functools import cache
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

#: The networks in one file: their input is as ``network_input`` makes it, their output one logit per pixel.
WEIGHTS = Path(__file__).parent / "lungs.onnx"
SIZE = 160


def lung_map(picture: np.ndarray, weights: Path = WEIGHTS) -> np.ndarray:
    """Lungs of a whole radiograph, not cropped.

    picture  (height, width) uint8, air dark
    weights  the network's file
    Returns (SIZE, SIZE) uint8: 255 times the probability of lung in the picture squeezed to SIZE x SIZE; 0 outside the
    two largest regions above one half, and everywhere where the picture has no contrast.
    """
    image = network_input(picture)
    if not image.any():  # a blank has no lungs; the network would tell where they are on average
        return np.zeros((SIZE, SIZE), dtype=np.uint8)
    (logits,) = _session(weights).run(None, {"image": image[None, None]})
    chance = 1 / (1 + np.exp(-logits[0, 0].astype(np.float64)))
    return np.asarray(np.rint(255 * chance * _two_largest(chance > 0.5)), np.uint8)


def network_input(picture: np.ndarray) -> np.ndarray:
    """A uint8 picture as the network takes it: float32 (SIZE, SIZE), CLAHE, mean 0, standard deviation 1."""
    small = cv2.resize(picture, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    image = cv2.createCLAHE(2.0, (8, 8)).apply(small).astype(np.float32)
    return np.asarray((image - image.mean()) / max(float(image.std()), 1.0))


@cache
def _session(weights: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # images are prepared side by side, one process per core
    return onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])


def _two_largest(mask: np.ndarray) -> np.ndarray:
    """The two largest connected regions of a mask, with a rim of 3 pixels that keeps the map's smooth border."""
    count, regions, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if count > 3:
        largest = 1 + np.argsort(stats[1:, cv2.CC_STAT_AREA])[-2:]
        mask = np.isin(regions, largest)
    return cv2.dilate(mask.astype(np.uint8), np.ones((7, 7), np.uint8)).astype(bool)
