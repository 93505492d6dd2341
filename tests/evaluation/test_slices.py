"""Slices that are planted are found and named; where failures depend on nothing, nothing is named."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cxrflow.evaluation.slices import LEAST_FAILED, LEVEL, _holm, slices
from cxrflow.statistics.scored import Scored
from cxrflow.task import Task

N = 400
VIEWS, AGES, SEXES = ("PA", "AP"), (30.0, 50.0, 70.0), ("F", "M")


@pytest.fixture
def fails(score: Callable[..., Scored], task: Task) -> Callable[..., tuple[Scored, np.ndarray]]:
    """Makes scored images, by default two of each patient, whose network fails with the probability ``chance`` of
    (view, source, class), and their features: noise, moved by 6 where ``chance`` is above a half."""

    def make(chance: Callable[..., Any], seed: int = 0, per_patient: int = 2) -> tuple[Scored, np.ndarray]:
        rng = np.random.default_rng(seed)
        groups = np.arange(N) // per_patient
        truth, view, source = (rng.integers(0, count, N) for count in (3, 2, 2))
        expected = np.broadcast_to(chance(view, source, truth), N)
        # Failures of one patient's images are alike.
        failed = np.where(rng.random(N) < 0.5, rng.random(N), rng.random(N)[groups]) < expected
        called = np.where(failed, (truth + rng.integers(1, 3, N)) % 3, truth)
        columns = {"view": np.array(VIEWS)[view], "source": np.array(["a", "b"])[source]}
        columns |= {"age": rng.choice(AGES, N), "sex": rng.choice(SEXES, N)}
        scored = score(task, truth, np.eye(3)[called] * 0.7 + 0.1, groups, seed=seed, **columns)
        features = rng.normal(size=(N, 6)) + 6 * (expected > 0.5)[:, None]
        return scored, features[failed].astype(np.float32)

    return make


@pytest.mark.parametrize(
    ("chance", "name", "share"),
    [
        (lambda view, source, truth: np.where(view == 1, 0.6, 0.1), "view AP", 1 / 2),
        (lambda view, source, truth: np.where(source == 1, 0.6, 0.1), "source b", 1 / 2),
        (lambda view, source, truth: np.where(truth == 1, 0.6, 0.1), "class clear", 1 / 3),
        (lambda view, source, truth: np.where((truth == 0) & (view == 1), 0.7, 0.1), "view AP, class influenza", 1 / 6),
    ],
)
def test_a_planted_slice_is_found_and_named(fails: Callable, chance: Callable, name: str, share: float) -> None:
    scored, features = fails(chance)
    found = slices(scored, features)
    first = found["named"][0]
    assert first["shared"] == name
    assert first["p"] <= LEVEL
    assert first["error"].low > first["error_beside"].high
    assert first["error"].n == pytest.approx(share * N, rel=0.25)
    in_clusters = sum(each["failed"] for each in found["named"]) + found["unnamed"]
    assert in_clusters == found["failed"] == len(features)
    if "," in name:  # beside it are the images of the same class
        assert first["error"].n + first["error_beside"].n == (scored.labels == "flu").sum()


def test_nothing_is_named_where_failures_depend_on_nothing(fails: Callable) -> None:
    """Patients have four images each, which are alike. By chance in at most one of twenty data sets; the clusters are
    there in each."""
    named = []
    for seed in range(40):
        scored, features = fails(lambda view, source, truth: 0.25, seed, 4)
        found = slices(scored, features)
        named.append(len(found["named"]) > 0)
        assert found["clusters"] >= 2
        assert found["compared"] > 20
        if not named[-1]:
            assert found["unnamed"] == found["failed"]
    assert sum(named) <= 6  # a binomial of 40 with a chance of 0.05 is larger once in 300 times


def test_a_trait_that_no_cluster_shares_names_none(fails: Callable) -> None:
    """The network fails more often on AP, but each of two clusters holds AP and PA in the same shares, below 2/3."""
    scored, features = fails(lambda view, source, truth: np.where(view == 1, 0.42, 0.25))
    ap = (scored.table["view"] == "AP").to_numpy()[scored.predicted != scored.truth]
    assert 0.55 < ap.mean() < 0.66
    turn = np.empty(len(ap), int)
    for side in (ap, ~ap):
        turn[side] = np.arange(side.sum()) % 2
    mixed = np.random.default_rng(1).normal(size=features.shape) + 20 * turn[:, None]
    found = slices(scored, mixed)
    assert (found["clusters"], found["named"], found["unnamed"]) == (2, [], len(ap))
    by_view = slices(scored, mixed - 20 * turn[:, None] + 20 * ap[:, None])
    assert [each["shared"] for each in by_view["named"]] == ["view AP"]


def test_few_failures_are_not_clustered(fails: Callable) -> None:
    scored, features = fails(lambda view, source, truth: 0.02)
    assert 0 < len(features) < LEAST_FAILED
    found = slices(scored, features)
    assert (found["failed"], found["clusters"], found["unnamed"], found["named"]) == (len(features), 0, 0, [])
    assert slices(scored.where(scored.predicted == scored.truth), np.empty((0, 0)))["failed"] == 0


def test_the_same_seed_gives_the_same_slices(fails: Callable) -> None:
    chance = lambda view, source, truth: np.where(view == 1, 0.6, 0.1)  # noqa: E731
    assert slices(*fails(chance)) == slices(*fails(chance))


def test_alike_features_are_one_cluster(fails: Callable) -> None:
    scored, features = fails(lambda view, source, truth: np.where(view == 1, 0.6, 0.1))
    found = slices(scored, np.zeros_like(features))
    assert found["clusters"] == 1
    assert [each["shared"] for each in found["named"]] == ["view AP"]


def test_holm_by_hand() -> None:
    assert _holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert _holm([0.9, 0.8]) == [1.0, 1.0]
    assert _holm([]) == []
