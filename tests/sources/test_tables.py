"""Label tables and their cells."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrflow.errors import CxrflowError
from cxrflow.sources.tables import SURPLUS, number, read_csv, sex, years

CELL = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=12)


@given(st.lists(st.tuples(CELL, CELL), max_size=6), st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_every_row_comes_back_whatever_is_in_its_cells(tmp_path_factory, rows, encoding) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([("a", "b"), *rows])
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(text.getvalue().encode(encoding))
    assert read_csv(path, ("a", "b")) == [{"a": a.strip(), "b": b.strip()} for a, b in rows]


@pytest.mark.parametrize("inside", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028"])
def test_only_line_ends_end_a_row(tmp_path, inside) -> None:
    (tmp_path / "t.csv").write_text(f"a,b\n1,x{inside}y\n2,z\n", encoding="utf-8")
    assert [row["b"] for row in read_csv(tmp_path / "t.csv", ("a",))] == [f"x{inside}y", "z"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_of_every_system_and_blank_lines(tmp_path, end) -> None:
    (tmp_path / "t.csv").write_bytes(end.join(["a,b", "1,2", "", "3", ""]).encode())
    assert read_csv(tmp_path / "t.csv", ("a", "b")) == [{"a": "1", "b": "2"}, {"a": "3", "b": ""}]


def test_latin_1_is_read_as_it_was_written(tmp_path) -> None:
    (tmp_path / "t.csv").write_bytes("a,b\nJosé,Müller…\n".encode("cp1252"))
    assert read_csv(tmp_path / "t.csv", ("a",))[0]["a"] == "José"


def test_header_and_cells_are_stripped_and_surplus_is_marked(tmp_path) -> None:
    (tmp_path / "t.csv").write_text(" a ,b\n 1 , 2 ,3\n4,5,,\n")
    first, second = read_csv(tmp_path / "t.csv", ("a", "b"))
    assert first == {"a": "1", "b": "2", SURPLUS: "3"}
    assert second == {"a": "4", "b": "5"}  # trailing commas hold nothing


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "a, b is missing"),
        (b"a;b\n1;2\n", "a, b is missing"),
        (b'a,b\n1,"2\n3,4\n5,6\n', "quotation mark"),
        (b'a,b\n1,"' + b"x" * 200_000 + b'"\n', "not a readable CSV table"),
    ],
)
def test_a_table_that_would_lose_rows_stops_the_run(tmp_path, content, says) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(CxrflowError, match=says) as stopped:
        read_csv(tmp_path / "t.csv", ("a", "b"))
    assert "t.csv" in str(stopped.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("58", 58), ("058Y", 58), ("65.0", 65), ("50+", 50), ("early 40s", 40), ("018M", 1.5), ("030D", 0.08),
        ("026W", 0.5), ("411", None), ("", None), (None, None), ("unknown", None),
    ],
)  # fmt: skip
def test_years(text, expected) -> None:
    assert years(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("M", "M"), (" f ", "F"), ("Female", "F"), ("male", "M"), ("O", None), ("Mujer", None), ("", None), (None, None)],
)
def test_sex(text, expected) -> None:
    assert sex(text) == expected


@pytest.mark.parametrize(("text", "expected"), [("3", 3), ("-1.5", -1.5), ("nan", None), ("inf", None), ("x", None)])
def test_number(text, expected) -> None:
    assert number(text) == expected
