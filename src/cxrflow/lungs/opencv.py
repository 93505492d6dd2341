"""The paper's lung segmentation by OpenCV, with its lengths scaled to the image size.

The paper's lengths are for 480 x 480 pixels and are scaled in proportion. The number of corners is not scaled, so that
the discs around them cover the same share of the image. The implementation differs from the paper's code in three
equivalent ways: the thousands of discs are drawn by one dilation; the median filter of a binary image is a box filter;
and the column over the spine is blacked out for the segmentation only, not in the resulting image.
"""

import cv2
import numpy as np

_SIZE = 480


def lung_mask(image: np.ndarray) -> np.ndarray:
    """Lung mask of a prepared radiograph.

    image   uint8 (size, size), equalised, air dark
    Returns bool (size, size); all False if nothing is found.
    """
    size = image.shape[0]
    scale = size / _SIZE
    work = np.array(image)
    work[:, _spine(work, scale)] = 0
    # Black-hat: regions darker than their surroundings at the scale of a lung.
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (_odd(169 * scale),) * 2)
    dark = (cv2.morphologyEx(work, cv2.MORPH_BLACKHAT, kernel) > 45).astype(np.uint8) * 255
    corners = cv2.goodFeaturesToTrack(work, maxCorners=3800, qualityLevel=0.001, minDistance=max(1, round(scale)))
    if corners is None:
        return np.zeros((size, size), dtype=bool)
    near = np.zeros((size, size), dtype=np.uint8)
    x, y = np.rint(corners.reshape(-1, 2)).astype(int).T
    near[y.clip(0, size - 1), x.clip(0, size - 1)] = 255
    radius = max(2, round(6 * scale))
    discs = cv2.dilate(near, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2))
    side = _odd(23 * scale)
    smooth = (cv2.boxFilter(cv2.bitwise_and(dark, discs), -1, (side, side)) > 127).astype(np.uint8)
    return _largest_filled(smooth).astype(bool)


def _spine(image: np.ndarray, scale: float) -> slice:
    """Columns over the spine: 30 pixels (at 480) around the brightest column of the middle third."""
    size = image.shape[1]
    third = size // 3
    brightest = third + int(image[:, third : size - third].sum(axis=0, dtype=np.int64).argmax())
    half = max(1, round(15 * scale))
    return slice(max(0, brightest - half), brightest + half)


def _largest_filled(mask: np.ndarray) -> np.ndarray:
    """The largest contour filled, and the second largest if it has more than a tenth of its area."""
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    largest = sorted(contours, key=cv2.contourArea, reverse=True)[:2]
    if len(largest) == 2 and cv2.contourArea(largest[1]) <= 0.1 * cv2.contourArea(largest[0]):
        largest.pop()
    return cv2.drawContours(np.zeros_like(mask), largest, -1, color=1, thickness=cv2.FILLED)


def _odd(length: float) -> int:
    return max(3, 2 * round((length - 1) / 2) + 1)
