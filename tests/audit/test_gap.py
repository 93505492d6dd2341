"""The gap between the pooled AUROC and that within a source."""

from collections.abc import Callable
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from cxrflow.audit import gap as module
from cxrflow.audit.context import Audited
from cxrflow.audit.gap import pooled_and_within, run, severities
from cxrflow.audit.verdicts import Result
from cxrflow.audit.words import CLEAR, FOUND, UNTOLD
from cxrflow.explanation.masks import TRUE_OPACITY
from cxrflow.statistics.resampling import Bootstrap
from cxrflow.statistics.scored import Scored
from cxrflow.task import Task


def drawn(seed: int, by_hospital: float, by_disease: float, task: Task, n: int = 400) -> Scored:
    """Two hospitals, one mostly of the first class, the other mostly of the second; scores follow hospital and
    disease."""
    rng = np.random.default_rng(seed)
    hospital = rng.integers(0, 2, n)
    ill = rng.random(n) < np.where(hospital == 1, 0.85, 0.15)
    score = by_hospital * hospital + by_disease * ill + rng.normal(0, 1, n)
    p = 1 / (1 + np.exp(-score))
    first, second = task.order[:2]
    table = pd.DataFrame(
        {
            "label": np.where(ill, first, second),
            "source": np.where(hospital == 1, "b", "a"),
            "group_id": np.arange(n).astype(str),
        }
    )
    rest = np.zeros((n, len(task.order) - 2))
    return Scored(task, table, np.column_stack([p, 1 - p, rest]), Bootstrap(100, 0))


def gap(scored: Scored, monkeypatch: pytest.MonkeyPatch, severity: np.ndarray | None = None) -> Result:
    monkeypatch.setattr(module, "severities", lambda _: severity)
    return run(SimpleNamespace(task=scored.task, scored=scored, claims=1))  # type: ignore[arg-type]


def test_figures_are_those_of_scikit_learn(task: Task) -> None:
    scored = drawn(0, 1, 1, task)
    ill, score, sources = scored.truth == 0, scored.probabilities[:, 0], scored.sources
    found = pooled_and_within(scored, *task.order[:2])
    assert found["pooled"].value == pytest.approx(roc_auc_score(ill, score))
    pairs, areas = [], []
    for source in "ab":
        here = sources == source
        pairs.append(ill[here].sum() * (~ill[here]).sum())
        areas.append(roc_auc_score(ill[here], score[here]))
    assert found["within"].value == pytest.approx(np.average(areas, weights=pairs))
    assert found["gap"].value == pytest.approx(found["pooled"].value - found["within"].value)


