"""COVID-19 Image Repository of Hannover Medical School (Winther et al. 2020, doi:10.6084/m9.figshare.12275009).

All of its patients had COVID-19. covid-chestxray-dataset holds copies of many of its images, under the same names.
"""

from collections.abc import Iterator
from pathlib import Path

from cxrflow.records import Record
from cxrflow.sources import tables
from cxrflow.sources.cells import known, number, sex, years
from cxrflow.sources.collection import Collection, Options

NAME = "hannover"
TABLE = "data.csv"
FINDING = "pneumonia/viral/covid-19"
#: Address by which other collections name it as the origin of their images.
URL = "github.com/ml-workgroup/covid-19-image-repository"
_MEN_AND_WOMEN = {"w": "F"}  # of "m/w", which the documentation gives; the table has m and f


def read(folder: Path, name: str, options: Options) -> Iterator[Record]:
    """One record per row of TABLE; its image is ``png/<image_id>.png``."""
    optional = ("sex", "age", "admission_offset", "projection", "modality")
    for row in tables.read_table(folder / TABLE, ("patient_id", "image_id"), optional):
        yield _record(row, name)


def read_patients(folder: Path) -> dict[str, str]:
    """``image_id`` -> ``hannover:<patient>``."""
    rows = tables.read_table(folder / TABLE, ("patient_id", "image_id"), counted=False)
    return {row["image_id"]: f"{NAME}:{patient}" for row in rows if (patient := known(row["patient_id"]))}


def _record(row: tables.Row, folder: str) -> Record:
    image, patient = row["image_id"], known(row["patient_id"])
    admitted = number(row["admission_offset"])  # days from the image to the admission: -4 is four days before it
    return Record(
        image_id=f"{NAME}:{image or f'line {row.line}'}",
        source=NAME,
        path=f"{folder}/png/{image}.png" if image else f"{folder}/png/",
        patient_id=f"{NAME}:{patient}" if patient else None,
        findings=(FINDING,),
        finding="COVID-19",  # of the whole collection; no column says it
        view=(known(row["projection"]) or "").upper() or None,
        age=years(row["age"]),
        sex=_MEN_AND_WOMEN.get(row["sex"].casefold()) or sex(row["sex"]),
        day=None if admitted is None else 0.0 - admitted,
        left_out=tables.problem(row, image),
    )


COLLECTION = Collection(NAME, ("covid-19-image-repository",), read, f"version 2, {TABLE} and png/", findings=(FINDING,))
