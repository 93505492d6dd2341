"""The remembered sides of the split: ``sides.csv``, read and written in parts.

In memory a row takes less than 100 bytes: the digest of its image id, and the bytes of its content hash and patient.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrflow.csv_files import read_csv_in_parts
from cxrflow.errors import CxrflowError
from cxrflow.files import write_whole
from cxrflow.records import SPLITS, csv_parts

#: Columns of ``sides.csv``. split: digest of the seed, the shares, whether the collections are synthetic, and whether
#: children are for training only; image_id: unknown if another image has taken the id; patient: digest of the patient
#: id, so that the file does not identify patients removed from the collections.
COLUMNS = ("split", "image_id", "content_hash", "patient", "side")
#: Hexadecimal digits of the columns that are digests.
DIGITS = {"split": 16, "content_hash": 64, "patient": 16}
#: In place of a row: the value is not known; it is known, but no row has it.
UNKNOWN, NEW = -1, -2
_PART = 1 << 16


class Values(NamedTuple):
    """Known values of a column: rows, ascending, int32 (known,), and their cells, bytes of one length (known,)."""

    rows: NDArray[np.int32]
    cells: NDArray[np.bytes_]

    def texts(self, rows: NDArray[np.int32]) -> list[str]:
        """The values of rows in which it is known, hexadecimal."""
        cells = self.cells[np.searchsorted(self.rows, rows)]
        digits, text = 2 * cells.itemsize, cells.tobytes().hex()
        return [text[at : at + digits] for at in range(0, len(text), digits)]


class Column:
    """A column of the remembered rows, to look up its values.

    first  for every row the first row with the same value, or UNKNOWN, int32 (rows + 2,). It is UNKNOWN at the indices
           UNKNOWN and NEW, too, so that results of ``find`` may be its indices.
    """

    def __init__(self, known: Values, count: int) -> None:
        """known  its known values; count  number of all rows"""
        distinct, first, place = np.unique(known.cells, return_index=True, return_inverse=True)
        # One more value, which is found where none is.
        self._distinct = np.append(distinct, b"")
        self._first = np.append(known.rows[first], NEW).astype(np.int32)
        self.first = np.full(count + 2, UNKNOWN, dtype=np.int32)
        self.first[known.rows] = self._first[place]

    def find(self, values: Values, count: int) -> NDArray[np.int32]:
        """The first remembered row with each value, NEW if none has it, UNKNOWN if it is not known: int32 (count,)."""
        order = np.argsort(values.cells)  # in order they are found several times faster
        place = np.empty(len(order), dtype=np.int64)
        place[order] = np.searchsorted(self._distinct[:-1], values.cells[order])
        found = np.full(count, UNKNOWN, dtype=np.int32)
        found[values.rows] = np.where(self._distinct[place] == values.cells, self._first[place], NEW)
        return found


@dataclass(frozen=True)
class Remembered:
    """The rows of ``sides.csv``, those of all splits.

    path          of the file; without a file there are no rows
    split         values of the column split as bytes, (rows,)
    side          index in SPLITS, int8 (rows,)
    named         whether the image id is known, bool (rows,)
    image_id      looks up ``digests`` of (split, image id)
    content_hash  the known values, of all splits
    patient       the known values, of all splits
    """

    path: Path
    split: NDArray[np.bytes_]
    side: NDArray[np.int8]
    named: NDArray[np.bool_]
    image_id: Column
    content_hash: Values
    patient: Values

    def __len__(self) -> int:
        return len(self.side)

    def column(self, values: Values, rows: NDArray[np.bool_]) -> Column:
        """``content_hash`` or ``patient`` of some rows, bool (rows,)."""
        known = rows[values.rows]
        return Column(Values(values.rows[known], values.cells[known]), len(self))

    def rows(self, wanted: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.int64], pd.DataFrame]]:
        """The wanted rows, bool (rows,), as the file has them, in parts: their positions, and a table of COLUMNS."""
        start = 0
        for part in _parts(self.path) if wanted.any() else ():
            at = np.flatnonzero(wanted[start : start + len(part)])
            yield at + start, part.iloc[at]
            start += len(part)


def read_sides(path: Path) -> Remembered:
    """The remembered sides; none if there is no file. Raises CxrflowError if it is damaged."""
    split, side, named, identity = [], [], [], []
    contents, patients = [], []
    start = 0
    try:
        for part in _parts(path):
            if tuple(part.columns) != COLUMNS:
                raise _damaged(path, f"its columns are not {', '.join(COLUMNS)}")
            if (wrong := _wrong(part)).any():
                raise _damaged(path, f"row {start + int(wrong.to_numpy().argmax()) + 1} is not valid")
            split.append(values_of(part, "split").cells)
            side.append(pd.Index(SPLITS).get_indexer(pd.Index(part.side)).astype(np.int8))
            named.append(part.image_id.notna().to_numpy(bool))
            identity.append(_identities(part))
            contents.append(values_of(part, "content_hash", start))
            patients.append(values_of(part, "patient", start))
            start += len(part)
    except (OSError, ValueError) as error:  # pandas' parsing and decoding errors are ValueErrors
        raise _damaged(path, str(error).splitlines()[0]) from None
    rows = np.arange(start, dtype=np.int32)
    image_id = Column(Values(rows, np.concatenate(identity)), start)
    if (again := image_id.first[:start] != rows).any():
        raise _damaged(path, f"row {int(image_id.first[:start][again].min()) + 1} is not valid")
    return Remembered(
        path,
        np.concatenate(split),
        np.concatenate(side),
        np.concatenate(named),
        image_id,
        _whole(contents),
        _whole(patients),
    )


def write_sides(parts: Iterable[pd.DataFrame], path: Path) -> None:
    """Write the rows to remember, tables of COLUMNS, as CSV (UTF-8), atomically."""
    write_whole(path, csv_parts(parts, COLUMNS))


def values_of(table: pd.DataFrame, column: str, start: int = 0) -> Values:
    """The known values of a column of DIGITS; ``start`` is the position of the table's first row."""
    rows = np.flatnonzero(table[column].notna())
    content = bytes.fromhex("".join(table[column].iloc[rows]))
    return Values((rows + start).astype(np.int32), np.frombuffer(content, dtype=f"S{DIGITS[column] // 2}"))


