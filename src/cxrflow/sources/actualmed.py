"""Actualmed-COVID-chestxray-dataset (github.com/agchung)."""

from collections.abc import Iterator
from pathlib import Path

from cxrflow.records import Record
from cxrflow.sources import tables
from cxrflow.sources.cells import known, number, sex, years
from cxrflow.sources.collection import Collection, Options
from cxrflow.sources.figure1 import PUBLISHED, findings_of

NAME = "actualmed"


def read(folder: Path, name: str, options: Options) -> Iterator[Record]:
    """One record per row of ``metadata.csv``."""
    required, optional = ("patientid", "finding", "imagename"), ("view", "age", "sex", "offset")
    for row in tables.read_table(folder / "metadata.csv", required, optional):
        yield _record(row, name)


def _record(row: tables.Row, folder: str) -> Record:
    findings, reason = findings_of(row["finding"])
    file, patient = row["imagename"], known(row["patientid"])
    return Record(
        image_id=f"{NAME}:{file or f'line {row.line}'}",
        source=NAME,
        path=f"{folder}/images/{file}",
        patient_id=f"{NAME}:{patient}" if patient else None,
        findings=findings,
        finding=row["finding"] or None,
        view=known(row["view"]),
        age=years(row["age"]),
        sex=sex(row["sex"]),
        day=number(row["offset"]),
        left_out=tables.problem(row, file) or reason,
    )


COLLECTION = Collection(
    NAME, ("Actualmed-COVID-chestxray-dataset",), read, "metadata.csv of 2020", findings=tuple(PUBLISHED.values())
)
