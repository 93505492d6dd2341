"""The share of the heat inside the true opacity, radiologists' boxes and the lungs, on a heat map that is known."""

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest

from cxrflow.dataset import Dataset
from cxrflow.explanation.explain import _inside
from cxrflow.explanation.heat import HeatMaps
from cxrflow.explanation.inside import Inside, figures, measure
from cxrflow.explanation.masks import TRUE_OPACITY, Masks
from cxrflow.images.prepare import Store
from cxrflow.images.registry import prepare_image
from cxrflow.images.steps import Window
from cxrflow.params import Images, Params
from cxrflow.records import Box, boxes_text, typed
from cxrflow.task import Task

HEAT = np.zeros((32, 32), dtype=np.float32)
HEAT[8, 4], HEAT[8, 20], HEAT[24, 9] = 1, 0.5, 0.5  # three quarters of it in the upper half
PREDICTOR = SimpleNamespace(heat_maps=lambda views, label: [HEAT], by_view=[(0, None)])


def inside(masks: Masks) -> dict:
    return _inside(HeatMaps(PREDICTOR, (masks.dataset,)), masks)  # type: ignore[arg-type]


UPPER = Box("pneumonia", 0, 0, 1, 0.5)


def masks_of(
    root: Path, task: Task, windows: list[Window], *, lungs: np.ndarray | None = None, size: int = 32, **columns: object
) -> Masks:
    """Pictures of ``size`` x ``size`` pixels, each of another patient, that show windows of their radiographs."""
    ids = [str(k) for k in range(len(windows))]
    given = {"label": "pneumonia", "group_id": ids, "boxes": None} | columns
    records = pd.DataFrame({"image_id": ids, "path": [f"c/{k}.jpg" for k in ids]}).assign(**given)
    index = pd.DataFrame(windows).assign(image_id=ids, left_out=None)
    store = Store(np.zeros((len(ids), size, size), dtype=np.uint8), lungs, index, "")
    return Masks(Dataset.join(typed(records), store, task), root)


@pytest.mark.parametrize(("top", "side", "heat", "area"), [(0, 64, 0.75, 0.5), (16, 32, 0.75, 0.5), (0, 32, 1.0, 1.0)])
def test_heat_share_is_heat_inside_over_all_heat(
    tmp_path: Path, task: Task, top: int, side: int, heat: float, area: float
) -> None:
    """The upper half of four radiographs of 64 x 64 is ill, by a mask or by a box; the stored image shows all of it or
    a window. Two more are well, or nothing is known of them."""
    mask = np.zeros((64, 64), dtype=np.uint8)
    mask[:32] = 255
    (tmp_path / TRUE_OPACITY / "c").mkdir(parents=True)
    for k in range(5):
        cv2.imwrite(str(tmp_path / TRUE_OPACITY / "c" / f"{k}.png"), mask if k < 4 else np.zeros_like(mask))
    windows = [Window(top, 0, side, 64, 64)] * 6
    found = inside(masks_of(tmp_path, task, windows))
    assert (found["opacity"]["heat"].value, found["opacity"]["area"].value) == (pytest.approx(heat), area)
    assert (found["opacity"]["pointing"].value, found["opacity"]["pointing"].n) == (1, 4)
    assert found["boxes"]["heat"].reason == "no radiologist's boxes are known"
    boxes = [boxes_text([UPPER])] * 4 + [None] * 2
    of_boxes = inside(masks_of(tmp_path / "real", task, windows, boxes=boxes))
    assert of_boxes["boxes"] == found["opacity"]
    assert not of_boxes["opacity"]["pointing"].known


def test_the_same_inside_stored_lungs(tmp_path: Path, task: Task) -> None:
    lungs = np.zeros((4, 32, 32), dtype=bool)
    lungs[:, 16:] = True
    masks = masks_of(tmp_path, task, [Window(0, 0, 32, 32, 32)] * 4, lungs=lungs)
    found = inside(masks)["lungs"]
    assert (found["heat"].value, found["area"].value, found["gain"].value) == (0.25, 0.5, -0.25)
    assert (found["pointing"].value, found["pointing"].n) == (0, 4)  # the hottest point lies in the upper half


def test_what_is_measured_of_one_picture() -> None:
    mask = np.zeros((32, 32), dtype=bool)
    mask[8, 4:12] = True
    assert measure(HEAT, mask) == Inside(0.5, 8 / 1024, True)
    mask[8, 4] = False
    assert measure(HEAT, mask) == Inside(0, 7 / 1024, False)  # a neighbour is a miss: no tolerance
    assert measure(HEAT, None) is None
    assert measure(HEAT, np.zeros_like(mask)) is None
    assert measure(np.zeros_like(HEAT), mask) is None


