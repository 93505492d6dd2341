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
from cxrflow.synthetic.people import Job


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    import audit_check

    yield audit_check
    del sys.modules["audit_check"]


def quickly_drawn(jobs: list[Job], _: Path) -> list[np.ndarray]:
    """One radiograph under the noise of each job: this tests the way from end to end, not the pictures."""
    pixels = 255 * draw(jobs[0].patient, "normal", jobs[0].style, jobs[0].seed).pixels
    noise = [np.random.default_rng(job.seed).normal(0, 5, pixels.shape) for job in jobs]
    return [np.clip(np.rint(pixels + grain), 0, 255).astype(np.uint8) for grain in noise]


def row(seed: int, shortcut: str, alarm: bool) -> dict:
    return {"seed": seed, "shortcut": shortcut, "alarm": alarm, "verdicts": {}, "macro_auroc": 0.9}


def test_a_network_is_drawn_for_trained_and_audited(
    check: ModuleType, monkeypatch: pytest.MonkeyPatch, demo_params: Params, tmp_path: Path
) -> None:
    for name, value in {"PATIENTS": 90, "SIZE": 32, "EPOCHS": 2, "RETRAIN_EPOCHS": 1}.items():
        monkeypatch.setattr(check, name, value)
    monkeypatch.setattr(check, "radiographs", quickly_drawn)
    params = check.small(demo_params)
    audit = params.audit.model_copy(update={"heat_maps": 4})
    evaluation = params.evaluation.model_copy(update={"bootstrap": 50})
    find_model(params.training.model)
    training = params.training.model_copy(update={"model": "tiny"})
    params = params.model_copy(update={"audit": audit, "evaluation": evaluation, "training": training})
    records = check.stored(101, "none", params, tmp_path / "out" / "101-drawn").records
    assert set(records.columns) == set(COLUMNS)
    assert not with_children(records).any()
    assert (records.groupby("group_id").split.nunique() == 1).all()
    found = check.checked(101, "marker", params, tmp_path / "out" / "101-marker")
    assert list(found["verdicts"]) == list(TESTS)
    done = tmp_path / "out" / "101-marker" / "done.json"
    kept = json.loads(done.read_text())
    assert kept["found"] == found
    done.write_text(json.dumps(kept | {"found": "as kept"}))
    assert check.checked(101, "marker", params, done.parent) == "as kept"
    monkeypatch.setattr(check, "code_digest", lambda package, parts: "another")
    monkeypatch.setattr(check, "stored", Mock(side_effect=InterruptedError))
    with pytest.raises(InterruptedError):  # it begins anew
        check.checked(101, "marker", params, done.parent)


def test_rates_come_with_exact_intervals(check: ModuleType, demo_params: Params) -> None:
    """Of n of n the exact interval starts at 0.025^(1/n), of 0 of n it ends at 1 - 0.025^(1/n)."""
    found = [row(seed, name, name != "none") for seed in (1, 2, 3) for name in check.SHORTCUTS]
    found += [row(seed, "none", False) for seed in range(6, 13)]
    counted = check.summary(found, demo_params)
    assert (counted["hit_rate"], counted["false_alarm_rate"]) == (1, 0)
    hits, alarms = counted["counts"]["hit_rate"], counted["counts"]["false_alarm_rate"]
    assert (hits["alarms"], hits["networks"], hits["high"]) == (9, 9, 1)
    assert hits["low"] == pytest.approx(0.025 ** (1 / 9))
    assert (alarms["alarms"], alarms["networks"], alarms["low"]) == (0, 10, 0)
    assert alarms["high"] == pytest.approx(1 - 0.025 ** (1 / 10))
    assert counted["per_shortcut"]["none"]["networks"] == 10
    assert counted["seeds"] == [1, 2, 3, 6, 7, 8, 9, 10, 11, 12]
