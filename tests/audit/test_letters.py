"""Text painted over, against scores that are known to read it, or not to."""

from collections.abc import Callable

import cv2
import numpy as np
import pandas as pd
import pytest

from cxrflow.audit.context import Audited
from cxrflow.audit.letters import Area, areas_of, elsewhere, moot, paint_over, run
from cxrflow.audit.words import CLEAR, FOUND, UNTOLD
from cxrflow.images.steps import Window

LABELS = np.arange(240) // 2 % 3  # the two pictures of a group are of one class
SPLIT = np.where(np.arange(240) // 6 % 2, "train", "test")
#: The mark of the fixture ``hospital`` as shares of its picture of 32 pixels.
MARK = "0.03125,0.03125,0.28125,0.09375"


def found(context: Audited, marked: np.ndarray) -> Audited:
    """The context after text was looked for, and found in the marked pictures."""
    records = context.dataset.records
    records["text_places"] = marked.astype(float)
    records["text_boxes"] = pd.Series([MARK if has else None for has in marked], dtype=object)
    return context


def test_text_that_goes_with_the_class_is_found_where_the_scores_read_it(hospital: Callable[..., Audited]) -> None:
    """No mark in the first class."""
    context = found(hospital(LABELS, reads="mark", split=SPLIT), LABELS > 0)
    result = run(context)
    assert result.verdict == FOUND
    assert result.figures["fall"].value == pytest.approx(1, abs=0.05)
    assert result.figures["flips"]["text"].value == 1
    assert result.figures["flips"]["elsewhere"].value == 0
    # First class against the rest perfectly, the others no better than one of two: (1 + 0.75 + 0.75) / 3.
    assert result.figures["class_from_text"]["overall"].value == pytest.approx(2.5 / 3, abs=0.01)
    within = result.figures["class_from_text"]["within"]
    assert sorted(round(figure.value, 2) for figure in within.values()) == [0.5, 1, 1]
    shares = result.figures["share_with_text"]["s0"]
    assert [shares[name].value for name in context.task.order] == [0, 1, 1]


def test_text_that_goes_with_the_class_and_is_not_read_is_no_shortcut(hospital: Callable[..., Audited]) -> None:
    result = run(found(hospital(LABELS, reads="disease", split=SPLIT), LABELS > 0))
    assert result.verdict == CLEAR
    assert result.figures["fall"].value == pytest.approx(0, abs=1e-6)
    assert result.figures["class_from_text"]["overall"].low > 0.6  # that it goes with the class is said all the same


@pytest.mark.parametrize("reads", ["disease", "mark"])
def test_text_tied_to_nothing_raises_no_alarm(hospital: Callable[..., Audited], reads: str) -> None:
    mark = np.random.default_rng(3).integers(0, 3, len(LABELS))
    result = run(found(hospital(LABELS, mark, reads=reads, split=SPLIT), mark > 0))
    assert result.verdict != FOUND
    assert result.figures["class_from_text"]["overall"].low < 0.5 < result.figures["class_from_text"]["overall"].high
    assert reads == "mark" or result.verdict == CLEAR


def test_it_is_not_passed_where_text_was_not_looked_for_or_is_in_no_picture(hospital: Callable[..., Audited]) -> None:
    unknown = hospital(LABELS, reads="mark", split=SPLIT)
    assert "not looked for" in str(moot(unknown))
    assert run(unknown).verdict == UNTOLD
    assert "metadata.burned_in_text" in run(unknown).figures["fall"].reason
    (rows,) = run(unknown).rows
    assert [figure.reason for figure in rows.figures.values()] == ["text not looked for"]  # the plot has no room
    without = found(hospital(LABELS, reads="mark", split=SPLIT), LABELS < 0)
    assert moot(without) == "no text was found in a test image"
    assert run(without).verdict == UNTOLD
    assert moot(found(hospital(LABELS, reads="mark", split=SPLIT), LABELS > 0)) is None


def test_few_patients_tell_nothing(hospital: Callable[..., Audited]) -> None:
    few = np.zeros(len(LABELS), bool)
    few[np.flatnonzero((SPLIT == "test") & (LABELS > 0))[:4]] = True
    assert run(found(hospital(LABELS, reads="mark", split=SPLIT), few)).verdict == UNTOLD


def test_areas_are_where_the_places_are_in_the_window() -> None:
    """A radiograph of 400 x 200 pixels, of which the middle square of 200 is shown at 100 pixels: a pixel is two."""
    window = Window(0, 100, 200, 200, 400)
    assert areas_of("0.50000,0.50000,0.05000,0.10000", window, 100) == [Area(49, 49, 61, 61)]
    assert areas_of("0.00000,0.00000,0.10000,0.10000", window, 100) == []
    assert areas_of("0.20000,0.00000,0.10000,0.10000", window, 100) == [Area(0, 0, 11, 11)]
    assert areas_of(None, window, 100) == []


def test_what_is_painted_over_is_gone_and_nothing_else_changes() -> None:
    ramp = np.tile(np.arange(100, 164, dtype=np.uint8), (64, 1))
    written = cv2.putText(ramp.copy(), "AP", (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 255, 1)
    mask = np.zeros_like(ramp)
    mask[5:25, 5:30] = 1
    painted = paint_over(written, mask)
    assert np.abs(painted.astype(int) - ramp)[5:25, 5:30].max() <= 12
    assert (painted[mask == 0] == written[mask == 0]).all()


def test_the_comparison_has_the_shape_no_text_and_no_more_lungs() -> None:
    rng = np.random.default_rng(0)
    text, lungs = np.zeros((40, 40), np.uint8), np.zeros((40, 40), np.bool_)
    area = Area(2, 3, 12, 8)
    text[area.pixels] = 1
    assert elsewhere(area, text, lungs, rng) == Area(28, 3, 38, 8)
    text[3:8, 30:] = 1
    lungs[20:38, :20] = True
    assert elsewhere(area, text, lungs, rng) == Area(28, 32, 38, 37)
    lungs[:, :] = True
    lungs[area.pixels] = False
    assert elsewhere(area, text, lungs, rng) is None
