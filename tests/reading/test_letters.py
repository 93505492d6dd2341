"""Text burned into radiographs: drawn text is found where it is, and nothing where none is."""

import importlib.util
import socket
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from cxrflow.engines import LocalEngine
from cxrflow.errors import CxrflowError
from cxrflow.reading import letters
from cxrflow.reading.letters import LARGEST, PLACE, check_installed, find_text

needs_extra = pytest.mark.skipif(importlib.util.find_spec("rapidocr") is None, reason="the extra text is not installed")
#: Corner, as left and bottom edge of the first letter in shares of the side, and the word there.
WRITTEN = [((0.3, 0.5), "PORTABLE"), ((0.55, 0.12), "DOE JANE"), ((0.12, 0.95), "14:35")]


def lettered(grey: np.ndarray, at: tuple[float, float], word: str) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """The picture with a word in white, capitals a fortieth of its side high, and left, top, right, bottom of the
    ink."""
    most, side = int(np.iinfo(grey.dtype).max), max(grey.shape)
    ink = np.zeros(grey.shape, np.uint8)
    place = round(at[0] * grey.shape[1]), round(at[1] * grey.shape[0])
    cv2.putText(ink, word, place, cv2.FONT_HERSHEY_SIMPLEX, side / 40 / 21, 255, max(1, side // 300), cv2.LINE_AA)
    left, top, width, height = cv2.boundingRect(ink)
    out = np.where(ink > 0, np.maximum(grey, (ink.astype(float) / 255 * most).astype(grey.dtype)), grey)
    return out, (left, top, left + width, top + height)


@needs_extra
@pytest.mark.parametrize(
    ("at", "word", "dtype", "shape"),
    [
        (*WRITTEN[0], np.uint8, (448, 448)),
        (*WRITTEN[1], np.uint16, (2000, 1600)),
        (*WRITTEN[2], np.uint16, (448, 600)),
    ],
)
def test_a_word_is_found_where_it_is_written(
    drawn: list[np.ndarray], at: tuple[float, float], word: str, dtype: type, shape: tuple[int, int]
) -> None:
    ground = cv2.resize(drawn[0], shape[::-1]).astype(dtype) * (1 if dtype == np.uint8 else 200)
    picture, (left, top, right, bottom) = lettered(ground, at, word)
    covering = [
        place
        for place in find_text(picture)
        if place.left <= left + 8 and place.top <= top + 8
        and place.left + place.width >= right - 8 and place.top + place.height >= bottom - 8
    ]  # fmt: skip
    assert len(covering) == 1
    assert covering[0].score >= PLACE
    assert covering[0].width * covering[0].height < 4 * (right - left + 8) * (bottom - top + 8)
    assert find_text(picture) == find_text(picture)


@needs_extra
def test_places_lie_in_the_picture_and_are_no_larger_than_letters() -> None:
    rng = np.random.default_rng(0)
    for shape in [(1, 1), (1, 3000), (40, 37), (700, 90)]:
        for place in find_text(rng.integers(0, 65536, shape).astype(np.uint16), 0.3):
            assert 0 <= place.left < place.left + place.width <= shape[1]
            assert 0 <= place.top < place.top + place.height <= shape[0]
            assert min(place.width, place.height) <= LARGEST * max(shape)
            assert 0.3 <= place.score <= 1


@needs_extra
@pytest.mark.parametrize("grey", [np.zeros((300, 400), np.uint8), np.full((64, 64), 999, np.uint16)])
def test_an_empty_picture_has_no_text(grey: np.ndarray) -> None:
    assert find_text(grey) == ()


@needs_extra
def test_nothing_is_logged_or_downloaded(
    drawn: list[np.ndarray], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    letters._opened.cache_clear()
    find_text(lettered(drawn[0], *WRITTEN[0])[0])
    assert capfd.readouterr() == ("", "")


@needs_extra
def test_worker_processes_find_the_same(drawn: list[np.ndarray]) -> None:
    pictures = [lettered(drawn[0], at, word)[0] for at, word in WRITTEN]
    assert list(LocalEngine().map(find_text, pictures)) == [find_text(picture) for picture in pictures]


def test_a_missing_extra_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    find: Callable[..., object] = importlib.util.find_spec
    monkeypatch.setattr(letters, "find_spec", lambda name: None if name == "rapidocr" else find(name))
    with pytest.raises(CxrflowError, match=r"^--text: .*pip install 'cxrflow\[text\]'`\.$"):
        check_installed("--text")
