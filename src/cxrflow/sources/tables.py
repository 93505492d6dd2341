"""Reading of label tables: delimited text of any delimiter and encoding, and Excel workbooks, row by row."""

import gzip
import os
import zlib
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from contextvars import ContextVar
from itertools import islice
from pathlib import Path

from cxrflow.errors import CxrflowError, one_line
from cxrflow.sources import delimited, workbook
from cxrflow.sources.delimited import Line, plain

#: Reasons for leaving out a row, common to several collections. A row without any finding is left out later, by the
#: task (task.py, NO_FINDING_GIVEN).
UNKNOWN_LABEL = "unknown label"
UNCERTAIN = "label is uncertain"
NO_IMAGE = "row names no image"
BAD_ROW = "row has more cells than the table's header"
EXTENSIONS = (".csv", ".tsv", ".txt", ".xlsx")
#: Row that holds the line, the line, and its cells as if it were a row.
_Suspect = tuple[int, int, list[str]]
_SUSPECTS = 10_000
_COUNTED: ContextVar[Counter[Path] | None] = ContextVar("counted", default=None)
_ENCODINGS = {"cp1252": "Windows-1252", "latin-1": "ISO-8859-1", "utf-8-sig": "UTF-8"}
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_ZIP, _OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"


class OtherTable(CxrflowError):
    """A table that is absent or lacks columns: the collection may be there in another version.

    missing   the columns that it lacks; empty if the table is absent
    found     in words, the columns that it has, or the tables and folders that are there
    expected  in words, the versions that are read; ``""`` if they need no words
    """

    def __init__(self, path: Path, missing: Sequence[str], found: str, expected: str = "") -> None:
        expects = f"expected: {expected}; " if expected else ""
        found = found or "nothing"
        super().__init__(
            f"{path}: column {', '.join(missing)} is missing ({expects}found: {found}); restore the table as published."
            if missing
            else f"{path}: the table is absent ({expects}found: {found}); put it there as published."
        )
        self._known = path, missing, found

    def expecting(self, expected: str) -> "OtherTable":
        """The same with the versions that are expected."""
        return OtherTable(*self._known, expected)


def first_of(folder: Path, *names: str) -> Path:
    """The first of the tables ``names``, one of each version, that is in a folder; the last one if none is."""
    return next((folder / name for name in names if (folder / name).is_file()), folder / names[-1])


def inner(folder: Path, *names: str) -> str:
    """Name of the folder within ``folder`` that holds one of the tables or folders ``names``; ``""`` if ``folder`` does
    itself, or none does.

    Archives and PhysioNet often put a folder in between, called after the version or the collection. Of several, the
    last in order is taken, which is that of the latest version.
    """

    def holds(place: Path) -> bool:
        return any(os.path.exists(place / name) for name in names)

    if holds(folder) or not folder.is_dir():
        return ""
    return max((path.name for path in folder.iterdir() if holds(path)), default="")


class Row(dict[str, str]):
    """Cells of a row by column, stripped, ``""`` where the table lacks the column.

    line     physical line of the file (row of the sheet) where it begins
    surplus  text in cells beyond the header's columns, ``""`` if none
    """

    __slots__ = ("line", "surplus")
    line: int
    surplus: str


def read_table(
    path: Path,
    required: tuple[str, ...],
    optional: tuple[str, ...] = (),
    encoding: str | None = None,
    counted: bool = True,
) -> Iterator[Row]:
    """The rows of a table as a stream, with the cells of the required and optional columns.

    Text may be separated by comma, semicolon, tab or bar, in UTF-8, UTF-16 or Windows-1252, and compressed with gzip; a
    workbook is recognised by its content. Column names match regardless of case and surrounding space.

    encoding  of text, if it is another one
    counted   whether its rows are images, so that ``counted_rows`` counts them
    Raises CxrflowError if the table is absent, empty or damaged, lacks a required column or has a column that is read
    twice, or if a quotation mark swallows rows (raised at the end of the table for two marks that meet).
    """
    suspects: list[_Suspect] = []
    read = 0
    with closing(_lines(path, required, encoding)) as lines:
        header = next(lines, Line(1, [], [])).cells
        columns = tuple(_places(path, header, required, optional).items())
        places = [place for _, place in columns[: len(required)]]
        for number, cells, further in lines:
            width = len(cells)
            row = Row([(name, cells[place].strip() if place < width else "") for name, place in columns])
            row.line = number
            row.surplus = " ".join(cells[len(header) :]).strip() if width > len(header) else ""
            if further and len(suspects) < _SUSPECTS:
                numbered = enumerate(further, number + 1)
                suspects += [(number, inner, found) for inner, found in numbered if len(found) > max(places)]
            read += 1
            yield row
    if counted and (rows := _COUNTED.get()) is not None:
        rows[path] += read
    if suspects:
        _swallowed(path, required, places, suspects, encoding)


