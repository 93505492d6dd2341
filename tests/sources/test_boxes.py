"""Boxes in shares of a picture: those that end at its edge are in it, those beyond are not."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cxrflow.sources.boxes import Boxes


@example(side=1_517, start=41, part=40_017)
@given(side=st.integers(1, 5_000), start=st.integers(0, 4_999), part=st.integers(1, 99_999))
def test_a_box_up_to_the_edge_is_in_the_picture(side, start, part) -> None:
    left = f"{start % side}.{part:05}"
    width = f"{side - start % side - 1}.{100_000 - part:05}"  # together exactly the side, in decimal digits
    boxes = Boxes(Path("collection/table.csv"))
    boxes.add("a", ["mass"], [left, "0", width, "1"], 2, (side, 1))
    (box,) = boxes.of("a")
    assert box.left + box.width == pytest.approx(1, abs=1e-9)
    assert list(boxes.sentences()) == []


@pytest.mark.parametrize("cells", [("0", "0", "1.001", "1"), ("-0.001", "0", "1", "1"), ("0", "0", "0", "1")])
def test_a_box_beyond_the_edge_or_without_area_is_not_read(cells) -> None:
    boxes = Boxes(Path("collection/table.csv"))
    boxes.add("a", ["mass"], cells, 2, (1, 1))
    assert boxes.of("a") == ()
    assert len(list(boxes.sentences())) == 1
