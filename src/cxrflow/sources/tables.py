"""Reading of published label tables and cleaning of their cells, shared by all sources."""

import csv
import io
import re
from itertools import chain, zip_longest
from pathlib import Path

import openpyxl

from cxrflow.errors import CxrflowError

Row = dict[str, str]
#: Reasons for leaving out a row, common to several collections. A row without any finding is left out later, by the
#: task (task.py, NO_FINDING_GIVEN).
UNKNOWN_LABEL = "unknown label"
NO_IMAGE = "row names no image"
BAD_ROW = "row has more cells than the table's header"
#: Key of the cells beyond the header's columns.
SURPLUS = "\0surplus"
_END = "\0end"


def read_csv(path: Path, required: tuple[str, ...]) -> list[Row]:
    """Rows of a CSV table, cells stripped. Encodings: UTF-8, UTF-16 with a byte order mark, else ISO-8859-1.

    A row with more cells than the header has the key SURPLUS, so that ``problem`` leaves it out.
    Raises CxrflowError if the table is absent, empty, malformed, or lacks a required column.
    """
    try:
        content = path.read_bytes()
    except OSError:
        raise CxrflowError(f"{path}: the collection's table is absent; put it there as published.") from None
    # str.splitlines would also split at form feeds, and at byte 0x85 (an ellipsis in Windows-1252).
    lines = chain(io.StringIO(_decode(content), newline=""), ("\n", _END))
    reader = csv.DictReader(lines, restkey=SURPLUS)
    try:
        _require(path, tuple(reader.fieldnames or ()), required)
        cells = list(reader)
    except csv.Error as error:
        raise CxrflowError(f"{path}: not a readable CSV table (line {reader.line_num}: {error}).") from None
    if not cells or next(iter(cells.pop().values())) != _END:
        raise CxrflowError(f"{path}: a quotation mark is never closed and swallows the rows after it; close it.")
    rows: list[Row] = []
    for raw in cells:
        surplus = " ".join(raw.pop(SURPLUS, None) or ()).strip()
        row = {key.strip(): (value or "").strip() for key, value in raw.items()}
        rows.append(row | {SURPLUS: surplus} if surplus else row)
    return rows


def read_header(path: Path) -> set[str]:
    """Column names of a CSV table, decoded as in ``read_csv``; empty if it cannot be read."""
    try:
        with path.open("rb") as file:
            first = _decode(file.read(100_000))
        return {cell.strip() for cell in next(csv.reader(io.StringIO(first, newline="")), [])}
    except (OSError, csv.Error):
        return set()


def read_xlsx(path: Path, required: tuple[str, ...]) -> list[Row]:
    """Rows of the first sheet of an Excel table, cells as stripped text, column names in upper case.

    Raises CxrflowError if the table is absent, damaged, or lacks a required column.
    """
    if not path.is_file():
        raise CxrflowError(f"{path}: the collection's table is absent; put it there as published.")
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        cells = [["" if c is None else str(c).strip() for c in row] for row in book.worksheets[0].values]
        book.close()
    except Exception as error:  # zip, XML and openpyxl raise different errors for a damaged file
        raise CxrflowError(f"{path}: not a readable Excel table ({error}).") from None
    header = [name.upper() for name in cells[0]] if cells else []
    _require(path, tuple(header), required)
    rows = []
    for row in filter(any, cells[1:]):
        surplus = " ".join(cell for cell, name in zip_longest(row, header, fillvalue="") if not name).strip()
        named = {name: cell for name, cell in zip(header, row, strict=False) if name}
        rows.append(named | {SURPLUS: surplus} if surplus else named)
    return rows


def problem(row: Row, key: str) -> str | None:
    """Reason for leaving out a row: it names no image (``key`` is empty) or has surplus cells; else None."""
    if SURPLUS in row:
        return BAD_ROW
    return None if key else NO_IMAGE


def unknown(published: str) -> str | None:
    """Reason for leaving out a row whose published label maps to no finding; None if the label is empty."""
    return UNKNOWN_LABEL if published else None


def _decode(content: bytes) -> str:
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _require(path: Path, header: tuple[str, ...], required: tuple[str, ...]) -> None:
    missing = [name for name in required if name not in {h.strip() for h in header}]
    if missing:
        raise CxrflowError(
            f"{path}: column {', '.join(missing)} is missing (found: {', '.join(header) or 'nothing'}); "
            "restore the table as published."
        )


def years(text: str | None) -> float | None:
    """Age in years from ``58``, ``058Y``, ``018M`` (months), ``50+``, ``early 40s``, ``65.0``; None above 120."""
    found = re.search(r"(\d+(?:\.\d+)?)\s*([DWMY](?![A-Z]))?", (text or "").upper())
    if not found:
        return None
    value = float(found[1]) / {"D": 365.25, "W": 52.18, "M": 12}.get(found[2], 1)
    return round(value, 2) if value <= 120 else None


def number(text: str | None) -> float | None:
    """A plain number, or None."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if abs(value) < 1e9 else None


def sex(text: str | None) -> str | None:
    """``M``, ``F`` or None, from those letters or the English words."""
    word = (text or "").strip().upper()
    return word[0] if word in ("M", "MALE", "F", "FEMALE") else None
