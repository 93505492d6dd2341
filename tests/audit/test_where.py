"""Where heat lies and what it depends on, on heat maps that are known."""

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest

from cxrflow.audit import sanity, where
from cxrflow.audit.context import Audited
from cxrflow.audit.heat import Heat
from cxrflow.audit.marks import Marks
from cxrflow.audit.words import CLEAR, FOUND, UNTOLD, YES
from cxrflow.explanation.heat import HeatMaps
from cxrflow.explanation.masks import TRUE_OPACITY
from cxrflow.predictor import Predictor
from cxrflow.records import Box, boxes_text, typed
from cxrflow.task import Task

SIDE, N = 32, 40
LABELS = np.arange(N) // 2 % 3
NOISE, OTHER = np.random.default_rng(0).random((2, N, SIDE, SIDE)).astype(np.float32)


def spots(row: int, column: int) -> np.ndarray:
    maps = np.zeros((N, SIDE, SIDE), np.float32)
    maps[:, row, column] = 1
    return maps


INSIDE, OUTSIDE = spots(12, 10), spots(2, 2)


@pytest.fixture
def heated(hospital: Callable[..., Audited]) -> Callable[..., Audited]:
    """Makes the hospital's context with heat maps of the trained network and of the random one."""

    def make(trained: np.ndarray, random: np.ndarray = OUTSIDE) -> Audited:
        context = hospital(LABELS)
        context.heat = Heat(trained, trained, random)
        return context

    return make


@pytest.mark.parametrize(
    ("maps", "random", "verdict"), [(INSIDE, OUTSIDE, CLEAR), (OUTSIDE, INSIDE, FOUND), (OUTSIDE, OUTSIDE, UNTOLD)]
)
def test_heat_beside_the_lungs_is_found_where_heat_maps_tell(
    heated: Callable[..., Audited], maps: np.ndarray, random: np.ndarray, verdict: str
) -> None:
    context = heated(maps, random)
    found = where.run(context)
    assert found.verdict == verdict
    assert ("not known to depend" in found.words) == (random is maps)
    shares = found.figures["shares"]["occlusion"]
    assert shares["heat"].value == pytest.approx(float(maps is INSIDE))
    assert shares["area"].value == pytest.approx(context.views[0].lungs.mean())
    assert shares["missed"] == found.rows[0].figures["occlusion"]
    assert not found.figures["disease"]["Grad-CAM"]["pointing"].known


@pytest.mark.parametrize("drawn", [True, False])
def test_heat_is_held_against_where_the_disease_is_known_to_show(
    heated: Callable[..., Audited], untrained: Callable[[Task], Predictor], drawn: bool
) -> None:
    """True opacities of demo data, or radiologists' boxes: the same rectangles, so the same figures. Of every four
    pictures one has it where the heat is, one elsewhere, one nowhere, and of one it is not known."""
    context = heated(INSIDE)
    context.predictor = untrained(context.task)
    places = {0: (8, 10, 4, 4), 1: (20, 20, 2, 2)}  # left, top, width, height
    finding = context.task.classes["pneumonia"][0]
    if drawn:
        (context.root / TRUE_OPACITY / "t").mkdir(parents=True)
        for k in range(N):
            mask = np.zeros((SIDE, SIDE), np.uint8)
            left, top, width, height = places.get(k % 4, (0, 0, 0, 0))
            mask[top : top + height, left : left + width] = 255
            if k % 4 < 3:
                cv2.imwrite(str(context.root / TRUE_OPACITY / "t" / f"{k}.png"), mask)
    else:
        boxes = {at: boxes_text([Box(finding, *(each / SIDE for each in place))]) for at, place in places.items()}
        records = context.dataset.records.assign(boxes=[boxes.get(k % 4) for k in range(N)])
        context.dataset = replace(context.dataset, records=typed(records.assign(label="pneumonia")))
    marks = context.marks
    assert len(marks.shown.canvas) == 14  # a third of 40 maps, of 20 pictures
    marks.maps = {"Grad-CAM": np.repeat(INSIDE[:1], 14, axis=0), "occlusion": np.repeat(OUTSIDE[:1], 14, axis=0)}
    found = where.run(context)
    ours, theirs = found.figures["disease"]["Grad-CAM"], found.figures["disease"]["occlusion"]
    hit = marks.masks[:, 12, 10]
    assert 0.3 < hit.mean() < 0.7
    assert ours["pointing"].value == ours["heat"].value == hit.mean()
    assert ours["area"].value == pytest.approx(np.where(hit, 16, 4).mean() / SIDE**2)
    assert (ours["pointing"].n, theirs["pointing"].value) == (14, 0)
    name = "the true opacity" if drawn else "a radiologist's box"
    assert f"occlusion for the true class: the hottest point lies in {name} in 0 % (0 to " in found.words


def test_the_maps_of_marked_pictures_are_of_the_true_class(
    hospital: Callable[..., Audited], untrained: Callable[[Task], Predictor]
) -> None:
    context = hospital(LABELS)
    context.predictor = untrained(context.task)
    dataset = context.test.where([0, 2, 4])
    shown = HeatMaps.of(context.predictor, dataset)
    marks = Marks(shown, np.ones((3, SIDE, SIDE), np.bool_))
    for k, label in enumerate(dataset.labels):
        image = dataset.image(k)
        assert np.array_equal(marks.maps["Grad-CAM"][k], context.predictor.heat_maps(image, label)[0])
        assert np.array_equal(marks.maps["occlusion"][k], shown.occlusion(k, label))


def test_maps_that_ignore_the_weights_tell_nothing(heated: Callable[..., Audited]) -> None:
    passed = sanity.run(heated(NOISE, OTHER))
    assert passed.verdict == YES
    assert passed.figures["rank correlation"].value == pytest.approx(0, abs=0.1)
    failed = sanity.run(heated(NOISE, NOISE))
    assert failed.verdict == UNTOLD
    assert failed.figures["rank correlation"].value == pytest.approx(1)
    assert failed.figures["SSIM"].value == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("flat", "verdict"), [(np.s_[:0], YES), (np.s_[:16], YES), (np.s_[:24], UNTOLD), (np.s_[:], UNTOLD)]
)
def test_flat_maps_are_not_compared(heated: Callable[..., Audited], flat: slice, verdict: str) -> None:
    ours, theirs = NOISE.copy(), OTHER.copy()
    ours[flat] = theirs[flat] = 1 - 1e-6 * NOISE[flat]  # flat, but for rounding
    for pair in ((ours, OTHER), (NOISE, theirs)):
        found = sanity.run(heated(*pair))
        assert found.verdict == verdict
        assert found.figures["SSIM"].n == N - len(NOISE[flat])
    assert ("flat" in found.figures["SSIM"].reason) == (flat == np.s_[:])
