"""Ribs, spine, clavicles, scapulae and humeri, as maps of bone thickness in cm (float32, SIDE x SIDE)."""

import cv2
import numpy as np

from cxrflow.synthetic.patient import Patient
from cxrflow.synthetic.shapes import (
    SIDE,
    Map,
    Points,
    blur,
    ellipsoid,
    grid,
    pixels,
    polygon,
    sigmoid,
    spline,
    tube,
)


def _hollow(lines: list[Points], width: float, cortex: float, marrow: float) -> Map:
    """Tubular bones, denser at the edges: 1 in the cortex, ``marrow`` inside."""
    outer, inner = np.zeros((2, SIDE, SIDE), np.uint8)
    for line in lines:
        taper = np.interp(np.linspace(0, 1, len(line)), [0, 0.15, 0.8, 1], [0.75, 1, 1, 0.8]) * width
        cv2.fillPoly(outer, [pixels(tube(line, taper))], 255, cv2.LINE_AA, 4)
        cv2.fillPoly(inner, [pixels(tube(line, taper - 2 * cortex))], 255, cv2.LINE_AA, 4)
    return blur(outer.astype(np.float32) / 255, 0.07) - (1 - marrow) * blur(inner.astype(np.float32) / 255, 0.09)


def ribs(patient: Patient, lungs: list[Points], rng: np.random.Generator) -> Map:
    """Ten pairs of ribs; the posterior parts slope gently, the anterior parts steeply."""
    back: list[Points] = []
    front: list[Points] = []
    gap = 2.42 * patient.height * patient.gap
    for lung, side in zip(lungs, (-1, 1), strict=True):
        top = lung[:, 1].min()
        for k in range(10):
            start = np.array([2.0, top + 0.5 + gap * k - 0.5 * (k < 2)])
            turn_y = top + 1.9 + patient.slope * (1.2 + 0.42 * k) + gap * k
            wall_y = min(turn_y, lung[:, 1].max() - 0.3)
            wall = _wall(lung, side, wall_y) + (0.25 if k else -0.8)
            middle = start + np.array([0.45 * (wall - 2), -0.35 + (wall_y - start[1]) * 0.18])
            outer = np.array([0.86 * wall + 0.3, start[1] + (turn_y - start[1]) * 0.58])
            points = np.array([start, start + np.array([1.4, -0.35]), middle, outer, (wall, turn_y)]) + rng.normal(
                0, 0.06, (5, 2)
            )
            back.append(spline(points) * [side, 1])
            if k < 7:
                end = np.array([max(4.6, 3.8 + 0.55 * k), turn_y + patient.slope * (1.6 + 0.75 * k)])
                between = np.array([0.5 * (wall + end[0]) + 1.3, turn_y + 0.62 * (end[1] - turn_y) + 0.4])
                front.append(spline(np.array([(wall, turn_y), (wall - 0.35, turn_y + 1.0), between, end])) * [side, 1])
    x, _y = grid()
    ahead = _hollow(front, 1.2, 0.13, 0.55) * np.clip((np.abs(x) - 3.6) / 3.5, 0, 1)  # costal cartilage is radiolucent
    rear = _hollow(back, 1.05, 0.12, 0.55)
    edge_on = 0.75 + 0.5 * np.clip((np.abs(x) - 7) / 6, 0, 1)
    return ((1.0 * rear + 0.62 * ahead) * edge_on).astype(np.float32)


def _wall(lung: Points, side: int, y: float) -> float:
    """Distance (cm) of a lung's lateral edge from the midline at height ``y``."""
    near = lung[np.abs(lung[:, 1] - y) < 0.8]
    return float((near[:, 0] * side).max()) if len(near) else 6.0


def spine(rotation: float) -> Map:
    """Vertebrae with end plates, pedicles and spinous processes."""
    x, y = grid()
    x, y = x - np.float32(0.35 * rotation), y[:, :1]
    half = np.interp(y, [0, 8, 20, 40], [1.35, 1.5, 1.65, 2.1]).astype(np.float32)
    level = np.interp(y, [0, 10, 40], [0, 10 / 1.75, 10 / 1.75 + 30 / 2.35])  # one vertebra per unit
    phase = (level % 1).astype(np.float32)
    body = sigmoid((half * (1 - 0.08 * np.sin(np.pi * phase)) - np.abs(x)) / 0.09)
    plates = np.exp(-(((phase - 0.06) / 0.05) ** 2)) + np.exp(-(((phase - 0.9) / 0.05) ** 2))
    disc = np.clip(1 - np.abs(phase - 0.98) / 0.06, 0, 1)
    ring = np.hypot((np.abs(x) - 0.72 * half) / 0.33, (phase - 0.35) / 0.2)
    pedicles = np.exp(-(((ring - 1) / 0.3) ** 2))
    process = np.exp(-((x / 0.28) ** 2) - ((phase - 0.75) / 0.22) ** 2)
    edges = np.exp(-(((np.abs(x) - half + 0.12) / 0.13) ** 2))
    bone = body * (1.25 + 0.35 * plates - 0.55 * disc + 0.3 * edges) + 0.4 * pedicles * body + 0.5 * process
    return blur(bone.astype(np.float32), 0.09)


def shoulders(patient: Patient, rotation: float, rng: np.random.Generator) -> Map:
    """Clavicles, scapulae and humeri."""
    x, y = grid()
    clavicles, blades, arms, heads = [], [], [], np.zeros_like(x)
    for side in (-1, 1):
        raised = patient.shoulders + rng.normal(0, 0.4)
        inner = 1.4 + side * 0.9 * rotation
        line = np.array(
            [
                (inner, 10.6),
                (inner + 2, 10.1),
                (6.3, 8.7 - raised),
                (9.8, 7.6 - raised),
                (13.2, 8.0 - raised),
                (15.6, 7.9 - raised),
            ]
        )
        clavicles.append(spline(line) * [side, 1])
        cx = min(16.8 * patient.width + 0.5 * patient.wall, 18.5)
        heads += ellipsoid(x, y, side * cx, 10.6, 2.5, 2.6) * 1.1
        arms.append(
            spline(
                np.array(
                    [
                        (cx + 0.5, 10.5),
                        (cx + 1.2, 15),
                        (cx + 1.6 + 0.3 * patient.arms, 24),
                        (cx + 2 + 0.8 * patient.arms, 46),
                    ]
                )
            )
            * [side, 1]
        )
        low = rng.uniform(19.5, 22)
        medial = rng.uniform(9.6, 11.4) * patient.width
        points = [
            (medial + 1, 9.2), (medial, 12.5), (medial + 0.5, 17), (medial + 2, low), (medial + 3, low - 0.8),
            (medial + 3.6, 16), (cx - 2, 12.2), (cx - 1.6, 9.6), (cx - 3, 8.8),
        ]  # fmt: skip
        blades.append(spline(np.array(points), closed=True) * [side, 1])
    out = 1.35 * _hollow(clavicles, 1.3, 0.2, 0.6) + 1.7 * _hollow(arms, 2.3, 0.4, 0.5)
    for blade in blades:
        mask = polygon(blade)
        out += 0.22 * mask + 0.7 * np.maximum(blur(mask, 0.06) - blur(mask, 0.3), 0) / 0.5
    return (out + blur(heads, 0.08)).astype(np.float32)
