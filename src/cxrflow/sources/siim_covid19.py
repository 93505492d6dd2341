"""SIIM-FISABIO-RSNA COVID-19 Detection (Lakhani et al. 2023, J Digit Imaging 36: 365-372): a table of studies, one of
images, and DICOM files.

Radiologists say how a study looks, in the language of Litmanovich et al. 2020 (J Thorac Imaging 35: 354-360). That is
no diagnosis: an image with a typical appearance is not said to be of COVID-19, and one that is negative for pneumonia
may show something else. Its images come from BIMCV and RICORD, whose numbers it does not give.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from cxrflow.records import Record
from cxrflow.sources import tables
from cxrflow.sources.boxes import Boxes
from cxrflow.sources.by_name import ByName
from cxrflow.sources.cells import known, number, sex, years
from cxrflow.sources.collection import Collection, Options
from cxrflow.sources.headers import header_of
from cxrflow.terminal import track

NAME = "siim-covid19"
STUDIES, IMAGES = "train_study_level.csv", "train_image_level.csv"
OPACITY, NEGATIVE = "lung opacity", "negative for pneumonia"
#: Column of STUDIES -> finding.
PUBLISHED = {
    "Negative for Pneumonia": NEGATIVE,
    "Typical Appearance": "typical appearance of covid-19",
    "Indeterminate Appearance": "indeterminate appearance of covid-19",
    "Atypical Appearance": "atypical appearance of covid-19",
}
#: Reasons for leaving out an image. Of a study's images, often only one was marked.
ELSEWHERE = "opacity is marked in another image of its study"
CONTRADICTS = "opacity is marked, though its study is negative for pneumonia"
_BOX = re.compile(r"\{'x': ([^{,}]+), 'y': ([^{,}]+), 'width': ([^{,}]+), 'height': ([^{,}]+)\}")
_TAGS = ("PatientID", "PatientAge", "PatientSex", "ViewPosition", "Rows", "Columns")


def read(folder: Path, name: str, options: Options) -> Iterator[Record]:
    """One record per row of IMAGES, with the boxes round opacities. The person and the size in which boxes are drawn
    come from the DICOM headers; without image files, a study counts as a person."""
    studies = read_studies(folder / STUDIES)
    rows = list(tables.read_table(folder / IMAGES, ("id", "label", "StudyInstanceUID"), ("boxes",)))
    marked = {row["StudyInstanceUID"] for row in rows if row["label"].startswith("opacity")}
    boxes = Boxes(folder / IMAGES)
    train = ByName(folder / "train", options.follow_links) if (folder / "train").is_dir() else None
    for row in track(rows, f"{NAME}: headers", disable=not options.with_files):
        key, study = row["id"].removesuffix("_image"), row["StudyInstanceUID"]
        # <study>/<series>/<image>.dcm; the series is in no table
        there = train.named(key) if train is not None and options.with_files and key else []
        path = next((f"train/{place}" for place in there if study in place.split("/")), f"train/{study}/{key}.dcm")
        header = header_of(folder, path, options, _TAGS) if there else {}
        if there:
            size = (number(header.get("Columns")) or 0, number(header.get("Rows")) or 0)
            for cells in _BOX.findall(row["boxes"]) or ([("", "", "", "")] if row["boxes"] else []):
                boxes.add(key, (OPACITY,), cells, row.line, size)
        findings, reason = findings_of(studies.get(study, ()), row["label"], study in marked)
        person = known(header.get("PatientID")) or (f"study {study}" if study else None)
        yield Record(
            image_id=f"{NAME}:{key or f'line {row.line}'}",
            source=NAME,
            path=f"{name}/{path}",
            patient_id=f"{NAME}:{person}" if person else None,
            findings=findings,
            finding=" | ".join(studies.get(study, ())) or None,
            view=known(header.get("ViewPosition")),
            age=years(header.get("PatientAge")),
            sex=sex(header.get("PatientSex")),
            boxes=boxes.of(key),
            left_out=tables.problem(row, key) or reason,
        )
    options.unread.extend(boxes.sentences())


def read_studies(table: Path) -> dict[str, tuple[str, ...]]:
    """Study -> the columns of PUBLISHED that are 1."""
    rows = tables.read_table(table, ("id", *PUBLISHED), counted=False)
    return {row["id"].removesuffix("_study"): tuple(c for c in PUBLISHED if number(row[c]) == 1) for row in rows}


def findings_of(columns: tuple[str, ...], label: str, marked: bool) -> tuple[tuple[str, ...], str | None]:
    """The findings of an image, and the reason for leaving it out.

    columns  of its study that are 1; exactly one, as published
    label    of the image: ``none 1 0 0 1 1``, or ``opacity 1`` and corners
    marked   whether an opacity is marked in any image of the study
    """
    if len(columns) != 1:
        return (), tables.UNKNOWN_LABEL
    finding, opacity = PUBLISHED[columns[0]], label.startswith("opacity")
    if opacity and finding == NEGATIVE:
        return (), CONTRADICTS
    if marked and not opacity:
        return (), ELSEWHERE
    return (finding, OPACITY) if opacity else (finding,), None


COLLECTION = Collection(
    NAME,
    ("siim-covid19-detection",),
    read,
    f"{STUDIES} and {IMAGES} of the challenge of 2021",
    findings=(*PUBLISHED.values(), OPACITY),
)
