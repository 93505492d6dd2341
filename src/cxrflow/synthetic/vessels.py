"""Pulmonary vessels: trees that branch from the hila."""

import math
from itertools import cycle

import cv2
import numpy as np

from cxrflow.synthetic.patient import Patient
from cxrflow.synthetic.shapes import SCALE, SIDE, Map, blur, ellipsoid, grid, pixels


def vessels(side: int, rotation: float, patient: Patient, rng: np.random.Generator) -> Map:
    """Arteries and veins of one lung, tapering as they branch from the hilum: thickness in cm, up to about 1.4."""
    out = np.zeros((SIDE, SIDE), np.uint8)
    root = (side * 3.6 + 0.6 * rotation, 8.2 + (9.6 if side < 0 else 8.6) * patient.height)
    todo = []
    for degrees in np.linspace(-78, 84, 10) + rng.normal(0, 7, 10):
        start = (root[0], root[1] + rng.normal(degrees / 100, 0.5))
        thick = rng.uniform(0.42, 0.62) * (1.25 if degrees > 20 else 1)
        todo.append((*start, math.radians(degrees), thick, rng.uniform(2.2, 3.4)))
    chance = cycle(rng.random((700, 5)).tolist())  # one call for all, because one per branch is slow
    lines: dict[int, list[list[tuple[float, float]]]] = {}  # by width in 1/10 mm
    while todo:
        x, y, angle, width, length = todo.pop()
        a, b, c, d, e = next(chance)
        bend = 0.55 * (a - 0.5)
        line = [(x, y)]
        for _ in range(4):
            angle += bend
            x, y = x + side * math.cos(angle) * length / 4, y + math.sin(angle) * length / 4
            line.append((x, y))
        lines.setdefault(round(100 * width), []).append(line)
        if width > 0.12:
            fork, share = 0.25 + 0.38 * b, 0.62 + 0.23 * c
            sign = 1 if d < 0.5 else -1
            for turn, part in ((sign * share * 0.2, 0.86), (-sign * fork, share)):
                todo.append((x, y, angle + turn, width * part * (0.78 + 0.17 * e), length * (0.7 + 0.25 * a)))
    for tenths in sorted(lines):  # thick vessels over thin ones
        width = max(1, round(tenths * SCALE / 100))
        shade = min(255, round(170 * max(tenths / 100, 0.07)))
        cv2.polylines(out, list(pixels(np.array(lines[tenths]))), False, shade, width, cv2.LINE_AA, 4)
    gx, gy = grid()
    hilum = np.zeros_like(gx)
    for drop in (-1, 0.3, 1.6):
        knot = (
            root[0] + side * rng.uniform(-0.2, 0.7),
            root[1] + drop,
            rng.uniform(0.7, 1.2),
            rng.uniform(0.8, 1.5),
        )
        hilum += ellipsoid(gx, gy, *knot)
    return blur(out.astype(np.float32) / 170, 0.06) + blur(0.8 * hilum, 0.4)
