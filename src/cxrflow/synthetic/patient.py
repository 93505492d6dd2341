"""Synthetic patients with random body builds."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Patient:
    """Properties that all radiographs of one person share; lengths in cm, factors about 1."""

    number: int  # random seed of the rest: proportions, outlines, branching of vessels, folds of soft tissue
    width: float  # scale factor of the chest width
    height: float  # scale factor of the lung height
    heart: float  # scale factor of the heart width
    wall: float  # thickness of soft tissue outside the ribs
    depth: float  # anteroposterior diameter of the body
    breast: float  # thickness of the breasts, 0 for none
    bone: float  # scale factor of bone density
    slope: float  # scale factor of the slope of the ribs
    gap: float  # scale factor of the distance from rib to rib, beside that of the height
    shoulders: float  # how much higher than usual the shoulders are
    aorta: float  # scale factor of the width of the upper mediastinum
    arms: float  # distance of the arms from the chest


def make_patient(number: int, female: bool, rng: np.random.Generator) -> Patient:
    """A patient with a random build, independent of any disease."""
    return Patient(
        number=number,
        width=float(np.clip(rng.normal(0.94 if female else 1.0, 0.07), 0.8, 1.15)),
        height=float(np.clip(rng.normal(0.95, 0.08), 0.83, 1.1)),
        heart=float(np.clip(rng.normal(1.0, 0.17), 0.72, 1.4)),
        wall=float(np.clip(rng.gamma(4, 0.6), 1.2, 5)),
        depth=float(np.clip(rng.normal(20, 2.2), 16, 26)),
        breast=float(rng.uniform(1.2, 4.2)) if female else 0.0,
        bone=float(rng.uniform(0.75, 1.7)),
        slope=float(rng.uniform(0.6, 1.4)),
        gap=float(rng.uniform(0.87, 1.15)),
        shoulders=float(np.clip(rng.normal(0, 1.1), -2, 2)),
        aorta=float(rng.uniform(0.8, 1.25)),
        arms=float(rng.uniform(0.5, 5)),
    )
