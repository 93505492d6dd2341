"""Shapes on the common canvas of all maps: SIDE x SIDE pixels, SCALE pixels per cm. All lengths are in cm.

The patient's right is on the left of the image. x runs from -22 to 22 with 0 at the midline, y from 0 (neck) to 44
(abdomen).
"""

from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

SCALE = 10
SPAN = 44.0
SIDE = int(SPAN * SCALE)

Map = NDArray[np.floating[Any]]  # float32 for whole maps
Points = NDArray[np.float64]


def spline(points: Points, closed: bool = False, steps: int = 10) -> Points:
    """Catmull-Rom curve through ``points`` [n, 2]."""
    p = np.concatenate([points[-1:], points, points[:2]] if closed else [points[:1], points, points[-1:]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    a, b, c, d = p[:-3], p[1:-2], p[2:-1], p[3:]
    pieces = [
        0.5 * (2 * b[i] + (c[i] - a[i]) * t + (2 * a[i] - 5 * b[i] + 4 * c[i] - d[i]) * t**2
               + (3 * b[i] - a[i] - 3 * c[i] + d[i]) * t**3)
        for i in range(len(a))
    ]  # fmt: skip
    return np.concatenate(pieces if closed else [*pieces, points[-1:]])


def sigmoid(x: Map) -> Map:
    """1 / (1 + exp(-x)), without overflow."""
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * x))


@cache
def grid() -> tuple[Map, Map]:
    """x and y (cm) of every pixel."""
    axis = (np.arange(SIDE, dtype=np.float32) + 0.5) / SCALE
    return np.meshgrid(axis - SPAN / 2, axis)


def pixels(points: Map) -> NDArray[np.int32]:
    """Points (cm) in pixels, as fixed-point numbers with 4 fractional bits for OpenCV's drawing functions."""
    return np.asarray(np.round((points + np.array([SPAN / 2, 0])) * SCALE * 16 - 8), np.int32)


def polygon(points: Map) -> Map:
    """1 inside the outline ``points`` [n, 2], 0 outside."""
    out = np.zeros((SIDE, SIDE), np.uint8)
    cv2.fillPoly(out, [pixels(points)], 255, cv2.LINE_AA, 4)
    return out.astype(np.float32) / 255


def blur(image: Map, cm: float) -> Map:
    """The map smoothed by a Gaussian with a standard deviation of ``cm``."""
    if cm * SCALE <= 4:
        return cv2.GaussianBlur(image, (0, 0), cm * SCALE)  # type: ignore[return-value]
    small = cv2.resize(image, (SIDE // 4, SIDE // 4), interpolation=cv2.INTER_AREA)  # about the same result, faster
    return cv2.resize(cv2.GaussianBlur(small, (0, 0), cm * SCALE / 4), (SIDE, SIDE))  # type: ignore[return-value]


def noise(rng: np.random.Generator, cells: int) -> Map:
    """Smooth noise, mean 0, standard deviation about 0.7, ``cells`` grid cells along each side."""
    nodes = rng.standard_normal((cells, cells), dtype=np.float32)
    return cv2.resize(nodes, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)  # type: ignore[return-value]


def ellipsoid(x: Map, y: Map, cx: float, cy: float, rx: float, ry: float) -> Map:
    """Thickness of an ellipsoid, 1 at its centre, 0 outside."""
    return np.asarray(np.sqrt(np.clip(1 - ((x - cx) / rx) ** 2 - ((y - cy) / ry) ** 2, 0, 1)), np.float32)


def rounded(outline: Map, radius: float) -> Map:
    """Relative thickness (0 to 1) of a shape with rounded edges: a circular profile of ``radius`` cm at the outline."""
    mask = outline if outline.shape == (SIDE, SIDE) else polygon(outline)
    padded = cv2.copyMakeBorder((mask > 0.5).astype(np.uint8), 60, 60, 60, 60, cv2.BORDER_REPLICATE)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[60:-60, 60:-60] / SCALE
    near = np.clip(distance / radius, 0, 1)
    return cv2.GaussianBlur(np.sqrt(1 - (1 - near) ** 2), (0, 0), 0.1 * SCALE).astype(np.float32)


def tube(line: Points, width: float | NDArray[np.float64]) -> Points:
    """Outline of a band of ``width`` cm (a number, or one per point) around a line."""
    along = np.gradient(line, axis=0)
    normal = np.stack([-along[:, 1], along[:, 0]], 1) / np.maximum(np.hypot(*along.T), 1e-9)[:, None]
    offset = normal * np.broadcast_to(width, len(line))[:, None] / 2
    return np.concatenate([line + offset, (line - offset)[::-1]])