def read_list(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The lines of a list without a header, blank ones passed over: number, and words. They count as ``read_table``'s.

    Raises CxrflowError if the list is absent or damaged.
    """
    read = 0
    with closing(_lines(path, ())) as lines:
        for line in lines:
            read += 1
            yield line.number, " ".join(line.cells).split()
    if (rows := _COUNTED.get()) is not None:
        rows[path] += read


@contextmanager
def counted_rows() -> Iterator[Counter[Path]]:
    """Context manager that counts the rows that ``read_table`` gives, by table, whatever becomes of them."""
    counted: Counter[Path] = Counter()
    token = _COUNTED.set(counted)
    try:
        yield counted
    finally:
        _COUNTED.reset(token)


def read_header(path: Path, encoding: str | None = None) -> tuple[str, ...]:
    """Column names of a table as written, stripped, in their order; empty if there is none or it cannot be read."""
    try:
        with closing(_lines(path, (), encoding)) as lines:
            return tuple(name.replace("\ufeff", "").strip() for name in next(lines, Line(1, [], [])).cells)
    except CxrflowError:
        return ()


def form(path: Path, encoding: str | None = None) -> str:
    """Encoding and delimiter of a table in words, as they are recognised. Raises CxrflowError as ``read_table``."""
    with closing(_lines(path, (), encoding)) as lines:
        columns = len(next(lines, Line(1, [], [])).cells)
    recognised = encoding_of(path)
    if recognised is None:
        return "Excel workbook"
    text, delimiter, _ = delimited.form_of(path, (), encoding or recognised)
    separated = f", separated by {_DELIMITERS.get(delimiter, delimiter)}" if columns > 1 else ""
    return _ENCODINGS.get(text, text.upper()) + separated


def encoding_of(path: Path) -> str | None:
    """Encoding of a text table as it is recognised; None for a workbook."""
    with path.open("rb") as file:
        return None if file.read(4) == _ZIP else delimited.encoding_of(path)


def problem(row: Row, key: str) -> str | None:
    """Reason for leaving out a row: it names no image (``key`` is empty) or has surplus cells; else None."""
    if row.surplus:
        return BAD_ROW
    return None if key else NO_IMAGE


def unknown(published: str) -> str | None:
    """Reason for leaving out a row whose published label maps to no finding; None if the label is empty."""
    return UNKNOWN_LABEL if published else None


def unknown_word(published: str) -> str:
    """As ``unknown``, with the word: for a column whose unknown words are few enough to be reasons."""
    return f"{UNKNOWN_LABEL} ({one_line(published, 40)})"


def _lines(path: Path, wanted: tuple[str, ...], encoding: str | None = None) -> Generator[Line]:
    try:
        if path.exists() and not path.is_file():  # a FIFO would wait for ever
            raise CxrflowError(f"{path}: not a file; put the collection's table there as published.")
        with path.open("rb") as file:
            start = file.read(4)
        if start == _OLE:
            raise CxrflowError(f"{path}: a workbook of Excel 97 to 2003, or an encrypted one; save it as .xlsx or CSV.")
        yield from workbook.read_lines(path) if start == _ZIP else delimited.read_lines(path, wanted, encoding)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise CxrflowError(
            f"{path}: the compressed table is damaged ({one_line(str(error))}); put it there again."
        ) from None
    except FileNotFoundError:
        raise OtherTable(path, (), _tables_in(path.parent)) from None
    except OSError as error:
        raise CxrflowError(f"{path}: the table cannot be read ({error.strerror}).") from None


def _tables_in(folder: Path) -> str:
    """The tables and folders in a folder, in words."""
    try:
        inside = sorted(folder.iterdir())
        tables = [path.name for path in inside if path.name.lower().endswith((*EXTENSIONS, ".gz"))]
        folders = [f"{path.name}/" for path in inside if path.name not in tables and path.is_dir()]
    except OSError:
        return ""
    return one_line(", ".join((*tables, *folders)), 300)


def _places(path: Path, header: list[str], required: tuple[str, ...], optional: tuple[str, ...]) -> dict[str, int]:
    """The position of every column; beyond the header for an optional one that the table lacks."""
    names = [plain(name) for name in header]
    missing = [name for name in required if plain(name) not in names]
    if missing:
        found = ", ".join(filter(None, (name.strip() for name in header)))[:500]
        raise OtherTable(path, missing, found)
    counts = Counter(names)
    if twice := [name for name in (*required, *optional) if counts[plain(name)] > 1]:
        raise CxrflowError(f"{path}: column {', '.join(twice)} is there more than once; keep one of them.")
    return {n: names.index(plain(n)) if plain(n) in counts else 1 << 30 for n in (*required, *optional)}


def _swallowed(
    path: Path, required: tuple[str, ...], places: list[int], suspects: list[_Suspect], encoding: str | None
) -> None:
    """Stop if two stray quotation marks that meet have swallowed rows.

    A line within a quoted cell is a row if its cells in the required columns are like those of the table: each contains
    the kinds of characters (letters, digits, ".", "/", ...) that all others contain, and does not begin with a space
    where no other does. Lines of prose are not.
    """
    always: list[frozenset[str] | None] = [None] * len(places)
    spaced = [False] * len(places)
    with closing(_lines(path, required, encoding)) as lines:
        for line in islice(lines, 1, None):
            for k, place in enumerate(places):
                cell = line.cells[place] if place < len(line.cells) else ""
                if cell.strip():
                    spaced[k] = spaced[k] or cell[0].isspace()
                    before = always[k]
                    always[k] = _kinds(cell) if before is None else before & _kinds(cell)
    for begin, number, cells in suspects:
        named = [(k, cells[place]) for k, place in enumerate(places) if cells[place].strip()]
        if named and all(
            (always[k] or frozenset()) <= _kinds(cell) and (spaced[k] or not cell[0].isspace()) for k, cell in named
        ):
            raise CxrflowError(
                f"{path}: line {number} looks like a row, but lies between two quotation marks, the first of them in "
                f"the row that begins at line {begin}; remove them, or double those that belong to the text."
            )


def _kinds(cell: str) -> frozenset[str]:
    return frozenset("a" if c.isalpha() else "0" if c.isdigit() else " " if c.isspace() else c for c in cell)
