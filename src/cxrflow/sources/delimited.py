"""Delimited text (CSV, TSV and the like), read as a stream: encoding and delimiter are recognised from the file.

A table that is compressed with gzip, as some collections publish theirs, is decompressed as it is read.
"""

import codecs
import csv
import gzip
import io
import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import IO, NamedTuple, TextIO, cast

from cxrflow.errors import CxrflowError

DELIMITERS = (",", ";", "\t", "|")
#: Maximum length of a cell and of a physical line, in characters; a quotation mark that is never closed ends here.
MOST_CHARACTERS = 1 << 20
#: Maximum size of a decompressed table, in bytes: gzip can make a thousand bytes of one.
MOST_DECOMPRESSED = 8 << 30
#: Number of rows from which the delimiter is recognised, and of bytes from which UTF-16 is.
_ROWS, _HEAD = 20, 4096
_BLOCK = 1 << 20
_GZIP = b"\x1f\x8b"
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
#: Bytes that Windows-1252 does not define.
_UNDEFINED = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")

_WITHIN = re.compile(r'(?:[^"]|"")*')


class Line(NamedTuple):
    """A row of a table.

    number   physical line of the file where it begins, from 1
    cells    as in the file, not stripped
    further  the physical lines after the first, if a quoted cell contains line ends: the cells that each would have as
             a row of its own, blank from the closing quotation mark on
    """

    number: int
    cells: list[str]
    further: list[list[str]]


def read_lines(path: Path, wanted: tuple[str, ...] = (), encoding: str | None = None) -> Iterator[Line]:
    """The rows of a delimited table, header first, blank lines passed over. Memory does not grow with the file.

    wanted    column names, of which the delimiter should separate as many as possible
    encoding  None to recognise it
    Raises CxrflowError if a quotation mark is never closed, or a line or cell is longer than MOST_CHARACTERS.
    """
    encoding, delimiter, hint = form_of(path, wanted, encoding)
    with _open(path, encoding) as file:
        lines = _physical(path, file)
        if hint:
            next(lines)
        yield from _rows(path, lines, delimiter, 1 if hint else 0)


def form_of(path: Path, wanted: tuple[str, ...] = (), encoding: str | None = None) -> tuple[str, str, bool]:
    """Encoding and delimiter of a table, and whether its first line is a hint, ``sep=;``, that Excel writes and obeys.

    wanted, encoding  as in ``read_lines``
    """
    csv.field_size_limit(MOST_CHARACTERS)
    encoding = encoding or encoding_of(path)
    with _open(path, encoding) as file:
        head = list(islice(_physical(path, file), 3 * _ROWS))
    hint = re.fullmatch(r"sep=(.)[\r\n]*", head[0]) if head else None
    return encoding, hint[1] if hint else _delimiter(head, wanted), hint is not None


def _open(path: Path, encoding: str) -> TextIO:
    # Bytes that a file with a byte order mark should not contain become \xff or the like: no two texts become one.
    return io.TextIOWrapper(_open_bytes(path), encoding=encoding, errors="backslashreplace", newline="")


def _open_bytes(path: Path) -> IO[bytes]:
    """The bytes of a table, decompressed as they are read if the file begins as one of gzip does."""
    with path.open("rb") as file:
        compressed = file.read(len(_GZIP)) == _GZIP
    return cast(IO[bytes], _Decompressed(path)) if compressed else path.open("rb")


class _Decompressed(gzip.GzipFile):
    """A compressed file. Raises CxrflowError beyond MOST_DECOMPRESSED."""

    def read(self, size: int | None = -1) -> bytes:
        self._check()
        return super().read(size)

    def read1(self, size: int = -1) -> bytes:
        self._check()
        return super().read1(size)

    def _check(self) -> None:
        if self.tell() > MOST_DECOMPRESSED:
            raise CxrflowError(
                f"{self.name}: decompressed, it has more than {MOST_DECOMPRESSED:,} bytes; this is not a table of "
                "images."
            )


