"""Tables written so that no cell is run and no row is cut, and read back as they were."""

import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrflow.csv_files import read_csv, to_csv

CELL = st.none() | st.text(alphabet="'=+-@\t\r\n\",a1; \uff1d", min_size=1) | st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1
)  # fmt: skip


@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=6))
def test_tables_are_read_as_written_and_harmless_to_every_reader(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str | None, str | None]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "table.csv"
    table = pd.DataFrame(rows, columns=["a", "b"], dtype=object).assign(n=range(len(rows)))
    path.write_bytes(to_csv(table))
    again = read_csv(path)
    assert again[["a", "b"]].astype(object).where(again[["a", "b"]].notna(), None).to_numpy().tolist() == [
        list(row) for row in rows
    ]
    # As a spreadsheet sees it: also a carriage return ends a row, unless it is quoted.
    seen = list(csv.reader(io.StringIO(path.read_bytes().decode(), newline="")))
    assert len(seen) == len(rows) + 1
    assert not any(
        cell.lstrip()[:1] in {"=", "+", "-", "@"} or cell[:1] in {"\t", "\r"} for row in seen for cell in row if cell
    )


def test_numbers_are_not_touched(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"x": [-0.5, np.nan], "n": pd.array([-1, None], dtype="Int64"), "yes": [True, False], "t": ["-1", "a"]}
    )
    (tmp_path / "t.csv").write_bytes(content := to_csv(table))
    assert content == b"x,n,yes,t\n-0.5,-1,True,'-1\n,,False,a\n"
    again = read_csv(tmp_path / "t.csv", {"t": str, "n": "Int64"})
    pd.testing.assert_frame_equal(again, table, check_dtype=False)
    assert to_csv(table[["x"]], header=False, float_format="%.2f") == b'-0.50\n""\n'


def test_categories_are_texts(tmp_path: Path) -> None:
    table = pd.DataFrame({"c": pd.Categorical(["=1", None, "=1"])})
    (tmp_path / "t.csv").write_bytes(to_csv(table))
    assert (tmp_path / "t.csv").read_text() == "c\n'=1\n\"\"\n'=1\n"
    assert read_csv(tmp_path / "t.csv").c.dropna().tolist() == ["=1", "=1"]
