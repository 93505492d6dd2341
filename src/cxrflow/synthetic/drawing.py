"""Radiographs drawn from the maps of a patient: disease in the lungs, then attenuation, scatter, noise and film curve.

Patient and style are independent of the finding, so that only the opacity itself reveals the class.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cxrflow.synthetic.anatomy import Anatomy, make_anatomy
from cxrflow.synthetic.patient import Patient
from cxrflow.synthetic.shapes import SCALE, SIDE, SPAN, Map, blur, noise, sigmoid

Mask = NDArray[np.bool_]
_SOFT, _BONE = 0.15, 0.24  # attenuation per cm; bone: in excess of soft tissue


@dataclass(frozen=True, slots=True)
class Style:
    """Acquisition and processing of one radiograph.

    width, height   pixels
    field           width of the field of view, cm
    shift_x, shift_y, tilt   of the image relative to the patient: cm, cm, degrees
    exposure        0 is nominal, positive is brighter; about -0.4 to 0.4
    contrast        steepness of the film curve, about 0.7 to 1.4
    scatter         share of scattered radiation, about 0.2 to 0.7
    noise           amplitude of the grain, about 0.005 to 0.05
    blur            standard deviation, pixels
    vignette        darkening at the corners, 0 to 0.3
    border          width of a black margin, as a share of the side; 0 for none
    marker          text in an upper corner, "" for none; "L" on the right of the image, others on the left
    leads           whether ECG electrodes and wires are visible
    """

    width: int = 448
    height: int = 448
    field: float = 34.0
    shift_x: float = 0.0
    shift_y: float = 0.0
    tilt: float = 0.0
    exposure: float = 0.0
    contrast: float = 1.0
    scatter: float = 0.45
    noise: float = 0.015
    blur: float = 0.6
    vignette: float = 0.05
    border: float = 0.0
    marker: str = ""
    leads: bool = False


@dataclass(frozen=True, slots=True)
class Radiograph:
    """A synthetic radiograph and its ground truth, all of the same shape (height, width).

    pixels   float32, 0 (black) to 1
    lungs    lung fields, bool
    opacity  extent of the disease within them, bool; all False for clear lungs
    """

    pixels: Map
    lungs: Mask
    opacity: Mask


def draw(patient: Patient, kind: str, style: Style, seed: int) -> Radiograph:
    """Draw ``patient`` with clear lungs (``normal``), a one-sided lobar consolidation (``pneumonia``) or
    ground-glass opacities in both lungs (``covid``). Equal arguments give equal pixels.

    Raises ValueError for any other ``kind``.
    """
    if kind not in ("covid", "normal", "pneumonia"):
        raise ValueError(f"kind is covid, normal or pneumonia, not {kind}")
    rng = np.random.default_rng([seed, 11])
    body = make_anatomy(patient, rng)
    texture = 0.03 * noise(rng, 90) + 0.03 * noise(rng, 30) + 0.08 * noise(rng, 7)  # of healthy lungs
    leads = _leads(rng) if style.leads else 0.0
    fill = np.zeros((SIDE, SIDE), np.float32)
    vessels = body.vessels
    if kind == "covid":
        fill = _ground_glass(body, rng)
        vessels = vessels * (1 - 0.4 * fill)
    elif kind == "pneumonia":
        fill = _consolidation(body, rng)
        vessels = vessels * (1 - 1.5 * np.minimum(fill, 0.9))  # factor above 1: air bronchograms stay dark
    air = body.air * (1 - 0.9 * fill) * (1 - 0.5 * np.clip(texture, -0.5, 0.5))
    attenuation = _SOFT * np.maximum(body.soft - air + 2.1 * vessels, 0) + _BONE * body.bone + leads
    seen = body.right | body.left
    opaque = seen & (fill > 0.04) & (fill > 0.3 * fill.max()) if kind != "normal" else np.zeros_like(seen)
    return _expose(attenuation.astype(np.float32), seen, opaque, style, rng)


def _place(lung: Mask, side: int) -> tuple[Map, Map]:
    """Relative position of each pixel in a lung: medial (0) to lateral (1), and apex (0) to base (1)."""
    rows, columns = np.flatnonzero(lung.any(1)), np.flatnonzero(lung.any(0))
    across = (np.arange(SIDE) - columns[0]) / np.ptp(columns)
    down = (np.arange(SIDE) - rows[0]) / np.ptp(rows)
    u, w = np.meshgrid(across if side > 0 else 1 - across, down)
    return u.astype(np.float32), w.astype(np.float32)


def _consolidation(body: Anatomy, rng: np.random.Generator) -> Map:
    """Share of the air replaced by fluid, 0 to 1: one lobe of one lung, with a sharp edge at the fissure."""
    side = -1 if rng.random() < 0.55 else 1
    lung = body.right if side < 0 else body.left
    u, w = _place(lung, side)
    # horizontal centre, vertical centre, height of the fissure, side of the fissure the lobe is on (0: no visible edge)
    lobes = [(0.55, 0.3, 0.5, -1), (0.45, 0.68, 0.5, 1), (0.55, 0.8, 0.5, 0), (0.6, 0.75, 0.55, 0)]
    if side > 0:
        lobes = [(0.55, 0.32, 0.55, 0), (0.6, 0.62, 0.6, 0), (0.65, 0.82, 0.5, 0)]
    cu, cw, fissure, edge = lobes[rng.integers(len(lobes))]
    cu, cw = cu + rng.normal(0, 0.09), cw + rng.normal(0, 0.05)
    ru, rw = rng.uniform(0.36, 0.7), rng.uniform(0.16, 0.3)
    angle = rng.normal(0, 0.35)
    du, dw = (u - cu) / ru, (w - cw) / rw
    distance = np.hypot(du * np.cos(angle) + dw * np.sin(angle), dw * np.cos(angle) - du * np.sin(angle))
    distance += 0.22 * noise(rng, 9) + 0.13 * noise(rng, 22)
    fill = sigmoid((1 - distance) / rng.uniform(0.13, 0.3))
    if edge:
        bow = fissure + 0.05 * np.sin(np.pi * u) + 0.02 * noise(rng, 4)
        fill *= sigmoid(edge * (w - bow) / 0.012)
    fill *= np.clip(1 + 0.16 * noise(rng, 14) + 0.12 * noise(rng, 40), 0.3, 1.5) * rng.uniform(0.3, 0.9)
    return _within(fill, lung)


def _ground_glass(body: Anatomy, rng: np.random.Generator) -> Map:
    """Share of the air replaced, 0 to 1: faint patches in both lungs, mostly peripheral and basal."""
    total = np.zeros((SIDE, SIDE), np.float32)
    severity = rng.uniform(0.22, 0.65)
    for side, lung in ((-1, body.right), (1, body.left)):
        u, w = _place(lung, side)
        rows, columns = np.nonzero(lung)
        weight = (0.12 + w[lung] ** 1.6) * (0.06 + np.clip(u[lung] - 0.25, 0, 1) ** 1.3)
        clear = np.ones_like(total)
        for at in rng.choice(len(rows), int(rng.integers(4, 9)), p=weight / weight.sum()):
            long, short = rng.uniform(1.8, 4.8) * SCALE, rng.uniform(1.3, 2.8) * SCALE
            x, y = np.arange(SIDE) - columns[at], np.arange(SIDE)[:, None] - rows[at]
            distance = np.sqrt((x / short) ** 2 + (y / long) ** 2) + 0.3 * noise(rng, 14)
            clear *= 1 - rng.uniform(0.5, 1) * sigmoid((1 - distance) / 0.25)
        total = np.maximum(total, _within((1 - clear) * severity * rng.uniform(0.75, 1.2), lung))
    mottle = 1 + 0.25 * noise(rng, 18) + 0.2 * noise(rng, 45) + 0.08 * noise(rng, 110)
    return np.asarray(total * np.clip(mottle, 0.25, 2), np.float32)


def _within(fill: Map, lung: Mask) -> Map:
    # Extends slightly beyond the visible lung field: disease next to the heart obscures its border (silhouette sign).
    wider = cv2.dilate(lung.astype(np.float32), np.ones((13, 13), np.uint8))
    inside = blur(np.asarray(wider), 0.25)
    return (np.clip(fill, 0, 0.9) * inside).astype(np.float32)


def _leads(rng: np.random.Generator) -> Map:
    """Attenuation of ECG electrodes and wires on the skin."""
    out = np.zeros((SIDE, SIDE), np.uint8)
    for _ in range(int(rng.integers(2, 5))):
        disc = np.array([rng.choice([-1, 1]) * rng.uniform(5, 13) + SPAN / 2, rng.uniform(10, 30)]) * SCALE
        end = np.array([rng.uniform(4, 40), rng.choice([2, 43])]) * SCALE
        bend = (disc + end) / 2 + rng.normal(0, 5 * SCALE, 2)
        t = np.linspace(0, 1, 30)[:, None]
        wire = (1 - t) ** 2 * disc + 2 * t * (1 - t) * bend + t**2 * end
        cv2.polylines(out, [np.round(wire * 16).astype(np.int32)], False, 90, 1, cv2.LINE_AA, 4)
        cv2.circle(out, tuple(int(v) for v in disc), int(0.55 * SCALE), 110, -1, cv2.LINE_AA)
        cv2.circle(out, tuple(int(v) for v in disc), int(0.25 * SCALE), 255, -1, cv2.LINE_AA)
    return cv2.GaussianBlur(out, (0, 0), 0.7).astype(np.float32) / 255 * 0.8


def _expose(attenuation: Map, lungs: Mask, opacity: Mask, style: Style, rng: np.random.Generator) -> Radiograph:
    w, h = style.width, style.height
    scale = w / (style.field * SCALE)
    centre = ((SPAN / 2 + style.shift_x) * SCALE, (20.4 + style.shift_y) * SCALE)
    matrix = cv2.getRotationMatrix2D(centre, style.tilt, scale)
    matrix[:, 2] += np.array([w / 2 - centre[0], h / 2 - centre[1]])

    def warp(image: Map, edge: int) -> Map:
        return cv2.warpAffine(image, matrix, (w, h), flags=cv2.INTER_LINEAR, borderMode=edge)  # type: ignore[return-value]

    primary = np.exp(-warp(attenuation, cv2.BORDER_REPLICATE))
    small = cv2.resize(primary, (w // 8, h // 8), interpolation=cv2.INTER_AREA)
    wide = cv2.resize(cv2.GaussianBlur(small, (0, 0), w / 8 / 9), (w, h), interpolation=cv2.INTER_CUBIC)
    beam = np.maximum(primary + style.scatter * (0.3 * wide + 0.03), 0.004)
    if style.blur > 0.3:
        beam = cv2.GaussianBlur(beam, (0, 0), style.blur)
    grain = rng.standard_normal((h, w), dtype=np.float32)
    grain = 0.6 * grain + 0.9 * cv2.GaussianBlur(grain, (0, 0), 1.0)
    dense = -np.log(beam) + style.noise * grain / np.sqrt(beam + 0.02)
    middle = dense[h // 5 : -h // 5, w // 5 : -w // 5]
    shade = sigmoid(style.contrast * (dense - middle.mean() + 0.15 + style.exposure) / 0.58)
    y, x = np.mgrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j].astype(np.float32)
    shade *= 1 - style.vignette * (x**2 + y**2) / 2
    marks = _marker(style, rng)
    shade = shade * (1 - marks) + 0.97 * marks
    inside = (np.abs(x) < 1 - 2 * style.border) & (np.abs(y) < 1 - style.border)
    if style.border:
        shade *= 0.02 + 0.98 * cv2.GaussianBlur(inside.astype(np.float32), (0, 0), 1.0)
    seen = (warp(lungs.astype(np.float32), cv2.BORDER_CONSTANT) > 0.5) & inside
    opaque = (warp(opacity.astype(np.float32), cv2.BORDER_CONSTANT) > 0.5) & seen
    return Radiograph(np.clip(shade, 0, 1).astype(np.float32), seen, opaque)


def _marker(style: Style, rng: np.random.Generator) -> Map:
    out = np.zeros((style.height, style.width), np.uint8)
    if not style.marker:
        return out.astype(np.float32)
    letter = len(style.marker) == 1
    x = rng.uniform(0.86, 0.9) if style.marker == "L" else rng.uniform(0.05, 0.09)
    at = (int(x * style.width), int(rng.uniform(0.09, 0.16) * style.height))
    size, thick = style.width / 520 * (0.9 if letter else 0.55), 2 if letter else 1
    cv2.putText(out, style.marker, at, cv2.FONT_HERSHEY_SIMPLEX, size, 235, thick, cv2.LINE_AA)
    return np.asarray(cv2.GaussianBlur(out, (0, 0), 0.6), np.float32) / 255
