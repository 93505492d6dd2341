"""Figure1-COVID-chestxray-dataset (github.com/agchung), which names files after ``patientid``: no image column."""

import re
from pathlib import Path

from cxrflow.reading import ENDINGS
from cxrflow.records import Record
from cxrflow.sources import tables
from cxrflow.sources.collection import Collection, Options

NAME = "figure1"
#: Published label, in upper case -> finding; Actualmed uses the same labels.
PUBLISHED = {"COVID-19": "pneumonia/viral/covid-19", "PNEUMONIA": "pneumonia", "NO FINDING": "no finding"}


def findings_of(published: str) -> tuple[tuple[str, ...], str | None]:
    """The findings of a published label, and the reason for leaving the row out if the label is unknown."""
    finding = PUBLISHED.get(published.upper())
    return ((finding,), None) if finding else ((), tables.unknown(published))


def read(folder: Path, name: str, options: Options) -> list[Record]:
    """One record per row of ``metadata.csv``; its image is ``images/<patientid>`` with any image ending."""
    rows = tables.read_csv(folder / "metadata.csv", ("patientid", "finding"))
    images = sorted((folder / "images").iterdir()) if options.with_files and (folder / "images").is_dir() else []
    files = {path.stem: path.name for path in images if path.suffix.lower() in ENDINGS}
    return [_record(row, name, files, position) for position, row in enumerate(rows, start=2)]


def _record(row: tables.Row, folder: str, files: dict[str, str], line: int) -> Record:
    key = row["patientid"]
    findings, reason = findings_of(row["finding"])
    # COVID-00003a and COVID-00003b are two images of one person.
    patient = re.sub(r"^(COVID-\d+)[a-z]$", r"\1", key)
    return Record(
        image_id=f"{NAME}:{key or f'line {line}'}",
        source=NAME,
        path=f"{folder}/images/{files.get(key, f'{key}.jpg')}",
        patient_id=f"{NAME}:{patient}" if patient else None,
        findings=findings,
        finding=row["finding"] or None,
        view=row.get("view") or None,
        age=tables.years(row.get("age")),
        sex=tables.sex(row.get("sex")),
        day=tables.number(row.get("offset")),
        left_out=tables.problem(row, key) or reason,
    )


COLLECTION = Collection(NAME, "Figure1-COVID-chestxray-dataset", read)
