"""Synthetic patients: their builds, drawn at random."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Patient:
    """What stays the same in every radiograph of one person; lengths in cm, factors about 1."""

    number: int  # seeds the fine detail: branching of vessels, jitter of outlines
    width: float  # factor on the chest's width
    height: float  # factor on the lungs' height
    heart: float  # factor on the heart's width
    wall: float  # soft tissue outside the ribs
    depth: float  # of the body, front to back
    breast: float  # thickness of the breasts, 0 for none
    bone: float  # factor on the density of bone
    slope: float  # how steeply the ribs fall
    arms: float  # how far the arms are from the chest


def make_patient(number: int, female: bool, rng: np.random.Generator) -> Patient:
    """A patient whose build is drawn at random, independent of any disease."""
    return Patient(
        number=number,
        width=float(np.clip(rng.normal(0.94 if female else 1.0, 0.045), 0.84, 1.1)),
        height=float(np.clip(rng.normal(0.95, 0.06), 0.8, 1.08)),
        heart=float(np.clip(rng.normal(1.0, 0.1), 0.8, 1.3)),
        wall=float(np.clip(rng.gamma(4, 0.6), 1.2, 5)),
        depth=float(np.clip(rng.normal(20, 2.2), 16, 26)),
        breast=float(rng.uniform(1.2, 4.2)) if female else 0.0,
        bone=float(rng.uniform(0.75, 1.2)),
        slope=float(rng.uniform(0.75, 1.25)),
        arms=float(rng.uniform(0.5, 5)),
    )
