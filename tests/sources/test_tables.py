"""Label tables: whatever the delimiter, encoding and line ends, every row of the file is a row of the table."""

import csv
import gzip
import io
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrflow.errors import CxrflowError
from cxrflow.sources import delimited
from cxrflow.sources.tables import Row, form, read_header, read_table

LATIN = st.characters(max_codepoint=255, exclude_characters="\0", exclude_categories=("Cc",)) | st.sampled_from(
    '",;\t|\n'
)
CELL = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=12)


def written(path, rows, delimiter, encoding) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter).writerows(rows)
    path.write_bytes(text.getvalue().encode(encoding))


@given(
    st.lists(st.tuples(CELL, CELL), max_size=6),
    st.sampled_from(",;\t|"),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_every_row_comes_back_whatever_is_in_its_cells(tmp_path_factory, rows, delimiter, encoding) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    written(path, [("a", "path"), *((a, f"{k}.png") for k, (a, _) in enumerate(rows))], delimiter, encoding)
    assert list(read_table(path, ("path",), ("a",))) == [
        {"path": f"{k}.png", "a": a.strip()} for k, (a, _) in enumerate(rows)
    ]


@given(st.lists(st.text(LATIN, max_size=12), max_size=6), st.sampled_from(["latin-1", "utf-16-le", "utf-16-be"]))
def test_encodings_without_a_mark(tmp_path_factory, cells, encoding) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    # "é" before a delimiter or line end is no UTF-8
    rows = [("path", "a"), *((f"{k}.png", f"{cell}é") for k, cell in enumerate(cells))]
    written(path, rows, ",", encoding)
    assert [row["a"] for row in read_table(path, ("path", "a"))] == [f"{cell}é".strip() for cell in cells]


@pytest.mark.parametrize("inside", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028"])
def test_only_line_ends_end_a_row(tmp_path, inside) -> None:
    (tmp_path / "t.csv").write_text(f"a,b\n1,x{inside}y\n2,z\n", encoding="utf-8")
    assert [row["b"] for row in read_table(tmp_path / "t.csv", ("a", "b"))] == [f"x{inside}y", "z"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_of_every_system_and_blank_lines(tmp_path, end) -> None:
    (tmp_path / "t.csv").write_bytes(end.join(["", "a,b", "1,2", "", "3", '4,"x', 'y"', "5,6"]).encode())
    rows = list(read_table(tmp_path / "t.csv", ("a", "b")))
    assert rows == [{"a": "1", "b": "2"}, {"a": "3", "b": ""}, {"a": "4", "b": f"x{end}y"}, {"a": "5", "b": "6"}]
    assert [row.line for row in rows] == [3, 5, 6, 8]


def test_windows_1252_is_read_as_it_was_written(tmp_path) -> None:
    (tmp_path / "t.csv").write_bytes("a,b\nJosé,Müller…’\n".encode("cp1252"))
    assert next(read_table(tmp_path / "t.csv", ("a", "b"))) == {"a": "José", "b": "Müller…’"}


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("path;label;size, mm\na;b;3,5\nc;d;4,5\n", ("path", "label", "size, mm")),
        ("Path\tLabel|Class\na\tb|c\n", ("Path", "Label|Class")),
        ("path,label\na,b;c;d\n", ("path", "label")),
        ("path|label\na|b\n", ("path", "label")),
        ('sep=;\npath;"la,bel"\na;b\n', ("path", "la,bel")),
        ("\ufeff Path ;LABEL\n", ("Path", "LABEL")),
        ("path\na\n", ("path",)),
        ("", ()),
    ],
)
def test_the_delimiter_is_the_one_with_which_rows_fit_the_header(tmp_path, text, header) -> None:
    (tmp_path / "t.csv").write_text(text)
    assert read_header(tmp_path / "t.csv") == header


def test_columns_match_without_case_and_space_and_absent_ones_are_empty(tmp_path) -> None:
    (tmp_path / "t.csv").write_text(" PatientID ;\ufeffView  Position;note\n 1 ; PA ;\n2\n")
    rows = list(read_table(tmp_path / "t.csv", ("patientid", "View position"), ("sex",)))
    expected = [("1", "PA", ""), ("2", "", "")]
    assert [(row["patientid"], row["View position"], row["sex"]) for row in rows] == expected


def test_surplus_cells_are_kept_apart(tmp_path) -> None:
    (tmp_path / "t.csv").write_text(" a ,b\n 1 , 2 ,3\n4,5,,\n")
    first, second = read_table(tmp_path / "t.csv", ("a", "b"))
    assert (first, first.surplus) == ({"a": "1", "b": "2"}, "3")
    assert (second, second.surplus) == ({"a": "4", "b": "5"}, "")  # trailing commas hold nothing


LONG = b"x" * 2_000_000


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "a, b is missing"),
        (b"a b\n1 2\n", "a, b is missing"),
        (b"a,b,B\n1,2,3\n", "column b is there more than once"),
        (b'a,b\n1,2\n1,"2\n3,4\n5,6\n', "row that begins at line 3 is never closed"),
        (b'a,b\n1,"' + LONG + b'"\n', "line 2 has more than 1,048,576 characters"),
        (b'a,b\n1,"' + b"x\n" * 1_000_000, "row that begins at line 2 is never closed"),
        (b"\xd0\xcf\x11\xe0 of old", "Excel 97"),
    ],
)
def test_a_table_that_would_lose_rows_stops_the_run(tmp_path, content, says) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(CxrflowError, match=says) as stopped:
        list(read_table(tmp_path / "t.csv", ("a", "b")))
    assert "t.csv" in str(stopped.value)


