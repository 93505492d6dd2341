"""What the simulation of the near-repeat search draws: vectors like the real ones, and repeats as alike as planned."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(name="search", scope="module")
def imported() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield importlib.import_module("near_search")
        for name in ("near_search", "near_repeats", "images", "paper_order", "tables"):
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def real() -> np.ndarray:
    """Unit vectors that share a direction, and vary most along another."""
    vectors = np.random.default_rng(1).standard_normal((500, 8)).astype(np.float32) * [4, 1, 1, 1, 1, 1, 1, 1]
    vectors[:, 7] += 3
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_drawn_vectors_are_like_the_real_ones(search: ModuleType, real: np.ndarray) -> None:
    drawn = search.drawn(np.random.default_rng(2), real, 100_000)
    assert np.allclose(np.linalg.norm(drawn, axis=1), 1, atol=1e-5)
    assert np.allclose(drawn.mean(axis=0), real.mean(axis=0), atol=0.06)
    assert np.corrcoef(np.cov(drawn.T).ravel(), np.cov(real.T).ravel())[0, 1] > 0.99


def test_repeats_are_as_alike_as_planned_and_found(search: ModuleType, real: np.ndarray) -> None:
    first = search.drawn(np.random.default_rng(3), real, 400)
    planned = np.array([0.8, 0.95], np.float32)
    repeats = search.repeats_of(np.random.default_rng(4), first, planned, real)
    cosines = (first * repeats).sum(axis=1)
    assert np.abs(cosines[:, None] - planned).min(axis=1).max() < 1e-4
    row = search.searched(real, np.array([0.9999], np.float32), 2000, 50)
    assert row[0] == "2,000"
    assert row[4:6] == ("50 of 50", "50")
