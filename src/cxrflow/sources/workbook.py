"""Excel workbooks (.xlsx), read as a stream within bounds: a small file can unpack to any size."""

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.parsers import expat
from zipfile import ZipFile

import openpyxl
from openpyxl.worksheet._reader import WorkSheetParser

from cxrflow.errors import CxrflowError
from cxrflow.sources.delimited import Line

#: Excel's own maximum number of rows, and ours of columns.
MOST_ROWS, MOST_COLUMNS = 1 << 20, 1000
#: Maximum size of the unpacked sheets, and of everything else (bytes); maximum number of XML elements that are in
#: memory at once: those of one row, and those of all other parts.
_SHEETS, _OTHERS = 2 << 30, 256 << 20
_ELEMENTS = 4_000_000


def read_lines(path: Path) -> Iterator[Line]:
    """The rows of the first sheet with content, header first, empty rows passed over.

    Whole numbers are written without a decimal point, dates as ISO 8601.
    Raises CxrflowError if the file is damaged, or its content exceeds what a table of images may have.
    """
    try:
        _check(path)
        with path.open("rb") as file:  # by content: openpyxl refuses a path with another extension
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
            for sheet in book.worksheets:
                rows = _rows(path, book, sheet)
                if (first := next(rows, None)) is not None:
                    yield first
                    yield from rows
                    return
    except (CxrflowError, GeneratorExit):
        raise
    except Exception as error:  # zip, XML and openpyxl raise different errors for a damaged file
        raise CxrflowError(f"{path}: not a readable Excel table ({_short(error)}); save it as CSV.") from None


def _rows(path: Path, book: Any, sheet: Any) -> Iterator[Line]:
    # Worksheet.iter_rows would fill gaps of any length, believe a wrong dimension, and drop rows out of order.
    with sheet._get_source() as source:
        parser = WorkSheetParser(
            source,
            sheet._shared_strings,
            data_only=True,
            epoch=book.epoch,
            date_formats=book._date_formats,
            timedelta_formats=book._timedelta_formats,
        )
        last = 0
        for number, cells in parser.parse():
            if not last < number <= MOST_ROWS:
                raise CxrflowError(
                    f"{path}: sheet {sheet.title} has a row number {number:,} after row {last:,} (rows ascend, up to "
                    f"{MOST_ROWS:,}); save the table as CSV."
                )
            last = number
            texts = {cell["column"]: text for cell in cells if (text := _text(cell["value"]))}
            if not texts:
                continue
            if (width := max(texts)) > MOST_COLUMNS:
                raise CxrflowError(f"{path}: row {number:,} of sheet {sheet.title} has a cell in column {width:,}.")
            yield Line(number, [texts.get(column, "") for column in range(1, width + 1)], [])


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, datetime.datetime):
        return (value.date() if value.time() == datetime.time() else value).isoformat()
    return str(value).strip()


def _check(path: Path) -> None:
    """Bound the work before openpyxl builds trees: sizes (zipfile reads no more than declared), elements at once."""
    with ZipFile(path) as parts:
        infos = [info for info in parts.infolist() if info.filename.endswith((".xml", ".rels"))]
        sheets = [info for info in infos if info.filename.startswith("xl/worksheets/")]
        sizes = sum(info.file_size for info in sheets), sum(info.file_size for info in infos if info not in sheets)
        if sizes[0] > _SHEETS or sizes[1] > _OTHERS:
            raise CxrflowError(
                f"{path}: the workbook unpacks to {sum(sizes) / 1e9:.1f} GB, more than a table of images needs; save "
                "it as CSV."
            )
        others = 0
        for info in infos:
            parser, seen = expat.ParserCreate(namespace_separator=" "), [0]

            def start(name: str, _: Any, seen: list[int] = seen) -> None:
                seen[0] += 1
                if seen[0] > _ELEMENTS:
                    raise CxrflowError(
                        f"{path}: the workbook holds millions of elements where a table has few; save it as CSV."
                    )

            def end(name: str, seen: list[int] = seen) -> None:
                if name.endswith(" row"):
                    seen[0] = 0

            parser.StartElementHandler = start
            if info in sheets:
                parser.EndElementHandler = end
            with parts.open(info) as part:
                parser.ParseFile(part)
            others += seen[0]
        if others > _ELEMENTS:
            raise CxrflowError(f"{path}: the workbook holds {others:,} elements beside its rows; save it as CSV.")


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]
