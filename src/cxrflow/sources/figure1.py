"""Figure1-COVID-chestxray-dataset (github.com/agchung), which names files after ``patientid``: no image column."""

import re
from collections.abc import Iterator
from pathlib import Path

from cxrflow.reading import EXTENSIONS
from cxrflow.records import Record
from cxrflow.sources import tables
from cxrflow.sources.cells import known, number, sex, years
from cxrflow.sources.collection import Collection, Options

NAME = "figure1"
#: Published label, in upper case -> finding; Actualmed uses the same labels.
PUBLISHED = {"COVID-19": "pneumonia/viral/covid-19", "PNEUMONIA": "pneumonia", "NO FINDING": "no finding"}


def findings_of(published: str) -> tuple[tuple[str, ...], str | None]:
    """The findings of a published label, and the reason for leaving the row out if the label is unknown."""
    finding = PUBLISHED.get(published.upper())
    return ((finding,), None) if finding else ((), tables.unknown(published))


def patient_of(key: str) -> str:
    """The person of a ``patientid``: COVID-00003a and COVID-00003b are two images of one."""
    return re.sub(r"^(COVID-\d+)[a-z]$", r"\1", key)


def read(folder: Path, name: str, options: Options) -> Iterator[Record]:
    """One record per row of ``metadata.csv``; its image is ``images/<patientid>`` with any image extension."""
    images = sorted((folder / "images").iterdir()) if options.with_files and (folder / "images").is_dir() else []
    files = {path.stem: path.name for path in images if path.suffix.lower() in EXTENSIONS}
    required, optional = ("patientid", "finding"), ("view", "age", "sex", "offset")
    for row in tables.read_table(folder / "metadata.csv", required, optional):
        yield _record(row, name, files)


def _record(row: tables.Row, folder: str, files: dict[str, str]) -> Record:
    key = row["patientid"]
    findings, reason = findings_of(row["finding"])
    patient = patient_of(known(key) or "")
    return Record(
        image_id=f"{NAME}:{key or f'line {row.line}'}",
        source=NAME,
        path=f"{folder}/images/{files.get(key, f'{key}.jpg')}",
        patient_id=f"{NAME}:{patient}" if patient else None,
        findings=findings,
        finding=row["finding"] or None,
        view=known(row["view"]),
        age=years(row["age"]),
        sex=sex(row["sex"]),
        day=number(row["offset"]),
        left_out=tables.problem(row, key) or reason,
    )


COLLECTION = Collection(
    NAME, ("Figure1-COVID-chestxray-dataset",), read, "metadata.csv of 2020", findings=tuple(PUBLISHED.values())
)
