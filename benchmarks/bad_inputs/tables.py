"""Tables of one's own collection: encodings, delimiters, cells, rows."""

import io
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import openpyxl

from bad_inputs import Fate, Run
from cxrflow.params_file import DEFAULTS

_IGNORED = "ignored, because they are not collections: mine"
_HEAD = "path,label,patient,age,sex,view"
_GOOD = [f"{n}.png,pneumonia,p{n},60,M,PA" for n in range(4)]


def inputs() -> Iterator[Run]:
    """Tables that are read, some with rows left out, and tables that stop the run."""
    for name, table, rows in _read():
        yield _run(name, table, rows=rows)
    for name, table, says in _stopping():
        yield _run(name, table, "stops", says)
    yield from _names()


def _run(
    name: str,
    table: bytes | str | Callable[[], bytes],
    fate: Fate = "read",
    says: str = "",
    rows: tuple[int, int] | None = None,
    file: str = "table.csv",
) -> Run:
    content = table.encode() if isinstance(table, str) else table
    return Run(
        "tables",
        name,
        partial(write, content, file),
        ("metadata", "--params", "params.yaml", "--files", "ignored", "--sources", "sources", "--out", "out"),
        "left out" if rows and rows[1] else fate,
        says,
        "out/records.csv" if rows else "",
        rows,
        ("source", "mine"),
    )


def write(content: bytes | Callable[[], bytes], file: str, folder: Path) -> None:
    """The table in a collection beside another one, which has enough patients to split."""
    for name, inside in (("other/table.csv", _other().encode()), (f"mine/{file}", content)):
        path = folder / "sources" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(inside if isinstance(inside, bytes) else inside())
    (folder / "params.yaml").write_text(DEFAULTS.read_text())


def _other() -> str:
    labels = ("covid", "normal", "pneumonia")
    return _table([f"{label}{n}.png,{label},{label}{n},50,F,AP" for label in labels for n in range(20)])


def _table(rows: list[str], head: str = _HEAD, end: str = "\n") -> str:
    return end.join([head, *rows, ""])


#: A table of which every row is read.
GOOD = _table(_GOOD)


def _read() -> Iterator[tuple[str, bytes | str, tuple[int, int]]]:
    """Name, table, and its rows and how many of them are left out."""
    good = GOOD
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"):
        yield f"in {encoding}", good.replace("p3", "Müller").encode(encoding), (4, 0)
    for delimiter in (";", "\t", "|"):
        yield f"delimiter {delimiter!r}", good.replace(",", delimiter), (4, 0)
    for end in ("\r\n", "\r"):
        yield f"line ends {end!r}", _table(_GOOD, end=end), (4, 0)
    yield "no line end at the end", good.rstrip("\n"), (4, 0)
    yield "capitals in the header", _table(_GOOD, _HEAD.upper()), (4, 0)
    yield "spaces in the header", _table(_GOOD, _HEAD.replace(",", " , ")), (4, 0)
    yield "empty lines", good.replace("\n", "\n\n"), (4, 0)
    yield "cells in quotes", _table([",".join(f'"{cell}"' for cell in row.split(",")) for row in _GOOD]), (4, 0)
    yield "a comma in quotes", _table([*_GOOD, '"a,b.png",pneumonia,p9,60,M,PA']), (5, 0)
    yield "a line break in quotes", _table([*_GOOD, '9.png,pneumonia,"p\n9",60,M,PA']), (5, 0)
    for word in ("", "nan", "N/A", "none", "unknown", "null", "?"):
        yield f"patient {word or 'empty'}", _table([*_GOOD, f"9.png,pneumonia,{word},60,M,PA"]), (5, 0)
    for age in ("sixty", "12/03/1960", "-1", "018M", "3 weeks", "60Y", "999", "nan", "1e300"):
        yield f"age {age}", _table([*_GOOD, f"9.png,pneumonia,p9,{age},M,PA"]), (5, 0)
    yield "a label that is no finding", _table([*_GOOD, "9.png,xyz,p9,60,M,PA"]), (5, 1)
    yield "label empty", _table([*_GOOD, "9.png,,p9,60,M,PA"]), (5, 1)
    yield "path empty", _table([*_GOOD, ",pneumonia,p9,60,M,PA"]), (5, 1)
    for path in ("../../../etc/passwd", "/etc/passwd", "C:\\pictures\\a.png"):
        yield f"path {path!r}, not read", _table([*_GOOD, f"{path},pneumonia,p9,60,M,PA"]), (5, 0)
    yield "a row twice", _table([*_GOOD, _GOOD[0]]), (5, 1)
    yield "too many cells", _table([*_GOOD, "9.png,pneumonia,p9,60,M,PA,x,y"]), (5, 1)
    yield "too few cells", _table([*_GOOD, "9.png,pneumonia"]), (5, 0)
    yield "a cell of 1 MB", _table([*_GOOD, f"9.png,pneumonia,{'p' * 1_000_000},60,M,PA"]), (5, 0)
    yield "cells that spreadsheets run", _table([*_GOOD, "9.png,pneumonia,=cmd|' /C calc'!A0,60,M,PA"]), (5, 0)
    yield "no rows", _table([]), (0, 0)


def _stopping() -> Iterator[tuple[str, bytes | str, str]]:
    """Name, table, and what the sentence has to say."""
    yield "a column twice", _table(_GOOD, "path,label,patient,age,sex,patient"), "patient"
    yield "without the column patient", _table(_GOOD, "path,label,who,age,sex,view"), "patient"
    quotes = _table(
        [*_GOOD, '5.png,pneumonia,"p5,60,M,PA', "6.png,pneumonia,p6,60,M,PA", '7.png,pneumonia,"p7,60,M,PA']
    )
    yield "two stray quotation marks", quotes, "line"
    yield "a stray quotation mark", _table([*_GOOD[:2], '5.png,pneumonia,"p5,60,M,PA', *_GOOD[2:]]), ""


def workbook(rows: list[list[object]]) -> bytes:
    """An xlsx workbook of one sheet."""
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _names() -> Iterator[Run]:
    good = workbook([_HEAD.split(","), *(row.split(",") for row in _GOOD)])
    far = _edited(good, lambda sheet: sheet.replace(b'r="2"', b'r="2000000000"').replace(b'"A2"', b'"A2000000000"'))
    yield _run("xlsx", good, rows=(4, 0), file="table.xlsx")
    for name, content, file in (
        ("random bytes", bytes(range(256)) * 40, "table.csv"),
        ("empty", b"", "table.csv"),
        ("xlsx that is none", b"PK\3\4" + bytes(100), "table.xlsx"),
    ):
        yield _run(name, content, says=_IGNORED, file=file)
    yield _run("xlsx, a row number of 2e9", far, "stops", file="table.xlsx")
    large = partial(_edited, good, lambda styles: styles + b" " * 300_000_000, "styles.xml")
    yield _run("xlsx with styles of 300 MB", large, says=_IGNORED, file="table.xlsx")


def _edited(workbook: bytes, edit: Callable[[bytes], bytes], part: str = "sheet1.xml") -> bytes:
    """A workbook with one of its parts changed."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(workbook)) as before, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as after:
        for name in before.namelist():
            content = before.read(name)
            after.writestr(name, edit(content) if name.endswith(part) else content)
    return out.getvalue()
