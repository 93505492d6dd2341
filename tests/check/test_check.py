"""What the work takes, as measured; and the whole of the command."""

import json
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
import yaml

from cxrflow.check import measure, room
from cxrflow.check.check import check
from cxrflow.check.facts import Span
from cxrflow.check.tables import ranged
from cxrflow.errors import CxrflowError
from cxrflow.files import Root
from cxrflow.params import Member
from cxrflow.params_file import load_params
from cxrflow.records import TRUTH


def test_a_span_is_the_mean_of_all_and_the_range_of_its_fifths() -> None:
    found = measure.span([(2.0, 10), (1.0, 10), (3.0, 10), (1.0, 5), (4.0, 5)])
    assert (found.low, found.mid, found.high) == pytest.approx((0.1, 11 / 40, 0.8))
    once = measure.span([(6.0, 3)])
    assert (once.low, once.mid, once.high) == (1.0, 2.0, 4.0)  # nothing is known of its range


def test_a_range_in_words() -> None:
    assert ranged(Span(8.4, 10, 12)) == "10 seconds (8 to 12)"
    assert ranged(Span(60, 120, 180)) == "2.0 minutes (1.0 to 3.0)"
    assert ranged(Span(3600, 7200, 36_000)) == "2.0 hours (1.0 to 10.0)"


@pytest.fixture
def files(own):
    rows = [[f"{n}.png", "normal", f"p{n}"] for n in range(40)]
    root = own(rows, {path: n for n, (path, _, _) in enumerate(rows)})
    return Root(root), pd.DataFrame({"path": [f"mine/{n}.png" for n in range(40)], "turned": False})


def test_image_steps_are_timed_after_the_workers_are_warm(files, demo_params, engine, monkeypatch) -> None:
    root, records = files
    monkeypatch.setattr(measure, "cores", lambda: 1)
    ticks = iter(range(1000))  # a second between any two looks
    steps = demo_params.images.model_copy(update={"size": 32, "clahe_tiles": 2})
    span, pictures = measure.prepare(records, root, steps, engine, 5, lambda: float(next(ticks)))
    # Nine warm the worker; a piece of 4 takes a second; then come pieces of 4, the clock is looked at twice for each.
    assert len(engine.asked) == len(pictures) == 17
    assert span == Span(1 / 8, 1 / 4, 1 / 2)
    assert pictures.shape[1:] == (32, 32)
    with pytest.raises(CxrflowError, match="none of 1 images could be prepared"):
        measure.prepare(pd.DataFrame({"path": ["mine/x.png"], "turned": [False]}), root, steps, engine, 1, _zero())


def _zero():
    return iter(range(1000)).__next__


def test_a_training_is_timed_by_its_own_steps(demo_params, two_classes) -> None:
    images = demo_params.images.model_copy(update={"size": 32, "clahe_tiles": 2})
    training = demo_params.training.model_copy(update={"model": "timm:resnet10t", "batch_size": 8})
    pictures = np.random.default_rng(0).integers(0, 255, (6, 32, 32)).astype(np.uint8)
    found = measure.train(Member(images, training, None), two_classes, pictures, 0.2)
    assert 0 < found.forward.low <= found.forward.mid <= found.forward.high
    assert found.forward.mid < found.train.mid < 5
    frozen = measure.train(
        Member(images, training.model_copy(update={"freeze": "backbone"}), None), two_classes, pictures, 0.1
    )
    assert frozen.train == frozen.forward


def test_disk_is_counted_by_hand(demo_params) -> None:
    images = demo_params.images.model_copy(update={"size": 100, "lungs": "opencv"})
    training = demo_params.training.model_copy(update={"model": "resnet18"})
    member = Member(images, training, None)
    weights, _ = room.tensors("resnet18", 1, 100, 3) or (0, 0)
    assert weights == pytest.approx(4 * 11.17e6, rel=0.001)  # ResNet-18 with one plane and three classes
    assert room.disk_gb([member, member], 1000, 3) == pytest.approx((2 * 1000 * 2 * 100**2 + 20 * weights) / 1e9)


@pytest.fixture
def study(own, tmp_path, engine, picture, monkeypatch):
    """A study of 90 pictures of 90 people, as if they were drawn, which sets the network and its epochs itself."""
    monkeypatch.setattr("cxrflow.check.check.open_engine", lambda params: nullcontext(engine))
    classes = ("covid", "normal", "pneumonia")
    rows = [[f"{n}.png", classes[n % 3], f"p{n}"] for n in range(90)]
    root = own(rows, {path: picture(n, 64) for n, (path, _, _) in enumerate(rows)})
    (root / TRUTH / "opacity").mkdir(parents=True)
    (tmp_path / "params.yaml").write_text(
        f"overrides: null\nsources: {{root: {root}}}\ntraining: {{model: 'timm:resnet10t', epochs: 3}}\n"
    )
    return tmp_path


def test_a_study_is_looked_at_and_planned(study, capsys) -> None:
    assert check(study / "params.yaml", study / "data", study / "check", 8.0, seconds=(0.1, 0.1))
    printed = capsys.readouterr().out
    for said in ("Class against source", "What the data cannot tell", "set in the study", "overrides: [plan]"):
        assert said in printed
    found = json.loads((study / "check" / "fingerprint.json").read_text())
    assert found["sources"]["mine"]["images"] == found["kept"] == 90
    chosen = {choice["key"]: choice["value"] for choice in found["plan"]}
    assert (chosen["training.epochs"], chosen["images.size"]) == (3, 64)
    assert found["estimate"]["images"]["mid"] > 0
    page = (study / "check" / "index.html").read_text()
    assert "These radiographs are drawings" in page
    assert "http" not in page  # loads nothing
    plan = yaml.safe_load((study / "params" / "plan.yaml").read_text())
    assert "epochs" not in plan["training"]  # the study sets it
    (study / "params.yaml").write_text((study / "params.yaml").read_text().replace("null", "plan"))
    planned = load_params(study / "params.yaml")
    assert (planned.images.size, planned.training.folds) == (64, chosen["training.folds"])


def test_a_study_that_would_stop_has_no_plan(study, capsys) -> None:
    split = "metadata: {split: {train: 0.98, val: 0.01, test: 0.01}}\n"  # 90 people are too few for it
    (study / "params.yaml").write_text((study / "params.yaml").read_text() + split)
    assert not check(study / "params.yaml", study / "data", study / "check", 8.0)
    assert "No plan: the study would stop" in capsys.readouterr().out
    assert json.loads((study / "check" / "fingerprint.json").read_text())["cannot_tell"]
    assert not (study / "params" / "plan.yaml").exists()


def test_an_edited_plan_stops_before_any_work(study) -> None:
    (study / "params").mkdir()
    (study / "params" / "plan.yaml").write_text("training: {folds: 3}\n")
    with pytest.raises(CxrflowError, match="was edited"):
        check(study / "params.yaml", study / "no", study / "no", 8.0)
    assert not (study / "no").exists()
