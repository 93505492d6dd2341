"""People of each collection and styles of their radiographs, independent of the class.

Builds, image sizes, styles and formats are sampled from ranges, most of them specific to the collection.
"""

import uuid
from dataclasses import dataclass
from typing import Any

import numpy as np

from cxrflow.synthetic.drawing import Style
from cxrflow.synthetic.patient import Patient, make_patient


@dataclass(frozen=True, slots=True)
class Person:
    """One synthetic person; ``kind`` as in ``drawing.draw``, or "other"."""

    patient: Patient
    kind: str
    sex: str
    age: int
    images: int


@dataclass(frozen=True, slots=True)
class Job:
    """One image to draw; ``path`` is relative to the folder that holds the collections.

    kind      as in ``drawing.draw``, or "other": not a frontal radiograph, without ground truth
    channels  0: 16-bit grey, 1: grey, 3: colour, 4: colour with alpha; for DICOM 8 or 12 bits, negative for MONOCHROME1
    side      side of the square that the image is resized to after drawing (pixels); 0: not resized
    tags      values for the DICOM header
    """

    path: str
    patient: Patient
    kind: str
    style: Style
    seed: int
    channels: int = 1
    side: int = 0
    tags: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class _Department:
    """Ranges and probabilities from which a collection's styles are sampled; units as in Style."""

    width: tuple[int, int]
    aspect: tuple[float, float]  # height over width
    exposure: float  # mean
    contrast: tuple[float, float]
    noise: tuple[float, float]
    blur: tuple[float, float]
    scatter: tuple[float, float]
    border: float  # probability of a black margin
    markers: tuple[str, ...]
    leads: float  # probability of electrodes


_DEPARTMENTS = {
    "covid-chestxray-dataset": _Department(
        (380, 520), (0.82, 1.08), 0.0, (0.7, 1.25), (0.008, 0.03), (0.4, 1.1), (0.3, 0.65),
        border=0.25, markers=("", "", "L", "R", "AP"), leads=0.2),
    "Figure1-COVID-chestxray-dataset": _Department(
        (400, 512), (0.85, 1.15), 0.1, (0.7, 1.1), (0.015, 0.03), (0.7, 1.3), (0.4, 0.7),
        border=0.2, markers=("", "L", "PORTABLE"), leads=0.25),
    "Actualmed-COVID-chestxray-dataset": _Department(
        (450, 512), (0.8, 0.98), -0.1, (0.9, 1.25), (0.008, 0.016), (0.4, 0.7), (0.3, 0.5),
        border=0.0, markers=("L", "R"), leads=0.1),
    "COVID-19-Radiography-Database": _Department(
        (400, 512), (0.85, 1.05), 0.0, (0.8, 1.2), (0.01, 0.025), (0.6, 1.2), (0.35, 0.6),
        border=0.1, markers=("", "L", "R"), leads=0.1),
    "rsna-pneumonia-detection-challenge": _Department(
        (512, 512), (1.0, 1.0), 0.15, (0.7, 0.95), (0.01, 0.022), (0.5, 0.8), (0.45, 0.7),
        border=0.15, markers=("L", "L", "R", "PORTABLE"), leads=0.25),
    "nih-chestxray14": _Department(
        (448, 448), (1.0, 1.0), 0.05, (0.75, 1.05), (0.01, 0.02), (0.5, 0.9), (0.4, 0.65),
        border=0.15, markers=("L", "L", "R", "PORTABLE"), leads=0.2),
    "demo-hospital": _Department(
        (400, 480), (1.0, 1.2), -0.05, (0.85, 1.2), (0.006, 0.014), (0.3, 0.6), (0.25, 0.5),
        border=0.05, markers=("R", "R", ""), leads=0.1),
}  # fmt: skip

#: Share of each collection in all people, and of each class in the collection (covid, normal, pneumonia, other).
SHARES: dict[str, tuple[float, tuple[float, ...]]] = {
    "covid-chestxray-dataset": (0.30, (0.44, 0.28, 0.28, 0.0)),
    "Figure1-COVID-chestxray-dataset": (0.07, (0.45, 0.3, 0.25, 0.0)),
    "Actualmed-COVID-chestxray-dataset": (0.07, (0.45, 0.3, 0.25, 0.0)),
    "COVID-19-Radiography-Database": (0.085, (0.4, 0.3, 0.3, 0.0)),
    "rsna-pneumonia-detection-challenge": (0.18, (0.0, 0.45, 0.45, 0.1)),
    "nih-chestxray14": (0.14, (0.0, 0.45, 0.42, 0.13)),
    "demo-hospital": (0.155, (0.4, 0.33, 0.27, 0.0)),
}


def share_out(total: int, shares: list[float] | tuple[float, ...]) -> list[int]:
    """Integers in proportion to ``shares`` that add up to ``total``; at least 1 for a share above 0."""
    edges = np.round(np.cumsum(shares) / np.sum(shares) * total).astype(int)
    counts = np.diff(edges, prepend=0)
    for i in np.flatnonzero((counts == 0) & (np.array(shares) > 0)):
        counts[counts.argmax()] -= 1
        counts[i] = 1
    return [int(count) for count in counts]


def make_people(count: int, classes: tuple[float, ...], rng: np.random.Generator) -> list[Person]:
    """``count`` people in random order, with the shares ``classes`` of the classes."""
    kinds = np.repeat(["covid", "normal", "pneumonia", "other"], share_out(count, classes))
    out = []
    for kind in rng.permutation(kinds):
        sex = "F" if rng.random() < 0.45 else "M"
        patient = make_patient(int(rng.integers(2**31)), sex == "F", rng)
        images = int(rng.choice([1, 2, 3], p=[0.72, 0.2, 0.08]))
        out.append(Person(patient, str(kind), sex, int(rng.integers(19, 90)), images))
    return out


def make_style(folder: str, rng: np.random.Generator) -> Style:
    """A random style for the collection in ``folder``."""
    d = _DEPARTMENTS[folder]
    width = int(rng.integers(d.width[0], d.width[1] + 1))
    return Style(
        width=width,
        height=int(width * rng.uniform(*d.aspect)),
        field=float(rng.uniform(30, 39)),
        shift_x=float(rng.normal(0, 1)),
        shift_y=float(rng.normal(0, 1)),
        tilt=float(rng.normal(0, 2.2)),
        exposure=float(d.exposure + rng.normal(0, 0.13)),
        contrast=float(rng.uniform(*d.contrast)),
        scatter=float(rng.uniform(*d.scatter)),
        noise=float(rng.uniform(*d.noise)),
        blur=float(rng.uniform(*d.blur)),
        vignette=float(rng.uniform(0, 0.2)),
        border=float(rng.uniform(0.01, 0.035)) if rng.random() < d.border else 0.0,
        marker=str(rng.choice(d.markers)),
        leads=bool(rng.random() < d.leads),
    )


def make_job(folder: str, path: str, person: Person, rng: np.random.Generator, **more: Any) -> Job:
    """The job for an image of ``person`` in a random style, at ``path`` in ``folder``."""
    kind = "normal" if person.kind == "other" else person.kind  # draw() has no other findings
    return Job(f"{folder}/{path}", person.patient, kind, make_style(folder, rng), int(rng.integers(2**31)), **more)


def pick(rng: np.random.Generator, *choices: Any) -> Any:
    """A random choice."""
    return choices[int(rng.integers(len(choices)))]


def make_uuid(rng: np.random.Generator) -> str:
    """A random UUID, as text."""
    return str(uuid.UUID(bytes=rng.bytes(16), version=4))
