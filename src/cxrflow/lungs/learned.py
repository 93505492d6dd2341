"""Lung segmentation by two small U-Nets that ship with the package (docs/lungs.md), run by ONNX Runtime.

``cxrflow lungs`` trains them (lungs/train.py). Their training masks include most of the heart, so "lungs" here means
both lungs and most of the heart between them.
"""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from cxrflow.reading.frontal import open_network

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

#: Both networks in one file: input ``image``, float32 (1, 1, SIZE, SIZE), from ``network_input``; output one logit per
#: pixel, the mean of both.
WEIGHTS = Path(__file__).parent / "lungs.onnx"
SIZE = 160


def lung_map(picture: np.ndarray, weights: Path = WEIGHTS) -> np.ndarray:
    """Lung probability map of a whole radiograph, not cropped.

    picture  (height, width) uint8, air dark
    weights  the network's ONNX file
    Returns uint8 (SIZE, SIZE), 255 times the probability of lung in the image resized to SIZE x SIZE. The map is 0
    outside the two largest regions with a probability above 0.5, and everywhere if the image has no contrast.
    """
    image = network_input(picture)
    if not image.any():  # in a blank image the networks would find average lungs
        return np.zeros((SIZE, SIZE), dtype=np.uint8)
    (logits,) = _network(weights).run(None, {"image": image[None, None]})
    chance = 1 / (1 + np.exp(-logits[0, 0].astype(np.float64)))
    return np.asarray(np.rint(255 * chance * _two_largest(chance > 0.5)), np.uint8)


def network_input(picture: np.ndarray) -> np.ndarray:
    """The networks' input for a uint8 image: float32 (SIZE, SIZE), after CLAHE, mean 0, standard deviation 1."""
    small = cv2.resize(picture, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    image = cv2.createCLAHE(2.0, (8, 8)).apply(small).astype(np.float32)
    return np.asarray((image - image.mean()) / max(float(image.std()), 1.0))


@cache
def _network(weights: Path) -> "InferenceSession":
    return open_network(weights.read_bytes())


def _two_largest(mask: np.ndarray) -> np.ndarray:
    """The two largest connected regions of a mask, dilated by 3 pixels to keep the map's smooth border."""
    count, regions, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if count > 3:
        largest = 1 + np.argsort(stats[1:, cv2.CC_STAT_AREA])[-2:]
        mask = np.isin(regions, largest)
    return cv2.dilate(mask.astype(np.uint8), np.ones((7, 7), np.uint8)).astype(bool)