def digests(rows: Iterable[tuple[str | None, ...]]) -> NDArray[np.bytes_]:
    """Digests of tuples of texts, 16 bytes each: collisions are out of the question."""
    each = (hashlib.blake2b(repr(row).encode(), digest_size=16).digest() for row in rows)
    return np.frombuffer(b"".join(each), dtype="S16")


def _parts(path: Path) -> Iterator[pd.DataFrame]:
    """The file in parts, at least one; unknown cells are None."""
    parts = read_csv_in_parts(path, _PART) if path.exists() else [pd.DataFrame(columns=list(COLUMNS))]
    for part in parts:
        part = part.astype(object)
        yield part.where(part.notna(), None)


def _wrong(part: pd.DataFrame) -> pd.Series:
    """Whether a row has a cell that is not valid, or names nothing."""
    wrong = ~part.side.isin(SPLITS) | (part.image_id.isna() & part.content_hash.isna() & part.patient.isna())
    for column, count in DIGITS.items():
        fits = part[column].astype("string").str.fullmatch(f"[0-9a-f]{{{count}}}")
        wrong |= ~fits.fillna(column != "split").astype(bool)
    return wrong


def _identities(part: pd.DataFrame) -> NDArray[np.bytes_]:
    """Digests of what a row is of, which no two rows share: the image id, or else content and patient."""
    cells = zip(part.split, part.image_id, part.content_hash, part.patient, strict=True)
    return digests((split, *signs) if image_id is None else (split, image_id) for split, image_id, *signs in cells)


def _whole(parts: list[Values]) -> Values:
    return Values(*map(np.concatenate, zip(*parts, strict=True)))


def _damaged(path: Path, how: str) -> CxrflowError:
    return CxrflowError(
        f"{path}: the remembered sides of the split are damaged ({how}); restore the file with `dvc checkout`, or "
        "delete it to assign every group to a side again."
    )