def test_columns_that_nobody_reads_may_be_there_twice(tmp_path) -> None:
    (tmp_path / "t.csv").write_text(",a,note,note,,\n0,1,2,3,4,5\n")
    assert [(row, row.surplus) for row in read_table(tmp_path / "t.csv", ("a",))] == [({"a": "1"}, "")]


OWN = ("path", "label", "patient")
HEADER, FIRST, LAST = "path,label,patient,notes", "i0.png,covid,a,", "i9.png,covid,d,"


@pytest.mark.parametrize(
    ("header", "lines", "line"),
    [
        ("path,label,patient", ['i0.png,covid,"a', "i1.png,normal,b", 'i2.png,normal,c"', "i3.png,covid,d"], 3),
        ("path,label,patient", ['i0.png,"covid,a', 'i1.png,"normal",b', "i3.png,covid,d"], 3),
        (HEADER, ['i0.png,covid,a,"fine', "i1.png,normal,b,", 'i2.png,normal,c,"ok"', LAST], 3),
        (HEADER, ['i0.png,covid,a,"fine', 'i1.png,normal,b"', LAST], 3),
        (HEADER, [FIRST, 'i1.png,covid,a,"first', "", 'i2.png,normal,,"fever, cough"', LAST], 5),
    ],
)
def test_rows_between_two_stray_quotation_marks_stop_the_run(tmp_path, header, lines, line) -> None:
    (tmp_path / "t.csv").write_text("\n".join([header, *lines, ""]))
    with pytest.raises(CxrflowError, match=rf"t\.csv: line {line} looks like a row"):
        list(read_table(tmp_path / "t.csv", OWN))


@pytest.mark.parametrize(
    "note",
    [
        "fever\ncough, dyspnoea, fatigue, and more",
        "seen on 3.2.\n3.2., no change, 38.5 degrees, stable",
        'said ""fine, thanks, and you, too""\nthen, fell, asleep, 2.3',
        "\n\n",
    ],
)
def test_prose_over_several_lines_is_one_cell(tmp_path, note) -> None:
    (tmp_path / "t.csv").write_text(f'{HEADER}\n{FIRST}\ni1.png,normal,b,"{note}"\n{LAST}\n')
    assert [row["path"] for row in read_table(tmp_path / "t.csv", OWN)] == ["i0.png", "i1.png", "i9.png"]


