"""Heat maps of networks that see different parts of a radiograph, drawn where they belong."""

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest

from cxrflow.dataset import Dataset
from cxrflow.explanation.heat import HeatMaps, place
from cxrflow.explanation.masks import TRUE_OPACITY, Masks
from cxrflow.images.prepare import Store
from cxrflow.images.steps import Window, cut
from cxrflow.task import Task

HEIGHT, WIDTH = 100, 140
#: The centre square, and a window that reaches to the left of it.
WINDOWS = (Window(0, 20, 100, HEIGHT, WIDTH), Window(10, 5, 60, HEIGHT, WIDTH))
SIZES = (50, 30)
AREA = Window(0, 5, 115, HEIGHT, WIDTH)  # from column 5 to column 120; 15 rows below the radiograph


def radiograph() -> np.ndarray:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return (40 + rows + columns / 2).astype(np.uint8)


@pytest.fixture
def views(task: Task) -> tuple[Dataset, ...]:
    """Two radiographs in two views; in the second view, lungs are found in the left half."""
    records = pd.DataFrame({"image_id": ["a", "b"], "path": ["c/a.png", "c/b.png"], "label": task.order[0]})
    made = []
    for window, size in zip(WINDOWS, SIZES, strict=True):
        index = pd.DataFrame({"image_id": ["a", "b"], "left_out": None, **window._asdict()})
        image = cv2.resize(cut(radiograph(), window), (size, size), interpolation=cv2.INTER_AREA)
        lungs = None
        if size == SIZES[1]:
            lungs = np.zeros((2, size, size), np.bool_)
            lungs[:, :, : size // 2] = True
        made.append(Dataset.join(records, Store(np.stack([image] * 2), lungs, index, str(size)), task))
    return tuple(made)


def heat_maps(views: tuple[Dataset, ...], *points: tuple[int, int]) -> HeatMaps:
    """Two networks, each of which looks at one point of its own view."""
    maps = [np.zeros((size, size), np.float32) for size in SIZES]
    for heat, point in zip(maps, points, strict=True):
        heat[point] = 1
    predictor = SimpleNamespace(heat_maps=lambda images, label: maps, by_view=[(0, None), (1, None)])
    return HeatMaps(predictor, views)  # type: ignore[arg-type]


def centre_of(point: tuple[int, int], window: Window, size: int) -> list[float]:
    """The place in the radiograph of a pixel's centre, in a picture of a window: row, column."""
    return [start + (at + 0.5) * window.side / size for start, at in zip(window[:2], point, strict=True)]


def test_the_canvas_is_the_smallest_square_that_holds_both_windows(views: tuple[Dataset, ...]) -> None:
    canvas = heat_maps(views, (0, 0), (0, 0)).canvas
    assert canvas.window(1) == AREA
    assert canvas.size == max(SIZES)
    assert canvas.store.images.shape == (2, 50, 50)
    padded = np.pad(radiograph(), ((0, 15), (0, 0)))[:115, 5:120]
    expected = cv2.resize(padded, (50, 50), interpolation=cv2.INTER_AREA).astype(float)
    seen = np.zeros((50, 50), np.bool_)
    seen[:43, 7:] = True  # the centre square
    seen[4:30, :26] = True  # the other window
    image = canvas.image(0).astype(float)
    assert np.abs(image - expected)[seen].max() <= 4  # half a pixel of the canvas is 1.15 rows
    assert not image[~seen].any()
    assert not canvas.image(1)[45:].any()
    lungs = canvas.store.lungs
    assert lungs is not None
    assert np.flatnonzero(lungs[0].any(axis=0)).tolist() == list(range(13))
    assert np.flatnonzero(lungs[0].any(axis=1)).tolist() == list(range(4, 30))


def test_a_point_of_either_view_is_found_again_on_the_canvas(views: tuple[Dataset, ...], task: Task) -> None:
    for first, second in (((0, 0), (0, 0)), ((25, 10), (15, 29)), ((49, 49), (29, 3))):
        maps = heat_maps(views, first, second)
        each = maps.each(0, task.order[0])
        for heat, point, window, size in zip(each, (first, second), WINDOWS, SIZES, strict=True):
            in_radiograph = centre_of(point, window, size)
            row, column = np.unravel_index(heat.argmax(), heat.shape)
            found = centre_of((int(row), int(column)), AREA, 50)
            assert found == pytest.approx(in_radiograph, abs=2.4)  # a pixel of the canvas
        mean = maps.gradcam(0, task.order[0])
        assert mean.max() == 1
        assert (mean > 0).sum() == ((each[0] > 0) | (each[1] > 0)).sum()


def test_the_true_opacity_lies_on_the_canvas_where_it_lies_in_the_radiograph(
    views: tuple[Dataset, ...], task: Task, tmp_path: Path
) -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[20:40, 5:30] = 255
    (tmp_path / TRUE_OPACITY / "c").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / TRUE_OPACITY / "c" / "a.png"), mask)
    found = Masks(heat_maps(views, (0, 0), (0, 0)).canvas, tmp_path).opacity(0)
    assert found is not None
    assert np.flatnonzero(found.any(axis=1)).tolist() == list(range(9, 17))  # rows 20 to 40 of 115, on 50
    assert np.flatnonzero(found.any(axis=0)).tolist() == list(range(11))


def test_one_view_is_its_own_canvas(views: tuple[Dataset, ...]) -> None:
    alone = HeatMaps(SimpleNamespace(), views[:1])  # type: ignore[arg-type]
    assert alone.canvas is views[0]
    picture = np.arange(9, dtype=np.uint8).reshape(3, 3)
    assert np.array_equal(place(picture, Window(4, 4, 30, 90, 90), Window(4, 4, 30, 90, 90), 3), picture)
