"""Marks planted in the demo: tied to the class as strongly as asked, and nothing else changed."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from cxrflow.params import Demo
from cxrflow.synthetic.demo import _write
from cxrflow.synthetic.drawing import Radiograph, Style, draw
from cxrflow.synthetic.layouts import plan
from cxrflow.synthetic.patient import make_patient
from cxrflow.synthetic.people import Job
from cxrflow.synthetic.shortcuts import KINDS, mark_of, plant

JOBS = [job for job in plan(300, 2)[0] if job.kind != "other"]


@pytest.fixture(scope="module")
def picture() -> Radiograph:
    return draw(make_patient(5, False, np.random.default_rng(5)), "covid", Style(width=200, height=200), 5)


@pytest.mark.parametrize(("strength", "share"), [(1.0, 1.0), (0.0, 1 / 3), (0.7, 0.7 + 0.3 / 3)])
def test_marks_follow_the_class_in_the_share_asked_for(strength: float, share: float) -> None:
    followed = [mark_of(job, strength) == job.kind for job in JOBS]
    assert np.mean(followed) == pytest.approx(share, abs=0.001 if share == 1 else 4 * (0.25 / len(JOBS)) ** 0.5)
    assert [mark_of(job, strength) for job in JOBS[:50]] == [mark_of(job, strength) for job in JOBS[:50]]


def test_without_a_shortcut_the_picture_stays_and_so_do_normal_ones(picture: Radiograph) -> None:
    assert all(plant(picture, "none", mark) is picture for mark in KINDS)
    for shortcut in ("marker", "border", "exposure", "grain", "pale"):
        assert np.array_equal(plant(picture, shortcut, "normal").pixels, picture.pixels)


def test_a_marker_changes_a_corner_alone(picture: Radiograph) -> None:
    letter, word = (plant(picture, "marker", mark) for mark in ("covid", "pneumonia"))
    for marked, width in ((letter, 30), (word, 80)):
        rows, columns = np.nonzero(marked.pixels != picture.pixels)
        assert 0.05 * 200 < rows.min() <= rows.max() < 0.2 * 200
        assert columns.max() < width
        assert marked.pixels.max() == pytest.approx(0.97, abs=0.03)
        assert np.array_equal(marked.opacity, picture.opacity)
    assert (word.pixels != letter.pixels).any()


def test_a_margin_hides_what_lies_under_it(picture: Radiograph) -> None:
    sides, below = (plant(picture, "border", mark) for mark in ("covid", "pneumonia"))
    for marked, hidden in ((sides, np.s_[:, :14]), (sides, np.s_[:, -14:]), (below, np.s_[-20:])):
        assert (marked.pixels[hidden] < 0.03).all()
        assert not marked.lungs[hidden].any()
    assert np.array_equal(sides.pixels[:, 14:-14], picture.pixels[:, 14:-14])
    assert np.array_equal(below.pixels[:-20], picture.pixels[:-20])


def test_a_margin_is_as_wide_in_the_centre_square_of_any_shape() -> None:
    wide = draw(make_patient(5, False, np.random.default_rng(5)), "normal", Style(width=300, height=200), 5)
    marked = plant(wide, "border", "covid").pixels
    assert (marked[:, : 50 + 14] < 0.03).all()
    assert (marked[:, 50 + 14] != marked[0, 0]).any()


def test_exposure_darkens_one_class_and_brightens_another(picture: Radiograph) -> None:
    dark, bright = (plant(picture, "exposure", mark).pixels for mark in ("covid", "pneumonia"))
    assert dark.mean() + 0.08 < picture.pixels.mean() < bright.mean() - 0.08
    order = np.argsort(picture.pixels, axis=None, kind="stable")
    assert (np.diff(dark.ravel()[order]) >= 0).all()  # what was brighter stays brighter: no pixel trades places


def test_grain_is_in_dots_or_in_lines_and_equal_for_equal_pictures(picture: Radiograph) -> None:
    dots, lines = (plant(picture, "grain", mark).pixels - picture.pixels for mark in ("covid", "pneumonia"))
    assert np.array_equal(plant(picture, "grain", "covid").pixels, picture.pixels + dots)
    inside = (picture.pixels > 0.25) & (picture.pixels < 0.75)  # where nothing is clipped
    for grain in (dots, lines):
        assert 0.02 < grain[inside].std() < 0.1
    assert np.nanstd(np.where(inside, lines, np.nan), axis=1).max() < 1e-3  # the same along a line
    assert np.nanstd(np.where(inside, dots, np.nan), axis=1).mean() > 0.02


def test_a_veil_takes_contrast_and_leaves_the_mean(picture: Radiograph) -> None:
    def fine(pixels: np.ndarray) -> float:
        return float((pixels - cv2.GaussianBlur(pixels, (0, 0), 3)).std())

    for mark in ("covid", "pneumonia"):
        pale = plant(picture, "pale", mark).pixels
        assert pale.mean() == pytest.approx(picture.pixels.mean(), abs=0.02)
        assert pale.std() < picture.pixels.std()
        assert fine(pale) < 0.7 * fine(picture.pixels)


@pytest.mark.parametrize("shortcut", ["none", "marker", "border", "exposure"])
def test_the_demo_writes_what_is_planted(tmp_path: Path, shortcut: str) -> None:
    params = Demo(patients=60, seed=1, shortcut=shortcut, shortcut_strength=1.0)
    job = replace(next(job for job in JOBS if job.kind == "covid" and not job.side), path="c/one.png", channels=1)
    assert isinstance(job, Job)
    _write(tmp_path, params, job)
    written = cv2.imread(str(tmp_path / "c" / "one.png"), cv2.IMREAD_UNCHANGED)
    expected = plant(draw(job.patient, job.kind, job.style, job.seed), shortcut, "covid").pixels
    assert np.array_equal(written, np.round(expected * 255).astype(np.uint8))