def test_notes_before_the_columns_that_are_read_are_no_rows(tmp_path) -> None:
    text = 'before,path,label,patient,after\n"first\nlast",i0.png,covid,a,"first\nlast"\n,i1.png,covid,b,\n'
    (tmp_path / "t.csv").write_text(text)
    assert [row["path"] for row in read_table(tmp_path / "t.csv", OWN)] == ["i0.png", "i1.png"]


def test_a_stream_takes_the_memory_of_its_longest_row(tmp_path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("path,label,patient\n" + "".join(f"images/{n:06}.png,normal,{n}\n" for n in range(50_000)))
    tracemalloc.start()
    try:
        rows = read_table(path, OWN)
        first = next(rows)
        assert isinstance(first, Row)
        assert sum(1 for _ in rows) == 49_999
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


def test_a_very_long_cell_in_the_first_rows_is_read(tmp_path):
    table = tmp_path / "t.csv"
    csv.field_size_limit(131_072)  # as in a new process
    table.write_text("path;label;report\na.png;normal;" + "x" * 200_000 + "\n")
    assert list(read_table(table, ("path", "label"))) == [{"path": "a.png", "label": "normal"}]


def test_a_mark_never_closed_in_the_first_rows_is_one_sentence(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text('path,label\na.png,"normal\n' + ("b" * 200_000 + ".png,normal\n") * 10)
    with pytest.raises(CxrflowError, match="begins at line 2 is never closed"):
        list(read_table(table, ("path", "label")))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
def test_a_table_compressed_with_gzip_reads_as_it_does_without(tmp_path, encoding) -> None:
    text = 'a;b\n1;é\n\n2;"x\ny"\n'.encode(encoding)
    (tmp_path / "t.csv").write_bytes(text)
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(text[:9]) + gzip.compress(text[9:]))  # of several members
    plain, compressed = (list(read_table(tmp_path / name, ("a", "b"))) for name in ("t.csv", "t.csv.gz"))
    assert compressed == plain == [{"a": "1", "b": "é"}, {"a": "2", "b": "x\ny"}]
    assert [row.line for row in compressed] == [2, 4]
    assert form(tmp_path / "t.csv.gz") == form(tmp_path / "t.csv")


@pytest.mark.parametrize(
    "damage", [lambda d: d[: len(d) // 2], lambda d: d[:20] + b"\0\0\0\0" + d[24:], lambda d: d[:3]]
)
def test_a_damaged_compressed_table_is_one_sentence(tmp_path, damage) -> None:
    rows = "".join(f"{k},{k * k}\n" for k in range(1000))
    (tmp_path / "t.csv.gz").write_bytes(damage(gzip.compress(f"a,b\n{rows}".encode())))
    with pytest.raises(CxrflowError, match=r"t\.csv\.gz: the compressed table is damaged \(.*\); put it there again\."):
        list(read_table(tmp_path / "t.csv.gz", ("a", "b")))


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf", b"\xff\xfe"])
def test_a_compressed_table_that_grows_without_bound_is_refused(tmp_path, mark, monkeypatch) -> None:
    monkeypatch.setattr(delimited, "MOST_DECOMPRESSED", 1 << 20)
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(mark + b"a,b\n" + b"\n" * (3 << 20)))
    with pytest.raises(CxrflowError, match=r"t\.csv\.gz: decompressed, it has more than 1,048,576 bytes; "):
        list(read_table(path, ("a", "b"), encoding="utf-16" if mark == b"\xff\xfe" else None))


def test_a_compressed_table_is_never_whole_in_memory(tmp_path) -> None:
    path = tmp_path / "t.csv.gz"
    with gzip.open(path, "wt", compresslevel=1) as file:
        file.write("a,b\n")
        for k in range(6_000):
            file.write(f"{k},{'x' * 2000}\n")
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_table(path, ("a", "b"))) == 6_000
        assert tracemalloc.get_traced_memory()[1] < 6_000_000  # the table has 12 MB
    finally:
        tracemalloc.stop()