def test_intervals_are_of_patients_not_of_images() -> None:
    """Four patients of 20 alike images each, or 80 of one."""
    measured = [Inside(share, 0.2, share > 0.4) for share in (0.3, 0.5, 0.3, 0.5) for _ in range(20)]
    few = figures(measured, [str(k // 20) for k in range(80)], "")
    many = figures(measured, [str(k) for k in range(80)], "")
    for key, value in {"heat": 0.4, "area": 0.2, "gain": 0.2, "pointing": 0.5}.items():
        assert few[key].value == many[key].value == pytest.approx(value)
        assert (few[key].n, few[key].groups, many[key].groups) == (80, 4, 80)
    # t with 3 degrees of freedom on the standard error of four: 3.18 x 0.1 / sqrt(3) = 0.184
    assert few["heat"].high - few["heat"].value == pytest.approx(0.184, abs=0.001)
    assert many["heat"].high - many["heat"].value == pytest.approx(1.99 * 0.1 / np.sqrt(79), abs=0.001)


def test_only_boxes_of_the_pictures_class_count(tmp_path: Path, task: Task) -> None:
    """A box round a special case of what the class stands for counts; one round something else does not."""
    lower = (0, 0.5, 1, 0.5)
    cells = [
        [UPPER, Box("effusion", *lower)],
        [Box("pneumonia/bacterial", *lower)],
        [UPPER, Box("pneumonia", 0.5, 0, 0.5, 1)],
        [Box("effusion", *lower)],
        [],
    ]
    whole = [Window(0, 0, 64, 64, 64)] * 5
    masks = masks_of(tmp_path, task, whole, boxes=[boxes_text(boxes) for boxes in cells])
    first, second, third, *none = (masks.boxes(k) for k in range(5))
    upper, right = np.s_[:16], np.s_[:, 16:]
    assert first is not None
    assert second is not None
    assert third is not None
    assert first[upper].all()
    assert first.sum() == second.sum() == 512
    assert not second[upper].any()
    assert third[upper].all()
    assert third[right].all()
    assert third.sum() == 512 + 256
    assert none == [None, None]


@pytest.mark.parametrize(
    "use", [{"lungs": "none"}, {"lungs": "learned", "lungs_use": "crop"}, {"lungs": "none", "order": "equalise_first"}]
)
@pytest.mark.parametrize("shape", [(300, 300), (360, 300), (250, 400)])
def test_a_box_lies_on_the_prepared_picture_where_the_image_steps_bring_it(
    tmp_path: Path, demo_params: Params, monkeypatch: pytest.MonkeyPatch, use: dict[str, object], shape: tuple[int, int]
) -> None:
    """The box is drawn white on the radiograph and taken through the image steps as a picture."""
    lungs = np.zeros((100, 100), np.uint8)
    lungs[20:80, 25:90] = 255
    monkeypatch.setattr("cxrflow.lungs.learned.lung_map", lambda image: lungs)
    steps = {"size": 128, "crop_top": 0.1, "equalise": "none", "harmonise": "none"} | use
    images = Images.model_validate(demo_params.images.model_dump() | steps)
    box = Box("pneumonia", 0.4, 0.3, 0.3, 0.25)
    radiograph = np.zeros(shape, np.uint8)
    height, width = shape
    radiograph[round(0.3 * height) : round(0.55 * height), round(0.4 * width) : round(0.7 * width)] = 255
    prepared = prepare_image(radiograph, images)
    masks = masks_of(tmp_path, demo_params.task, [prepared.window], size=128, boxes=boxes_text([box]))
    found, expected = masks.boxes(0), prepared.image > 127
    assert found is not None
    assert expected.sum() > 1000
    outline = 4 * np.sqrt(expected.sum())
    assert (found != expected).sum() <= 0.75 * outline  # half a pixel, and what shrinking drops of odd sides


def test_a_box_that_the_picture_does_not_show_leaves_an_empty_mask(tmp_path: Path, task: Task) -> None:
    masks = masks_of(tmp_path, task, [Window(32, 0, 32, 64, 64)] * 4, boxes=boxes_text([UPPER]))
    assert (found := masks.boxes(0)) is not None
    assert not found.any()
    assert not inside(masks)["boxes"]["pointing"].known
