"""A user's own images: a folder with a CSV table of ``path``, ``label``, ``patient`` and optional columns."""

from pathlib import Path

from cxrflow.errors import CxrflowError
from cxrflow.records import CLASSES, Record
from cxrflow.sources import tables
from cxrflow.sources.collection import Collection

REQUIRED = ("path", "label", "patient")
_LABELS = {name: name for name in CLASSES} | {"covid-19": "covid", "covid19": "covid"}


def find_table(folder: Path) -> Path | None:
    """The CSV table of a user's own folder, whatever its name, or None. Raises CxrflowError where several fit.

    Where none has all of REQUIRED, the first that lacks only one of them: reading it says which column is missing (or
    written in capitals).
    """
    headers = {path: {name.lower() for name in tables.read_header(path)} for path in sorted(folder.glob("*.csv"))}
    lacking = {path: len(set(REQUIRED) - header) for path, header in headers.items()}
    fits = [path for path, lacks in lacking.items() if lacks == 0]
    if len(fits) > 1:
        names = ", ".join(path.name for path in fits)
        raise CxrflowError(f"{folder}: {len(fits)} tables of path, label, patient ({names}); keep one.")
    return next(iter(fits or [path for path, lacks in lacking.items() if lacks == 1]), None)


def read(folder: Path, name: str, with_files: bool) -> list[Record]:
    """One record per row: ``path`` below the folder, ``label`` covid, normal or pneumonia, ``patient`` any text.

    Optional columns: ``finding``, ``view``, ``age`` (years), ``sex`` (M, F), ``day``, ``url``.
    """
    table = find_table(folder)
    if table is None:
        raise CxrflowError(f"{folder}: no CSV table with the columns {', '.join(REQUIRED)}; add one.")
    return [_record(row, name, line) for line, row in enumerate(tables.read_csv(table, REQUIRED), start=2)]


def _record(row: tables.Row, folder: str, line: int) -> Record:
    label = _LABELS.get(row["label"].lower())
    reason = None if label else (tables.UNKNOWN_LABEL if row["label"] else tables.NO_FINDING_GIVEN)
    return Record(
        image_id=f"{folder}:{row['path'] or f'line {line}'}",
        source=folder,
        path=f"{folder}/{row['path']}",
        patient_id=f"{folder}:{row['patient']}" if row["patient"] else None,
        label=label,
        finding=row.get("finding") or row["label"] or None,
        view=row.get("view") or None,
        age=tables.years(row.get("age")),
        sex=tables.sex(row.get("sex")),
        day=tables.number(row.get("day")),
        url=row.get("url") or None,
        left_out=tables.problem(row, row["path"]) or reason,
    )


COLLECTION = Collection("table", None, read)
