"""A figure is a value with its interval, or a reason; what JSON holds is read back as it was."""

import json
import math

import pytest

from cxrflow.statistics.figure import Figure, average, in_percent, in_words, missing, to_json

FIGURE = Figure(0.876, 0.812, 0.931, 90, 60, "79 of 90")


@pytest.mark.parametrize("figure", [FIGURE, Figure(0.5, 0.4, 0.6, 3, 2), missing("no image")])
def test_json_gives_a_figure_back(figure: Figure) -> None:
    written = json.dumps(to_json({"deep": [{"figure": figure}]}), allow_nan=False)
    read = json.loads(written)["deep"][0]["figure"]
    assert Figure.from_dict(read) == figure
    assert {figure, Figure.from_dict(read)} == {figure}
    assert figure not in (missing("another reason"), Figure(0.876, 0.812, 0.931, 90, 60), 0.876)


def test_json_keeps_its_keys() -> None:
    assert FIGURE.to_dict() == {
        "value": 0.876, "low": 0.812, "high": 0.931, "n": 90, "groups": 60, "counts": "79 of 90",
    }  # fmt: skip
    assert list(Figure(0.5, 0.4, 0.6, 3, 2).to_dict()) == ["value", "low", "high", "n", "groups"]
    assert missing("no image").to_dict() == {"value": None, "reason": "no image"}


@pytest.mark.parametrize(
    "numbers", [(0.5, 0.6, 0.7), (0.5, 0.1, 0.4), (math.nan, 0.1, 0.4), (0.5, math.nan, 0.6), (0.5, 0.4, math.inf)]
)
def test_what_is_no_figure_cannot_be_built(numbers: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="not a figure"):
        Figure(*numbers)
    with pytest.raises(ValueError, match="value or a reason"):
        Figure(*numbers, reason="none")
    assert not missing("none").known


def test_figures_in_words() -> None:
    assert in_words(FIGURE) == in_words(FIGURE, counts=False) == "0.88 (0.81 to 0.93)"
    assert in_words(FIGURE, 3, counts=True) == "0.876 (0.812 to 0.931, 79 of 90)"
    assert in_words(Figure(0.5, 0.4, 0.6), counts=True) == "0.50 (0.40 to 0.60)"
    assert in_words(Figure(-0.001, -0.02, 0.004)) == "0.00 (-0.02 to 0.00)"  # not -0.00
    assert in_percent(Figure(-0.001, -0.02, 0.004)) == "0 % (-2 to 0)"
    assert in_percent(FIGURE) == "88 % (81 to 93)"
    assert in_percent(Figure(0.12, -0.03, 0.2)) == "12 % (-3 to 20)"
    assert in_words(missing("no image")) == in_percent(missing("no image")) == "unknown (no image)"


def test_the_average_of_figures_counted_by_hand() -> None:
    known = [Figure(0.5, 0.4, 0.7, 10, 5), missing("none there"), Figure(0.7, 0.6, 0.9, 20, 8, "14 of 20")]
    found = average(known)
    assert (found.value, found.low, found.high) == pytest.approx((0.6, 0.5, 0.8))
    assert (found.n, found.groups, found.counts) == (30, 13, None)
    assert average([missing("first"), missing("second")]).reason == "first"
    assert average([]).reason == "nothing to compare"
