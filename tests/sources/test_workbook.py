"""Excel workbooks: values as a CSV would have them, and bounds."""

import datetime
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import openpyxl
import pytest

from cxrflow.errors import CxrflowError
from cxrflow.sources import workbook
from cxrflow.sources.tables import read_header, read_table

SHEET = '<?xml version="1.0"?><worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'


def rewrite(path: Path, change) -> None:
    """Replace the XML of the first sheet."""
    with ZipFile(path) as book:
        parts = {name: book.read(name) for name in book.namelist()}
    name = "xl/worksheets/sheet1.xml"
    parts[name] = change(parts[name].decode()).encode()
    with ZipFile(path, "w", ZIP_DEFLATED) as book:
        for part, content in parts.items():
            book.writestr(part, content)


@pytest.fixture
def path(tmp_path) -> Path:
    book = openpyxl.Workbook()
    for row in (["Path", "patient", "day"], ["a.png", 123.0, datetime.datetime(2020, 3, 1)], [], ["b.png", 1.5, True]):
        book.active.append(row)
    book.save(tmp_path / "t.xlsx")
    return tmp_path / "t.xlsx"


def rows(path: Path) -> list[dict[str, str]]:
    return list(read_table(path, ("path", "patient"), ("day",)))


WHOLE = [
    {"path": "a.png", "patient": "123", "day": "2020-03-01"},
    {"path": "b.png", "patient": "1.5", "day": "True"},
]


def test_numbers_and_dates_are_text_and_the_ending_does_not_count(path) -> None:
    assert rows(path) == WHOLE
    assert [row.line for row in read_table(path, ("path",))] == [2, 4]
    assert read_header(path) == ("Path", "patient", "day")
    assert rows(path.rename(path.with_suffix(".csv"))) == WHOLE


def test_the_first_sheet_with_content_is_read(path) -> None:
    book = openpyxl.load_workbook(path)
    book.create_sheet("cover", 0)
    book.save(path)
    assert rows(path) == WHOLE


def test_a_wrong_dimension_loses_no_row(path) -> None:
    rewrite(path, lambda sheet: sheet.replace('ref="A1:C4"', 'ref="A1:A1"'))
    assert rows(path) == WHOLE


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ('<row r="4"', '<row r="2000000000"', r"row number 2,000,000,000"),
        ('<row r="4"', '<row r="1"', r"row number 1 after row"),
        ('r="B2"', 'r="ZZZ2"', "column 18,278"),
        ('r="B2"', 'r="ZZZZZZ2"', "not a readable Excel table"),
        ("</sheetData>", "", "not a readable Excel table"),
    ],
)
def test_what_no_table_has_is_one_sentence(path, before, after, says) -> None:
    rewrite(path, lambda sheet: sheet.replace(before, after))
    with pytest.raises(CxrflowError, match=rf"t\.xlsx: .*{says}") as stopped:
        rows(path)
    assert "\n" not in str(stopped.value)


@pytest.mark.parametrize("flood", ['<row r="1">' + "<c/>" * 3_000 + "</row>", "<mergeCell/>" * 3_000])
def test_a_flood_of_elements_is_refused_before_trees_are_built(path, monkeypatch, flood) -> None:
    monkeypatch.setattr(workbook, "_ELEMENTS", 2_000)
    rewrite(path, lambda _: f"{SHEET}<sheetData>{flood}</sheetData></worksheet>")
    with pytest.raises(CxrflowError, match="millions of elements"):
        rows(path)


def test_a_bomb_is_refused_by_its_declared_size(path, monkeypatch) -> None:
    monkeypatch.setattr(workbook, "_SHEETS", 100_000)
    rewrite(path, lambda sheet: sheet.replace("<sheetData>", "<sheetData>" + " " * 200_000))
    assert path.stat().st_size < 20_000
    with pytest.raises(CxrflowError, match="unpacks to"):
        rows(path)
