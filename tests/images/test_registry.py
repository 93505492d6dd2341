"""The registry of image steps: every parameter belongs to a step, names, pictures and digest follow from it."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from cxrflow.errors import CxrflowError
from cxrflow.files import Root
from cxrflow.images.examples import step_names, write_examples
from cxrflow.images.prepare import steps_digest
from cxrflow.images.registry import STEPS, prepare_image, steps_in_force, views
from cxrflow.params import Images, Params
from cxrflow.reading import to_uint8
from cxrflow.task import Task

PACKAGE = Path(__file__).parents[2] / "src" / "cxrflow"


@pytest.fixture
def plain(demo_params: Params) -> Images:
    return demo_params.images.model_copy(update={"size": 64, "crop_top": 0.1, "equalise": "none"})


@pytest.mark.parametrize("order", list(STEPS))
def test_every_parameter_but_the_number_of_planes_belongs_to_a_step(order: str) -> None:
    belong = {key for step in STEPS[order] for key in (*step.when, *step.needs)}
    assert belong == set(Images.model_fields) - {"channels", "extra"}  # extra: those of others
    for step in STEPS[order]:
        assert all((PACKAGE / file).is_file() for file in step.code)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({}, ["top 10 % off, centre square"]),
        ({"equalise": "clahe"}, ["top 10 % off, centre square", "CLAHE"]),
        ({"harmonise": "percentiles", "equalise": "global"}, ["top 10 % off, centre square", "stretched", "equalised"]),
        ({"equalise": "clahe", "order": "equalise_first"}, ["CLAHE", "top 10 % off, centre square"]),
        ({"lungs": "opencv", "lungs_use": "store"}, ["top 10 % off, centre square", "lungs found"]),
        (
            {"lungs": "learned", "lungs_use": "both"},
            ["top 10 % off, centre square", "lungs found", "cropped to the lungs", "lungs alone"],
        ),
        ({"lungs": "none", "lungs_use": "both"}, ["top 10 % off, centre square"]),
    ],
)
def test_steps_in_force_are_named_in_their_order(plain: Images, changes: dict[str, str], names: list[str]) -> None:
    assert step_names(plain.model_copy(update=changes)) == ["as read", *names]


def test_parameters_of_steps_not_in_force_do_not_change_the_digest(plain: Images) -> None:
    def digest(**changes: object) -> str:
        return steps_digest(plain.model_copy(update=changes))

    unused = {"channels": 3, "clahe_clip": 9.0, "clahe_tiles": 2, "order": "equalise_first", "lungs_use": "crop"}
    assert digest(**unused) == digest()
    assert digest(equalise="global", clahe_clip=9.0) == digest(equalise="global")
    different = [
        {}, {"size": 65}, {"crop_top": 0.2}, {"harmonise": "percentiles"}, {"equalise": "global"},
        {"equalise": "global", "order": "equalise_first"}, {"equalise": "clahe"},
        {"equalise": "clahe", "clahe_clip": 9.0}, {"equalise": "clahe", "clahe_tiles": 2},
        {"lungs": "opencv", "lungs_use": "store"},
        {"lungs": "opencv", "lungs_use": "mask"}, {"lungs": "opencv", "lungs_use": "both"}, {"lungs": "learned"},
    ]  # fmt: skip
    assert len({digest(**changes) for changes in different}) == len(different)


def test_the_code_and_the_weights_of_steps_in_force_count(plain: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr("cxrflow.images.prepare.code_digest", lambda package, parts: asked.append(list(parts)) or "x")
    steps_digest(plain)
    steps_digest(plain.model_copy(update={"lungs": "learned"}))
    without, with_lungs = asked
    assert {"reading", "images/steps.py", "images/registry.py"} <= set(without)
    assert set(with_lungs) - set(without) == {"lungs/learned.py", "lungs/lungs.onnx"}


def test_each_view_is_the_picture_after_its_step_and_the_last_is_what_is_prepared(
    plain: Images, drawn: list[np.ndarray]
) -> None:
    steps = plain.model_copy(update={"equalise": "clahe", "lungs": "learned", "lungs_use": "both"})
    seen = list(views(drawn[0], steps))
    assert [step for step, _ in seen] == [None, *steps_in_force(steps)]
    pictures = [view.image for _, view in seen]
    assert (pictures[0] == to_uint8(drawn[0])).all()
    without = plain.model_copy(update={"lungs": "none"})
    assert (pictures[1] == prepare_image(drawn[0], without).image).all()
    assert (pictures[2] == prepare_image(drawn[0], without.model_copy(update={"equalise": "clahe"})).image).all()
    assert (pictures[3] == pictures[2]).all()  # lungs found: nothing is done with them yet
    crop = prepare_image(drawn[0], steps.model_copy(update={"lungs_use": "crop"}))
    assert (pictures[4] == crop.image).all()
    last = prepare_image(drawn[0], steps)
    assert (pictures[5] == last.image).all()
    assert (last.image == np.where(crop.lungs, crop.image, 0)).all()
    shown = seen[3][0].show(seen[3][1])
    assert (shown[shown != pictures[3]] == 255).all()
    assert (shown != pictures[3]).any()


@pytest.mark.parametrize("name", ["task", "two_classes", "four_classes"])
def test_the_picture_has_a_row_per_class_and_a_column_per_step(
    name: str, request: pytest.FixtureRequest, plain: Images, drawn: list[np.ndarray], tmp_path: Path
) -> None:
    task: Task = request.getfixturevalue(name)
    (tmp_path / "here").mkdir()
    rows = []
    for k, label in enumerate(task.order):
        cv2.imwrite(str(tmp_path / "here" / f"{k}.png"), drawn[k])
        (tmp_path / "here" / f"bad{k}.png").write_text("no picture")
        rows += [(f"here/{k}.png", label, "test"), (f"here/bad{k}.png", label, "train")]
        rows += [(f"here/{k}.png", label, "train")] if k else []  # of the first class none can be read
    records = pd.DataFrame(rows, columns=["path", "label", "split"])
    steps = plain.model_copy(update={"equalise": "clahe"})
    write_examples(records, Root(tmp_path), steps, task, tmp_path / "out.png")
    picture = cv2.imread(str(tmp_path / "out.png"), cv2.IMREAD_UNCHANGED)
    count = len(task.order) - 1
    assert picture.shape == (256 * count + 6 * (count - 1), 256 * 3 + 6 * 2)
    for k in range(1, len(task.order)):
        cell = picture[(k - 1) * 262 :][:256, 524:]
        expected = prepare_image(drawn[k], steps).image
        assert (cell == cv2.resize(expected, (256, 256), interpolation=cv2.INTER_AREA)).all()
    with pytest.raises(CxrflowError, match="no training image"):
        write_examples(records[records.split == "test"], Root(tmp_path), steps, task, tmp_path / "out.png")
