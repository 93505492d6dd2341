"""Anatomy of a patient as maps of thickness along the X-ray beam (cm): soft tissue, bone, air, vessels."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cxrflow.synthetic.bones import ribs, shoulders, spine
from cxrflow.synthetic.patient import Patient
from cxrflow.synthetic.shapes import (
    SCALE,
    SIDE,
    SPAN,
    Map,
    Points,
    blur,
    ellipsoid,
    grid,
    noise,
    pixels,
    polygon,
    rounded,
    spline,
    tube,
)
from cxrflow.synthetic.vessels import vessels

# Outline of a lung (cm from the midline, cm from the top): from the apex down along the mediastinum, along the
# diaphragm to the costophrenic angle, and up the chest wall. Two points close together make a corner.
_LUNG = [
    (3.4, 8.9), (2.5, 10.6), (2.3, 13), (2.4, 17), (2.3, 22), (2.2, 27), (2.4, 31), (2.4, 31.4),
    (4.5, 30.1), (7.2, 29.4), (9.8, 30), (12, 31.7), (13.2, 33.7), (13.3, 33.6), (13.6, 30),
    (13.5, 26), (13, 21), (12.1, 16.6), (10.4, 12.4), (8.3, 9.6), (5.6, 8.2),
]  # fmt: skip
# Outline of mediastinum and heart: down the left side of the image (superior vena cava, right atrium), then up its
# right side (apex, left ventricle, pulmonary trunk, aortic knob).
_HEART = [
    (-2.4, 4), (-2.5, 9), (-2.7, 13), (-2.7, 17), (-3.2, 20), (-4.1, 23.2), (-4.1, 26.5), (-3.4, 30),
    (-3, 34), (8.2, 33), (9, 30.2), (9, 27.2), (7.7, 23.6), (5.6, 20.4), (4.1, 18.6), (3.4, 17.2),
    (3.1, 16.2), (3.7, 14.4), (3.2, 12.8), (2.4, 11), (2.4, 7), (2.6, 4),
]  # fmt: skip


#: How far a person's proportions and the pose of one radiograph move a point (cm), and how uneven soft tissue is, as
#: a share of its thickness; standard deviations, divided by 0.7.
_PROPORTIONS, _POSE, _FOLDS = 0.6, 0.25, 0.025


@dataclass(frozen=True, slots=True)
class Anatomy:
    """Maps of a patient, SIDE x SIDE.

    soft, bone, air, vessels  thickness (cm), float32, at least 0; air is the air in the lungs
    right, left               the visible lung fields, bool
    """

    soft: Map
    bone: Map
    air: Map
    vessels: Map
    right: NDArray[np.bool_]
    left: NDArray[np.bool_]


def make_anatomy(patient: Patient, pose: np.random.Generator) -> Anatomy:
    """The maps of a patient, breathed in, rotated and held as drawn from ``pose``, which is of one radiograph."""
    rng = np.random.default_rng([patient.number, 7])
    inspiration = float(pose.uniform(0.88, 1.05))  # scale factor of the lung height
    rotation = float(pose.normal(0, 0.6))  # shifts the mediastinum by about this many cm
    x, y = grid()
    lungs = [_lung(patient, side, inspiration, rng) for side in (-1, 1)]
    heart = polygon(_heart(patient, inspiration, rotation, rng))
    fill = [rounded(lung, 3.2) for lung in lungs]
    heart_depth = rounded(heart, 3.2) * np.interp(y, [4, 12, 20, 30], [0.8, 0.8, 0.9, 1]).astype(np.float32)
    air = np.maximum(*fill) * np.interp(y, [8, 13, 20, 30, 34], [6, 10.5, 13, 13.5, 12]).astype(np.float32)
    air *= (0.8 * patient.depth / 20) * (1 - 0.8 * heart_depth)
    dome = lungs[1][:, 1].max() - 3.6
    air += 2.2 * _behind_the_diaphragm(lungs) * (1 - heart_depth)

    soft = _body(patient, x, y) + 1.5 * heart_depth
    for side in (-1, 1):
        soft += _breast(patient, side, x, y, inspiration)
    soft -= _trachea(rotation) * 2.2
    if rng.random() < 0.75:  # gastric bubble, under the left hemidiaphragm
        gas = ellipsoid(
            x,
            y,
            rng.uniform(5, 7.5),
            dome + rng.uniform(0.9, 1.8),
            rng.uniform(1.6, 3),
            rng.uniform(0.8, 1.6),
        )
        soft -= rng.uniform(2, 6) * blur(gas, 0.25)
    for _ in range(rng.integers(9)):  # bowel gas
        gas = ellipsoid(x, y, rng.uniform(-12, 12), rng.uniform(35, 43), rng.uniform(0.8, 2.5), rng.uniform(0.6, 1.6))
        soft -= rng.uniform(0, 4) * blur(gas, 0.4)

    tree = np.maximum(*[vessels(side, rotation, patient, rng) for side in (-1, 1)])
    bone = patient.bone * (ribs(patient, lungs, rng) + 0.6 * spine(rotation) + shoulders(patient, rotation, rng))
    tree *= np.clip(blur(np.maximum(*fill), 0.3) * 1.6, 0, 1)
    folds = np.sum([noise(rng, cells) for cells in (9, 16, 28)], axis=0)  # muscles, fat and skin
    soft *= 1 + _FOLDS * folds * (1 - 0.7 * blur(np.maximum(*fill), 0.5))
    maps = [np.maximum(soft, 0), bone, air, tree, heart, *map(polygon, lungs)]
    soft, bone, air, tree, heart, right, left = _moved(maps, rng, pose)
    seen = [(lung > 0.5) & (heart < 0.5) for lung in (right, left)]
    return Anatomy(soft, bone, air, tree, seen[0], seen[1])


def _moved(maps: list[Map], rng: np.random.Generator, pose: np.random.Generator) -> list[Map]:
    """The maps in one person's proportions, which differ smoothly across the body and little between its sides, and in
    the pose of one radiograph."""
    x, y = grid()
    across, down = (_PROPORTIONS * noise(rng, 5) for _ in range(2))
    x = x + across - 0.6 * across[:, ::-1] + _POSE * noise(pose, 6)
    y = y + down + 0.6 * down[:, ::-1] + _POSE * noise(pose, 6)
    columns, rows = (x + SPAN / 2) * SCALE - 0.5, y * SCALE - 0.5
    edge = cv2.BORDER_REPLICATE
    return [np.asarray(cv2.remap(each, columns, rows, cv2.INTER_LINEAR, borderMode=edge)) for each in maps]


def _lung(patient: Patient, side: int, inspiration: float, rng: np.random.Generator) -> Points:
    points = np.array(_LUNG) + rng.normal(0, 0.13, (len(_LUNG), 2))
    stretch = patient.height * inspiration
    points[:, 1] = (
        8.2 + (points[:, 1] - 8.2) * stretch + (rng.normal(0, 0.7) + (0.8 if side > 0 else 0)) * (points[:, 1] > 28)
    )
    points[6:13, 1] += np.array([0, 0, 0.5, 1, 0.6, 0.2, 0]) * rng.normal(0, 1.2)  # flatter or more domed diaphragm
    points[:, 0] = np.where(points[:, 0] > 3, 3 + (points[:, 0] - 3) * (1 + 1.25 * (patient.width - 1)), points[:, 0])
    return spline(points * [side, 1], closed=True)


def _heart(patient: Patient, inspiration: float, rotation: float, rng: np.random.Generator) -> Points:
    points = np.array(_HEART)
    points += rng.normal(0, 0.13, points.shape)
    low = np.clip((points[:, 1] - 17) / 6, 0, 1)
    points[:, 0] *= patient.aorta + low * (patient.heart * patient.width / inspiration - patient.aorta)
    points[9:16, 1] += rng.normal(0, 1.2)  # a heart that lies or stands
    points[:, 0] += 0.8 * rotation * np.clip((points[:, 1] - 8) / 10, 0, 1)
    points[:, 1] = 8.2 + (points[:, 1] - 8.2) * patient.height * inspiration
    return spline(points, closed=True)


def _behind_the_diaphragm(lungs: list[Points]) -> Map:
    """Lung behind the domes of the diaphragm: air that thins out downwards."""
    out = np.zeros((SIDE, SIDE), np.float32)
    for lung in lungs:
        mask = polygon(lung)
        reach = np.maximum(blur(np.roll(mask, int(1.5 * SCALE), axis=0), 1.0) - mask, 0)
        out = np.maximum(out, reach * (np.arange(SIDE)[:, None] > 26 * SCALE))
    return out


def _body(patient: Patient, x: Map, y: Map) -> Map:
    half = 13.7 * patient.width + patient.wall
    neck = 5.2 + 0.4 * patient.wall
    up = patient.shoulders
    right = np.array([
        (neck, -3), (neck, 3), (neck + 1.2, 5 - 0.5 * up), (11.5, 6.6 - 0.2 * patient.wall - up), (16.5, 7.4 - up),
        (20, 9 - up), (22.5, 12.5 - up), (22, 17 - up), (half + 0.6, 18.5 - up), (half + 0.1, 22), (half, 30),
        (half + 0.2, 48),
    ])  # fmt: skip
    outline = spline(np.concatenate([right, right[::-1] * [-1, 1]]), closed=True)
    torso = rounded(outline, 6) ** 0.8
    depth = np.interp(y, [0, 6, 12, 20, 30, 44], [0.6, 0.62, 0.8, 0.96, 1, 1.03]).astype(np.float32)
    shoulders = 1 - 0.45 * np.clip((np.abs(x) - 9) / 7, 0, 1) * np.clip((20 - y) / 6, 0, 1)
    arms = np.zeros_like(x)
    for side in (-1, 1):
        inner = np.array(
            [
                (half - 1, 12),
                (half + 0.9, 19),
                (half + 0.6 + 0.5 * patient.arms, 28),
                (half + 1 + patient.arms, 48),
            ]
        )
        arm = np.concatenate([spline(inner), [(half + 14, 48), (half + 12, 12)]])
        arms = np.maximum(arms, rounded(arm * [side, 1], 4.5))
    arms *= 9 * np.clip((y - 11) / 6, 0, 1)
    return np.maximum(torso * depth * shoulders * patient.depth, arms).astype(np.float32)


def _breast(patient: Patient, side: int, x: Map, y: Map, inspiration: float) -> Map:
    if not patient.breast:
        return np.zeros_like(x)
    size = 5 + 0.7 * patient.breast
    drop = 8.2 + 17.5 * patient.height + 0.4 * patient.breast
    shape = ellipsoid(x, y, side * 8.2 * patient.width, drop, size + 0.6, size)
    upper = np.clip((y - drop + size) / size, 0, 1) ** 0.7
    return blur(shape * upper, 0.22) * np.float32(patient.breast)


def _trachea(rotation: float) -> Map:
    out = np.zeros((SIDE, SIDE), np.uint8)
    shift = 0.4 * rotation + 0.1
    carina = np.array([shift - 0.2, 15.6])
    for line, width in (
        ([(0, -1), (shift, 8), carina], 1.75),
        ([carina, (-1.9, 17.4), (-3.2, 19.4)], 1.15),
        ([carina, (2.2, 17.6), (3.9, 18.7)], 1.0),
    ):
        outline = tube(spline(np.array(line, float)), width)
        cv2.fillPoly(out, [pixels(outline)], 255, cv2.LINE_AA, 4)
    y = np.linspace(0, SPAN, SIDE, dtype=np.float32)[:, None]
    return blur(out.astype(np.float32) / 255, 0.16) * np.interp(y, [0, 12, 16, 20], [1, 1, 0.7, 0.3]).astype(np.float32)
