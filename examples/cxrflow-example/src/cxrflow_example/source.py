"""A source: the radiographs of a ward, with a table ``listing.csv``."""

from collections.abc import Iterator
from pathlib import Path

from cxrflow.records import Record
from cxrflow.sources import tables
from cxrflow.sources.cells import known, sex, years
from cxrflow.sources.collection import Collection, Options

NAME = "example-ward"
#: What the ward writes, and the finding of the vocabulary (`cxrflow findings`) that it stands for.
FINDINGS = {"clear": ("no finding",), "pneumonia": ("pneumonia",), "air": ("pneumothorax",)}


def read(folder: Path, name: str, options: Options) -> Iterator[Record]:
    """One record per row of ``listing.csv``."""
    for row in tables.read_table(folder / "listing.csv", ("file", "person", "report"), ("age", "sex", "view")):
        file, person, report = row["file"], known(row["person"]), row["report"]
        yield Record(
            image_id=f"{NAME}:{file or f'line {row.line}'}",
            source=NAME,
            path=f"{name}/{file}",
            patient_id=f"{NAME}:{person}" if person else None,
            findings=FINDINGS.get(report, ()),
            finding=report or None,
            view=known(row["view"]),
            age=years(row["age"]),
            sex=sex(row["sex"]),
            left_out=tables.problem(row, file) or (None if report in FINDINGS else tables.UNKNOWN_LABEL),
        )


COLLECTION = Collection(
    NAME, ("example-ward-export",), read, "listing.csv of 2026", findings=("no finding", "pneumonia", "pneumothorax")
)