def encoding_of(path: Path) -> str:
    """Encoding of a text file: by its byte order mark; else UTF-16 if every other byte is mostly zero, UTF-8 if the
    whole file is valid UTF-8, else Windows-1252 (or ISO-8859-1 if the file has bytes that Windows-1252 lacks)."""
    with _open_bytes(path) as file:
        head = file.read(_HEAD)
        for mark, encoding in _BOMS:
            if head.startswith(mark):
                return encoding
        # In a table without a mark, delimiters and line ends alone give more zeros than any other encoding has.
        zeros = [head[start::2].count(0) / max(len(head) // 2, 1) for start in (0, 1)]
        if max(zeros) > 0.2 > min(zeros):
            return "utf-16-le" if zeros[1] > zeros[0] else "utf-16-be"
        file.seek(0)
        decoder, undefined, utf_8 = codecs.getincrementaldecoder("utf-8")(), False, True
        while block := file.read(_BLOCK):
            undefined = undefined or _UNDEFINED.search(block) is not None
            try:
                if utf_8:
                    decoder.decode(block)
            except UnicodeDecodeError:
                utf_8 = False
        try:
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            utf_8 = False
    return "utf-8" if utf_8 else "latin-1" if undefined else "cp1252"


def _physical(path: Path, file: TextIO) -> Iterator[str]:
    """Physical lines with their ends: LF, CR or CRLF."""
    number = 0
    while line := file.readline(MOST_CHARACTERS):
        number += 1
        if len(line) == MOST_CHARACTERS:
            raise CxrflowError(
                f"{path}: line {number} has more than {MOST_CHARACTERS:,} characters; this is not a table of images."
            )
        yield line


def _delimiter(head: list[str], wanted: tuple[str, ...]) -> str:
    """The delimiter that separates most of the wanted columns; else the one with which most of the first rows have as
    many cells as the header; else the one with most columns."""
    names = {plain(name) for name in wanted}

    def fitness(delimiter: str) -> tuple[int, float, int]:
        rows: list[list[str]] = []
        with suppress(csv.Error):  # a cell that is too long, or swallowed by a quotation mark: ``_rows`` says which
            rows += islice(filter(None, csv.reader(head, delimiter=delimiter)), _ROWS)
        header = rows[0] if rows else []
        if len(header) < 2:
            return 0, 0.0, 0
        alike = [len(row) == len(header) for row in rows]
        return len(names & {plain(cell) for cell in header}), sum(alike) / len(alike), len(header)

    return max(DELIMITERS, key=fitness)  # the first of equals: a comma


def plain(name: str) -> str:
    """A column name as it is compared: without case, surrounding and repeated space, and byte order mark."""
    return " ".join(name.replace("\ufeff", "").casefold().split())


def _rows(path: Path, lines: Iterator[str], delimiter: str, before: int) -> Iterator[Line]:
    held: list[str] = []

    def hold() -> Iterator[str]:
        for line in lines:
            held.append(line)
            yield line
        yield end  # swallowed by a quotation mark that is never closed

    end = "\0end of the table"
    reader = csv.reader(hold(), delimiter=delimiter)
    number = before + 1
    try:
        for cells in reader:
            if cells == [end]:
                return
            if cells and cells[-1].endswith(end):
                break
            if cells:
                yield Line(number, cells, [_split(line, delimiter) for line in held[1:]])
            number += len(held)
            held.clear()
    except csv.Error as error:
        if "field larger" not in str(error):
            raise CxrflowError(f"{path}: not a readable table (line {number}: {error}).") from None
    raise CxrflowError(
        f"{path}: a quotation mark in the row that begins at line {number} is never closed and swallows the rows after "
        "it; close or remove it."
    )


def _split(line: str, delimiter: str) -> list[str]:
    """The cells that a line within a quoted cell would have as a row of its own, blank from the closing mark on."""
    plain_cells, row = line.rstrip("\r\n").split(delimiter), next(csv.reader([line], delimiter=delimiter), [])
    within = _WITHIN.match(line)[0].rstrip("\r\n").split(delimiter)  # type: ignore[index]  # matches any text
    return within + [""] * (max(len(plain_cells), len(row)) - len(within))
