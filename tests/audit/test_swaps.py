"""Pasted surroundings and exposure against scores whose reasons are known."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from cxrflow.audit.pictures import Pictures, grown, take
from cxrflow.audit.swaps import donors, match_exposure, paste_frame, swaps
from cxrflow.audit.verdicts import FOUND, NOT_FOUND, UNTOLD

SIDE = 32
DISEASE, MARK = np.s_[:, 10:20, 7:13], np.s_[:, 1:4, 1:10]
LABELS = np.arange(60) // 2 % 3  # the two pictures of a group are of one class


def test_scores_that_read_the_mark_are_found_and_those_that_read_disease_are_not(
    pictures: Callable[..., Pictures], reader: Callable
) -> None:
    tied = pictures(mark=LABELS, labels=LABELS)
    by_mark, by_disease = swaps(tied, reader(MARK), 0), swaps(tied, reader(DISEASE), 0)
    assert by_mark["verdict"] == FOUND
    towards = by_mark["figures"]["towards"]["surroundings"]
    assert towards["value"] == pytest.approx(1, abs=0.05)  # sure of the class pasted, where it was sure of its own
    assert by_disease["verdict"] == NOT_FOUND
    assert by_disease["figures"]["towards"]["surroundings"]["value"] == pytest.approx(0, abs=1e-9)


def test_a_mark_that_is_tied_to_nothing_is_no_shortcut(pictures: Callable[..., Pictures], reader: Callable) -> None:
    loose = pictures(mark=np.random.default_rng(3).permutation(LABELS), labels=LABELS)
    assert swaps(loose, reader(MARK), 0)["figures"]["towards"]["surroundings"]["low"] < 0.03


def test_scores_that_read_exposure_are_found(pictures: Callable[..., Pictures]) -> None:
    darker = pictures(mark=np.zeros(60, int), labels=np.zeros(60, int))
    images = (darker.images * np.array([1.0, 0.7, 0.4])[LABELS][:, None, None]).astype(np.uint8)
    table = darker.table.assign(label=[("covid", "normal", "pneumonia")[k] for k in LABELS])
    tied = Pictures(table, images, darker.lungs)

    def reads_exposure(some: np.ndarray) -> np.ndarray:
        apart = (some.mean(axis=(1, 2))[:, None] / 100 - np.array([1.0, 0.7, 0.4])) ** 2
        weights = np.exp(-200 * apart)
        return weights / weights.sum(axis=1, keepdims=True)

    found = swaps(tied, reads_exposure, 0)
    assert found["verdict"] == FOUND
    assert found["figures"]["towards"]["exposure"]["low"] > 0.5


def test_flips_are_counted_for_each_change(pictures: Callable[..., Pictures], reader: Callable) -> None:
    flips = swaps(pictures(mark=LABELS, labels=LABELS), reader(DISEASE), 0)["figures"]["flips"]
    assert flips["border of another source"]["value"] == flips["side marker of another source"]["value"] == 0
    assert flips["darker"]["value"] > 0  # 15 % of 150 to 200 is more than half a class
    one_source = swaps(pictures(mark=LABELS, labels=LABELS, sources=1), reader(DISEASE), 0)["figures"]["flips"]
    assert one_source["border of another source"]["reason"] == "there is one source only"
    assert one_source["blurred"]["value"] is not None


def test_one_class_alone_tells_nothing(pictures: Callable[..., Pictures], reader: Callable) -> None:
    same = np.zeros(8, int)
    found = swaps(pictures(mark=same, labels=same), reader(MARK), 0)
    assert found["verdict"] == UNTOLD
    assert "another class" in found["figures"]["towards"]["surroundings"]["reason"]


def test_a_frame_is_pasted_but_never_over_lungs(pictures: Callable[..., Pictures]) -> None:
    made = pictures(mark=LABELS, labels=LABELS)
    rows, others = np.array([0, 1]), np.array([2, 5])
    pasted = paste_frame(made, rows, others)
    frame = np.ones((SIDE, SIDE), bool)
    frame[5:-5, 5:-5] = False
    taken = frame & ~grown(made.lungs[:1], 0.03)[0]
    assert np.array_equal(pasted[:, taken], made.images[others][:, taken])
    assert np.array_equal(pasted[:, ~taken], made.images[rows][:, ~taken])


def test_exposure_matches_what_lies_outside_the_lungs(pictures: Callable[..., Pictures]) -> None:
    made = pictures(mark=LABELS, labels=LABELS)
    images = made.images.copy()
    images[1] = np.clip(images[1] * 0.5 + 10, 0, 255).astype(np.uint8)
    matched = match_exposure(Pictures(made.table, images, made.lungs), np.array([0]), np.array([1]))[0]
    outside = ~grown(made.lungs[:1], 0.03)[0]
    for share in (0.1, 0.5, 0.9):
        assert np.quantile(matched[outside], share) == pytest.approx(np.quantile(images[1][outside], share), abs=2)
    same = match_exposure(made, np.array([4]), np.array([4]))[0]
    assert np.abs(same.astype(int) - made.images[4]).max() <= 2


def test_donors_are_allowed_and_used_alike() -> None:
    allowed = np.random.default_rng(0).random((90, 30)) < 0.5
    allowed[7] = False
    chosen = donors(allowed, np.random.default_rng(1))
    assert chosen[7] == -1
    assert all(allowed[row, column] for row, column in enumerate(chosen) if row != 7)
    assert np.bincount(np.delete(chosen, 7), minlength=30).max() <= 5


def test_stored_lungs_are_taken_and_pictures_shrunk(tmp_path: Path) -> None:
    lungs = np.zeros((2, 64, 64), np.bool_)
    lungs[:, 16:48, 8:28] = True
    store = SimpleNamespace(images=np.full((2, 64, 64), 7, np.uint8), lungs=lungs, rows_of=lambda ids: np.array([1, 0]))
    taken = take(pd.DataFrame({"image_id": ["b", "a"]}, index=[5, 3]), store, 32)  # type: ignore[arg-type]
    assert taken.images.shape == (2, 32, 32)
    assert (taken.images == 7).all()
    assert taken.lungs[0].mean() == pytest.approx(lungs[0].mean(), abs=0.02)
    assert list(taken.table.index) == [0, 1]
