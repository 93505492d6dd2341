"""Actualmed-COVID-chestxray-dataset (github.com/agchung)."""

from pathlib import Path

from cxrflow.records import Record
from cxrflow.sources import tables
from cxrflow.sources.collection import Collection, Options
from cxrflow.sources.figure1 import findings_of

NAME = "actualmed"


def read(folder: Path, name: str, options: Options) -> list[Record]:
    """One record per row of ``metadata.csv``."""
    rows = tables.read_csv(folder / "metadata.csv", ("patientid", "finding", "imagename"))
    return [_record(row, name, position) for position, row in enumerate(rows, start=2)]


def _record(row: tables.Row, folder: str, line: int) -> Record:
    findings, reason = findings_of(row["finding"])
    file = row["imagename"]
    return Record(
        image_id=f"{NAME}:{file or f'line {line}'}",
        source=NAME,
        path=f"{folder}/images/{file}",
        patient_id=f"{NAME}:{row['patientid']}" if row["patientid"] else None,
        findings=findings,
        finding=row["finding"] or None,
        view=row.get("view") or None,
        age=tables.years(row.get("age")),
        sex=tables.sex(row.get("sex")),
        day=tables.number(row.get("offset")),
        left_out=tables.problem(row, file) or reason,
    )


COLLECTION = Collection(NAME, "Actualmed-COVID-chestxray-dataset", read)
