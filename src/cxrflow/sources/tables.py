"""What the adapters share: label tables read as published, and their cells cleaned."""

import csv
import re
import zipfile
from pathlib import Path

import openpyxl

from cxrflow.errors import CxrflowError

Row = dict[str, str]
#: Reasons that several collections share.
NO_FINDING_GIVEN = "no finding given"
NOT_IN_RULES = "finding is none of covid, normal, pneumonia"
UNKNOWN_LABEL = "unknown label"
BAD_ROW = "row has more cells than the table's header"
#: Key of the cells that a row has beyond the header.
SURPLUS = "\0surplus"


def read_csv(path: Path, required: tuple[str, ...]) -> list[Row]:
    """Rows of a CSV table, cells stripped; UTF-8, UTF-16 with its mark, or else Windows-1252/ISO-8859-1.

    A row with more cells than the header carries the key SURPLUS, so that the adapter can leave it out.
    Raises CxrflowError where the table is absent, empty, or lacks a required column.
    """
    try:
        content = path.read_bytes()
    except OSError:
        raise CxrflowError(f"{path}: the collection's table is absent; put it there as published.") from None
    reader = csv.DictReader(_decode(content).splitlines(keepends=True), restkey=SURPLUS)
    _require(path, tuple(reader.fieldnames or ()), required)
    rows: list[Row] = []
    for raw in reader:
        surplus = " ".join(raw.pop(SURPLUS, None) or ()).strip()
        row = {key.strip(): (value or "").strip() for key, value in raw.items()}
        rows.append(row | {SURPLUS: surplus} if surplus else row)
    return rows


def read_xlsx(path: Path, required: tuple[str, ...]) -> list[Row]:
    """Rows of the first sheet of an Excel table, cells as stripped text, column names in upper case.

    Raises CxrflowError where the table is absent, damaged, or lacks a required column.
    """
    if not path.is_file():
        raise CxrflowError(f"{path}: the collection's table is absent; put it there as published.")
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        cells = [["" if c is None else str(c).strip() for c in row] for row in book.worksheets[0].values]
        book.close()
    except (zipfile.BadZipFile, KeyError, ValueError, OSError, IndexError) as error:
        raise CxrflowError(f"{path}: not a readable Excel table ({error}).") from None
    header = [name.upper() for name in cells[0]] if cells else []
    _require(path, tuple(header), required)
    return [dict(zip(header, row, strict=False)) for row in cells[1:] if any(row)]


def problem(row: Row, key: str) -> str | None:
    """The reason for leaving out a row that names no image or does not fit its table's header, else None."""
    if SURPLUS in row:
        return BAD_ROW
    return None if key else "row names no image"


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
    found = re.search(r"(\d+(?:\.\d+)?)\s*([DWMY]?)", (text or "").upper())
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
    """``M``, ``F`` or None."""
    letter = (text or "").strip().upper()[:1]
    return letter if letter in ("M", "F") else None
