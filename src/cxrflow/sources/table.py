"""A user's own images: a folder with a CSV table of ``path``, ``label``, ``patient`` and optional columns."""

from collections.abc import Iterator
from pathlib import Path

from cxrflow.errors import CxrflowError
from cxrflow.records import Record
from cxrflow.sources import tables
from cxrflow.sources.cells import known, number, sex, years
from cxrflow.sources.collection import Collection, Options

REQUIRED = ("path", "label", "patient")
OPTIONAL = ("finding", "view", "age", "sex", "day", "url")


def find_table(folder: Path) -> Path | None:
    """The CSV table with the REQUIRED columns in a user's own folder, or None. Raises CxrflowError if several fit.

    If no table has all REQUIRED columns, the first one that lacks a single column is returned; reading it then reports
    the missing column.
    """
    headers = {path: {name.lower() for name in tables.read_header(path)} for path in sorted(folder.glob("*.csv"))}
    lacking = {path: len(set(REQUIRED) - header) for path, header in headers.items()}
    fits = [path for path, lacks in lacking.items() if lacks == 0]
    if len(fits) > 1:
        names = ", ".join(path.name for path in fits)
        raise CxrflowError(f"{folder}: {len(fits)} tables with the columns path, label, patient ({names}); keep one.")
    return next(iter(fits or [path for path, lacks in lacking.items() if lacks == 1]), None)


def read(folder: Path, name: str, options: Options) -> Iterator[Record]:
    """One record per row: ``path`` relative to the folder, ``label`` the name of a finding, ``patient`` any text.

    Optional columns: ``finding``, ``view``, ``age`` (years), ``sex`` (M, F), ``day``, ``url``.
    """
    table = find_table(folder)
    if table is None:
        raise CxrflowError(f"{folder}: no CSV table with the columns {', '.join(REQUIRED)}; add one.")
    for row in tables.read_table(table, REQUIRED, OPTIONAL):
        yield _record(row, name, options.finding_named(row["label"]))


def _record(row: tables.Row, folder: str, finding: str | None) -> Record:
    patient = known(row["patient"])
    return Record(
        image_id=f"{folder}:{row['path'] or f'line {row.line}'}",
        source=folder,
        path=f"{folder}/{row['path']}",
        patient_id=f"{folder}:{patient}" if patient else None,
        findings=(finding,) if finding else (),
        finding=row["finding"] or row["label"] or None,
        view=known(row["view"]),
        age=years(row["age"]),
        sex=sex(row["sex"]),
        day=number(row["day"]),
        url=known(row["url"]),
        left_out=tables.problem(row, row["path"]) or (None if finding else tables.unknown(row["label"])),
    )


COLLECTION = Collection("table", None, read)
