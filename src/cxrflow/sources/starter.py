"""A ``columns.yaml`` to start from, and a table from the names of folders: guesses, for a person to check."""

import csv
import io
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath

import yaml

from cxrflow.columns import PLACE, REQUIRED, ROLES, Columns
from cxrflow.errors import CxrflowError
from cxrflow.sources import tables
from cxrflow.sources.account import Account
from cxrflow.sources.by_name import ByName
from cxrflow.sources.delimited import plain
from cxrflow.sources.header import guess
from cxrflow.sources.tables import Row
from cxrflow.sources.words import sex_of
from cxrflow.text import clean, number_of

#: Rows from which columns are recognised by their content, and those of them whose files are compared.
_ROWS, _COMPARED = 500, 50
#: Share of the rows that have to agree.
_MOST = 0.5
#: Encodings of large languages that cannot be told from Windows-1252 by their bytes.
_ENCODINGS = ("gb18030", "shift_jis", "euc_kr", "big5", "cp1251", "cp1250", "cp1254", "cp1256", "koi8-r", "iso8859-2")
#: Words of a column that are written down to be translated.
_WORDS = 50


def choose(table: Path, header: Sequence[str], by_name: ByName, finding_named: Callable[[str], str | None]) -> Columns:
    """The columns of a table by their names and, where those leave doubt, by what is in their cells."""
    encoding, header = _encoding(table, header, finding_named)
    columns, rows = _start(table, header, encoding)
    named, unsure = guess(header, Columns())
    if "label" not in named:
        hits = {c: sum(finding_named(row[c]) is not None for row in rows) for c in unsure.get("label", columns)}
        if column := _best(hits, len(rows)):
            named["label"] = column
    free = [name for name in columns if name not in named.values()]
    listing = [named["path"]] if "path" in named else unsure.get("path", free)
    hits = {c: sum(bool(by_name.named(_last(row[c]))) for row in rows if row[c]) for c in listing}
    if column := _best(hits, len(rows)):
        named["path"] = _pattern(rows[:_COMPARED], column, columns, by_name) or column
    given = {role: named[role] for role in ROLES if role in named}
    return Columns.model_validate(({"encoding": encoding} if encoding else {}) | given)


def _start(table: Path, header: Sequence[str], encoding: str | None) -> tuple[list[str], list[Row]]:
    """The columns that can be read, and the first rows."""
    columns = [name for name, count in Counter(filter(None, header)).items() if count == 1]
    with tables.counted_rows():
        return columns, list(islice(tables.read_table(table, tuple(columns), (), encoding), _ROWS))


def _encoding(
    table: Path, header: Sequence[str], finding_named: Callable[[str], str | None]
) -> tuple[str | None, Sequence[str]]:
    """The encoding in which most column names and words of labels and sexes are known, and the header in it; None if it
    is the one that is recognised."""
    if tables.encoding_of(table) not in ("cp1252", "latin-1"):
        return None, header

    def known_words(encoding: str | None) -> tuple[int, Sequence[str]]:
        try:
            names = tables.read_header(table, encoding)
            columns, rows = _start(table, names, encoding)
        except (CxrflowError, UnicodeError):
            return -1, header
        cells = {row[name] for row in rows for name in columns if not row[name].isascii()}
        known = sum(finding_named(cell) is not None or sex_of(cell) is not None for cell in cells)
        return len(guess(names, Columns())[0]) + known, names

    found = {encoding: known_words(encoding) for encoding in (None, *_ENCODINGS)}
    best = max(found, key=lambda encoding: found[encoding][0])  # the first of equals: the one that is recognised
    return best, found[best][1]


def _best(hits: dict[str, int], rows: int) -> str | None:
    best = max(hits, key=lambda name: hits[name], default=None)
    return best if best is not None and hits[best] > _MOST * rows else None


def _last(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2]


def _pattern(rows: list[Row], column: str, columns: Sequence[str], by_name: ByName) -> str | None:
    """The pattern of the images' paths, each folder that a row's cell names as a column in braces; None if the column
    alone leads to the files."""
    patterns: Counter[str] = Counter()
    for row in rows:
        found = by_name.named(_last(row[column]))
        if "/" in row[column].replace("\\", "/") or len(found) == 1:
            continue
        cells = {row[name]: f"{{{name}}}" for name in reversed(columns) if row[name] and name != column}
        alike = {tuple(cells.get(part, part) for part in PurePosixPath(path).parts[:-1]) for path in found}
        patterns.update("/".join([*parts, f"{{{column}}}"]) for parts in alike if any(map(PLACE.search, parts)))
    pattern, agree = max(patterns.items(), key=lambda item: item[1], default=(None, 0))
    return pattern if agree > _MOST * len(rows) else None


def text(columns: Columns, account: Account | None, table: Path, header: Sequence[str]) -> str:
    """The ``columns.yaml``: columns as chosen, and the words that cannot be read, to be translated.

    account  of the table with these columns; None if it cannot be read
    """
    chosen = {role: columns.column(role) for role in ROLES}
    lines = ["# Which column is what, and words of cells in those of the program (docs/my-hospital.md).", ""]
    lines.append(f"table: {_scalar(table.name)}")
    if columns.encoding:
        lines.append(f"encoding: {columns.encoding}")
    used = {plain(name) for value in chosen.values() if value for name in PLACE.findall(value) or [value]}
    free = [name for name in header if name and plain(name) not in used]
    for role in ROLES:
        column = chosen[role]
        if column is None:
            if role in REQUIRED:
                lines.append(f"# {role}:  # name its column: {_comment(free)}")
                if role == "patient":
                    lines.append(
                        "# patient: null  # if there is none; images of one person may then be on several sides"
                    )
            continue
        unread = [] if account is None else account.unread.get(role, Counter()).most_common(_WORDS)
        if role not in ("label", "sex", "view") or not unread:
            lines.append(f"{role}: {_scalar(column)}")
            continue
        lines += [f"{role}:", f"  column: {_scalar(column)}", f"  words:  # {_MEANINGS[role]}; null: not known"]
        lines += [f"    {_scalar(word)}: null  # {number_of(count, 'row')}" for word, count in unread if word]
    if free and used:
        lines.append(f"# not read: {_comment(free)}")
    return "\n".join(lines) + "\n"


_MEANINGS = {
    "label": "a class of the task, or a finding (`cxrflow findings`)",
    "sex": "M or F",
    "view": "PA, AP, frontal, lateral or oblique",
}


def _comment(names: Sequence[str]) -> str:
    return clean(", ".join(" ".join(name.split()) for name in names))


def _scalar(value: str) -> str:
    written: str = yaml.safe_dump(value, allow_unicode=True, width=float("inf"), default_style=None)
    return written.removesuffix("\n").removesuffix("\n...")


def table_of_folders(by_name: ByName, finding_named: Callable[[str], str | None]) -> tuple[str, Counter[str]] | None:
    """A table (CSV) of images whose folders are called after what they show, as in NORMAL/1.png, and the number of
    images by folder; None if no folder is. Patients are not known."""
    paths = sorted(by_name.paths())
    labels = [PurePosixPath(path).parent.name for path in paths]
    counted = Counter(labels)
    if not any(finding_named(label) for label in counted if label):
        return None
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    writer.writerow(REQUIRED)
    writer.writerows((path, label, "") for path, label in zip(paths, labels, strict=True))
    return content.getvalue(), counted
