"""CSV tables that are safe to open and are read as written: the one pair of functions for all tables of a run.

A cell that a spreadsheet would run as a formula is written inert (text.py), and restored when read. Rows end with a
line feed; a cell with a carriage return, at which many programs begin a new row, is quoted.
"""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cxrflow.text import FIRST_OF_FORMULA, inert, restored

if TYPE_CHECKING:
    import pandas as pd


def to_csv(table: "pd.DataFrame", *, header: bool = True, float_format: str | None = None) -> bytes:
    """The table as CSV, UTF-8, without its index; missing values are empty. Numbers are written as they are.

    Text must be printable (``text.clean``) but for tabs and line breaks: a NUL would cut its cell.
    """
    quoting: Literal[0, 2] = csv.QUOTE_MINIMAL
    changed: dict[Any, list[Any]] = {}
    for name in table.columns:
        if table[name].dtype.kind not in "OUS":
            continue
        cells = table[name].tolist()
        texts = [cell for cell in cells if isinstance(cell, str)]
        if "\r" in "".join(texts):
            quoting = csv.QUOTE_NONNUMERIC
        first = {text[:1] for text in texts}  # faster than a look at every cell
        if not first.isdisjoint(FIRST_OF_FORMULA) or any(character.isspace() for character in first):
            changed[name] = [inert(cell) if isinstance(cell, str) else cell for cell in cells]
    table = table.assign(**changed)
    text = table.to_csv(index=False, header=header, lineterminator="\n", quoting=quoting, float_format=float_format)
    return text.encode()


def read_csv(path: Path, types: "Mapping[str, Any] | type" = str) -> "pd.DataFrame":
    """A table that ``to_csv`` wrote; empty cells are missing values, and nothing else is.

    types  dtype of all columns, or of some by name; pandas infers the others
    Raises OSError, or ValueError (as pandas' errors of parsing and decoding are).
    """
    (table,) = read_csv_in_parts(path, None, types)
    return table


def read_csv_in_parts(
    path: Path, rows: int | None, types: "Mapping[str, Any] | type" = str
) -> "Iterator[pd.DataFrame]":
    """As ``read_csv``, in parts of so many rows; at least one, if empty. ``rows`` None: in one part."""
    import pandas as pd

    # Without lineterminator, pandas would also split lines at a lone carriage return within a cell.
    with pd.read_csv(
        path, dtype=types, keep_default_na=False, na_values=[""], lineterminator="\n", iterator=True, chunksize=rows
    ) as parts:
        for table in parts:
            for name in table.columns:
                if table[name].dtype.kind == "O" and table[name].str.startswith("'").any():
                    table[name] = [restored(cell) if isinstance(cell, str) else cell for cell in table[name]]
            yield table
