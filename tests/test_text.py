"""File names in any bytes and cells that spreadsheets would run: written safely, and restored exactly."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrflow.text import clean, inert, name_of, name_text, number_of, restored

ODD_NAMES = {
    "plain.png": "plain.png",
    "Müller é 肺.png": "Müller é 肺.png",
    "👩\u200d⚕️.png": "👩\u200d⚕️.png",
    " two  blanks ": " two  blanks ",
    os.fsdecode(b"M\xfcller.png"): r"M\xfcller.png",
    r"M\xfcller.png": r"M\\xfcller.png",
    "a\nb\rc\td": r"a\u000ab\u000dc\u0009d",
    "gnp.\u202eexe": r"gnp.\u202eexe",
    "\x1b[31mred": r"\u001b[31mred",
    "\x85\u2028\ufeff": r"\u0085\u2028\ufeff",
    "\U000e0001": r"\U000e0001",
}


@pytest.mark.parametrize(("name", "text"), ODD_NAMES.items())
def test_odd_names_as_text(name: str, text: str) -> None:
    assert name_text(name) == text
    assert name_of(text) == name


@given(st.binary())
def test_every_name_is_restored(name: bytes) -> None:
    decoded = name.decode("utf-8", "surrogateescape")
    text = name_text(decoded)
    assert name_of(text) == decoded
    text.encode("utf-8")  # raises UnicodeEncodeError for a surrogate
    assert not any(ord(character) < 32 or 0x7F <= ord(character) < 0xA0 for character in text)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    assert clean(clean(text)) == clean(text)


def test_an_escape_that_is_no_character_stays() -> None:
    assert name_of(r"\Uffffffff \x41 \q") == r"\Uffffffff \x41 \q"


@pytest.mark.parametrize(
    "cell", ["=1+1", "+49", "-x.png", "@SUM(A1)", "\tx", "\rx", "\n=1", " =1+1", "\uff1d1", "'=1", "''-1"]
)
def test_no_cell_is_run_as_a_formula(cell: str) -> None:
    assert inert(cell) == f"'{cell}"
    assert restored(inert(cell)) == cell


@pytest.mark.parametrize("cell", ["", "a", "'quoted'", "a=1", "1-2", "folder/-x.png", "O'Neil"])
def test_other_cells_are_untouched(cell: str) -> None:
    assert inert(cell) == restored(cell) == cell


@given(st.text(alphabet="'=+-@\t\r\n a1\uff1d") | st.text())
def test_every_cell_is_restored(cell: str) -> None:
    assert restored(inert(cell)) == cell
    assert inert(cell)[:1] not in {"=", "+", "-", "@", "\t", "\r"}


def test_counts_are_written_in_words() -> None:
    counted = [number_of(count, "image") for count in (0, 1, 2, 12_345)]
    assert counted == ["0 images", "1 image", "2 images", "12,345 images"]
