"""A heat map drawn over its picture."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

#: Rows that are drawn at a time.
_STRIP = 256


def overlay(image: NDArray[np.uint8], heat: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """A picture with a heat map over it.

    image  uint8 (height, width); heat  float (height, width) in [0, 1]
    Returns uint8 (height, width, 3), BGR: the unchanged picture where the heat is 0, more colour with more heat.
    """
    level = np.rint(heat * 255).astype(np.uint8)
    share = (0.6 * (np.arange(256) / 255) ** 0.8).astype(np.float32)
    colours = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_INFERNO)[:, 0].astype(np.float32)
    drawn = np.empty((*image.shape, 3), np.uint8)
    for first in range(0, len(image), _STRIP):  # in strips: floats of a whole radiograph would take a gigabyte
        rows = slice(first, first + _STRIP)
        grey, hot = image[rows, :, None].astype(np.float32), share[level[rows]][..., None]
        drawn[rows] = np.rint(grey * (1 - hot) + colours[level[rows]] * hot)
    return drawn
