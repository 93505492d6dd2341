"""The benchmark that plants shortcuts: that it runs from end to end, audits again after a change of code, and counts
right."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from unittest.mock import Mock

import numpy as np
import pytest

from cxrflow.audit.registry import TESTS
from cxrflow.metadata.groups import with_children
from cxrflow.models import find_model
from cxrflow.params import Params
from cxrflow.records import COLUMNS
from cxrflow.synthetic.drawing import draw
from cxrflow.synthetic.layouts import plan

MEASURED = {"macro_auroc": 0.9, "reads": 0.1}


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    import audit_check

    yield audit_check
    del sys.modules["audit_check"]


@pytest.fixture
def quickly_drawn(check: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """One radiograph under the noise of each job, and a random severity: this tests the way from end to end, not the
    pictures."""

    def drawings(seed: int, _: Path) -> list:
        jobs = [job for job in plan(check.PATIENTS, seed)[0] if job.kind != "other"]
        jobs = [job for job in jobs if job.path.split("/")[0] in check.FOLDERS]
        pixels = 255 * draw(jobs[0].patient, "normal", jobs[0].style, jobs[0].seed).pixels
        made = []
        for job in jobs:
            rng = np.random.default_rng(job.seed)
            noisy = np.clip(np.rint(pixels + rng.normal(0, 5, pixels.shape)), 0, 255).astype(np.uint8)
            made.append(check.Drawing(job, noisy, float(rng.random()) * (job.kind != "normal")))
        return made

    monkeypatch.setattr(check, "drawings", drawings)


def row(seed: int, condition: str, alarm: bool) -> dict:
    verdicts: dict[str, str] = {}
    return {"seed": seed, "condition": condition, "alarm": alarm, "verdicts": verdicts} | MEASURED


@pytest.mark.usefixtures("quickly_drawn")
def test_a_network_is_drawn_for_trained_and_audited(
    check: ModuleType, monkeypatch: pytest.MonkeyPatch, demo_params: Params, tmp_path: Path
) -> None:
    for name, value in {"PATIENTS": 120, "SIZE": 32, "RETRAIN_SIZE": 32, "EPOCHS": 2, "RETRAIN_EPOCHS": 1}.items():
        monkeypatch.setattr(check, name, value)
    lungs = np.zeros((32, 32), bool)
    lungs[8:24, 6:26] = True
    monkeypatch.setattr(check, "lungs_of", lambda drawn, *_: np.repeat(lungs[None], len(drawn), axis=0))
    params = check.small(demo_params)
    audit = params.audit.model_copy(update={"heat_maps": 4})
    evaluation = params.evaluation.model_copy(update={"bootstrap": 50})
    find_model(params.training.model)
    training = params.training.model_copy(update={"model": "tiny"})
    params = params.model_copy(update={"audit": audit, "evaluation": evaluation, "training": training})
    found = check.checked(101, "hospital-all", params, tmp_path / "out" / "101-hospital-all")
    assert list(found["verdicts"]) == list(TESTS)
    assert -1 <= found["reads"] <= 1
    done = tmp_path / "out" / "101-hospital-all" / "done.json"
    kept = json.loads(done.read_text())
    assert kept["found"] == found
    done.write_text(json.dumps(kept | {"found": "as kept"}))
    assert check.checked(101, "hospital-all", params, done.parent) == "as kept"
    monkeypatch.setattr(check, "code_digest", lambda package, parts: "another")
    monkeypatch.setattr(check, "stored", Mock(side_effect=InterruptedError))
    with pytest.raises(InterruptedError):  # it begins anew
        check.checked(101, "hospital-all", params, done.parent)


@pytest.mark.usefixtures("quickly_drawn")
def test_conditions_are_what_they_say(check: ModuleType, demo_params: Params, tmp_path: Path) -> None:
    """How marks, sources and severity follow the class; at least 40 networks with a shortcut, and 40 without."""
    drawn = check.drawings(101, tmp_path)
    planted = [condition.planted for condition in check.CONDITIONS.values()]
    assert 5 * sum(planted) >= 40
    assert 10 * planted.count(False) >= 40
    for name, condition in check.CONDITIONS.items():
        marks = check.marks_of(drawn, condition)
        own = np.array([mark == each.job.kind for mark, each in zip(marks, drawn, strict=True)])
        expected = condition.strength + (1 - condition.strength) / 3
        assert own.mean() == pytest.approx(expected, abs=0.08), name
        hospitals: dict[int, set[str]] = {}
        for each, mark in zip(drawn, marks, strict=True):
            hospitals.setdefault(each.job.patient.number, set()).add(mark)
        if condition.hospital:
            assert all(len(marks) == 1 for marks in hospitals.values()), name
        ill = np.array([each.job.kind != "normal" for each in drawn])
        severity = np.array([each.severity for each in drawn])
        apart = severity[ill & own].mean() - (severity[ill & ~own].mean() if (ill & ~own).any() else 0.5)
        assert (apart > 0.1) == condition.severe, name
    params = check.small(demo_params)
    for name in ("none", "hospital-marker"):
        lungs = check.lungs_of(drawn[:20], params.images, tmp_path / "lungs.npy")
        assert lungs.shape == (20, check.SIZE, check.SIZE)
        assert 0.1 < lungs.mean() < 0.6
        dataset = check.stored(101, check.CONDITIONS[name], params, drawn[:20], lungs)
        assert set(dataset.records.columns) == set(COLUMNS)
        assert not with_children(dataset.records).any()
        assert (dataset.records.groupby("group_id").split.nunique() == 1).all()
        assert dataset.records.source.str.startswith("hospital-").all() == (name != "none")


def test_rates_come_with_exact_intervals(check: ModuleType, demo_params: Params) -> None:
    """Of n of n the exact interval starts at 0.025^(1/n), of 0 of n it ends at 1 - 0.025^(1/n)."""
    found = [row(seed, name, True) for seed in (1, 2, 3) for name in ("marker", "border", "hospital-grain")]
    found += [row(seed, "none", False) for seed in (1, 2, 3, *range(6, 13))]
    counted = check.summary(found, demo_params)
    assert (counted["hit_rate"], counted["false_alarm_rate"]) == (1, 0)
    hits, alarms = counted["counts"]["hit_rate"], counted["counts"]["false_alarm_rate"]
    assert (hits["alarms"], hits["networks"], hits["high"]) == (9, 9, 1)
    assert hits["low"] == pytest.approx(0.025 ** (1 / 9))
    assert (alarms["alarms"], alarms["networks"], alarms["low"]) == (0, 10, 0)
    assert alarms["high"] == pytest.approx(1 - 0.025 ** (1 / 10))
    assert counted["per_condition"]["none"]["networks"] == 10
    assert counted["seeds"] == [1, 2, 3, 6, 7, 8, 9, 10, 11, 12]