def test_a_network_that_reads_the_hospital_is_found_and_one_that_reads_disease_is_not(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads_hospital = gap(drawn(1, 3, 0, task), monkeypatch, np.zeros(400))
    first, second = task.order[:2]
    assert (reads_hospital.verdict, reads_hospital.alone) == (FOUND, True)
    pair = reads_hospital.figures["pairs"][f"{first}_vs_{second}"]
    assert pair["within"].low < 0.5 < pair["within"].high
    pair = gap(drawn(2, 0, 3, task), monkeypatch).figures["pairs"][f"{first}_vs_{second}"]
    assert pair["gap"].low < 0.02
    assert pair["gap"].high < 0.15


def test_of_two_classes_the_one_pair_decides(two_classes: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    assert gap(drawn(1, 3, 0, two_classes), monkeypatch).verdict == FOUND
    calm = gap(drawn(2, 0, 4, two_classes, 4000), monkeypatch)
    assert calm.verdict == CLEAR
    assert "clear against pneumothorax" in calm.words
    assert list(calm.rows[0].figures) == ["clear vs pneumothorax"]


def case_mix(seed: int, task: Task, by_hospital: float = 0.0) -> tuple[Scored, np.ndarray]:
    """The first hospital has many ill patients, severe cases; the second has few, mild ones. Scores follow severity
    (and, if asked, the hospital); returned with the severity of each image."""
    rng, n = np.random.default_rng(seed), 1000
    hospital = rng.integers(0, 2, n)
    ill = rng.random(n) < np.where(hospital == 1, 0.9, 0.1)
    root = np.cbrt(rng.random(n))
    severity = ill * 3 * np.where(hospital == 1, root, 1 - root)
    p = 1 / (1 + np.exp(-(severity + by_hospital * hospital + rng.normal(0, 1, n))))
    first, second = task.order[:2]
    table = pd.DataFrame(
        {
            "label": np.where(ill, first, second),
            "source": np.where(hospital == 1, "b", "a"),
            "group_id": np.arange(n).astype(str),
        }
    )
    return Scored(task, table, np.column_stack([p, 1 - p]), Bootstrap(100, 0)), severity


def test_case_mix_gives_an_honest_network_a_gap_that_severity_explains(
    two_classes: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 20 honest networks nearly all have a gap, and at equal severity next to none; of 5 with a shortcut, all."""
    convicted = {"unknown": 0, "known": 0}
    for seed in range(20):
        scored, severity = case_mix(seed, two_classes)
        blind, seeing = gap(scored, monkeypatch), gap(scored, monkeypatch, severity)
        assert (blind.alone, seeing.alone) == (False, True)
        convicted["unknown"] += blind.verdict == FOUND
        convicted["known"] += seeing.verdict == FOUND
        assert "not known" in blind.words
        assert "at equal severity" in seeing.words
    assert convicted["unknown"] >= 15
    assert convicted["known"] <= 2
    for seed in range(5):
        scored, severity = case_mix(seed, two_classes, by_hospital=2)
        assert gap(scored, monkeypatch, severity).verdict == FOUND


def test_severity_is_known_where_every_picture_has_its_true_opacity(hospital: Callable[..., Audited]) -> None:
    context = hospital(np.arange(6) % 3)
    folder = context.root / TRUE_OPACITY / "t"
    folder.mkdir(parents=True)
    for k in range(6):
        assert severities(context) is None
        opacity = np.zeros((32, 32), np.uint8)
        opacity[:k] = 255
        cv2.imwrite(str(folder / f"{k}.png"), opacity)
    assert severities(context) == pytest.approx(np.arange(6) / 32)


def test_intervals_of_the_gap_hold(task: Task) -> None:
    """No gap where only disease counts and both hospitals score alike: it is covered in at least 46 of 50 draws."""
    held = 0
    for seed in range(50):
        found = pooled_and_within(drawn(100 + seed, 0, 1.5, task, 150), *task.order[:2])["gap"]
        held += found.low <= 0 <= found.high
    assert held >= 46


@pytest.mark.parametrize("classes", ["task", "four_classes"])
def test_where_no_source_has_both_classes_nothing_is_told(
    classes: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = request.getfixturevalue(classes)
    first, second = task.order[:2]
    table = pd.DataFrame(
        {"label": [first, second] * 10, "source": ["a", "b"] * 10, "group_id": np.arange(20).astype(str)}
    )
    probabilities = np.random.default_rng(0).dirichlet(np.ones(len(task.order)), 20)
    found = gap(Scored(task, table, probabilities, Bootstrap(100, 0)), monkeypatch)
    assert found.verdict == UNTOLD
    reasons = {pair["gap"].reason for pair in found.figures["pairs"].values()}
    assert reasons == {"no source has both classes", "a class has no picture"}
    assert set(found.figures["pairs"]) == {f"{a}_vs_{b}" for a, b in task.pairs}


def test_few_groups_give_no_gap(two_classes: Task) -> None:
    table = pd.DataFrame(
        {
            "label": [*["clear"] * 8, *["air"] * 8],
            "source": "a",
            "group_id": [f"g{k}" for k in [*range(8), *[8, 9] * 4]],
        }
    )
    probabilities = np.random.default_rng(0).dirichlet(np.ones(2), 16)
    found = pooled_and_within(Scored(two_classes, table, probabilities, Bootstrap(100, 0)), "clear", "air")
    assert found["gap"].reason.startswith("only 2 groups of")
