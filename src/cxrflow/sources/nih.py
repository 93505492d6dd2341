"""NIH ChestX-ray14 (Wang et al. 2017, arXiv:1705.02315): labels text-mined from reports, several per image."""

from collections.abc import Iterator
from pathlib import Path

from cxrflow.findings import find_finding
from cxrflow.records import Record
from cxrflow.sources import tables
from cxrflow.sources.boxes import Boxes
from cxrflow.sources.cells import known, sex, years
from cxrflow.sources.collection import Collection, Options

NAME = "nih"
NO_FINDING = "No Finding"
#: Table of boxes; its columns' names are those of ``Bbox [x,y,w,h]``, cut at the commas.
BOXES = "BBox_List_2017.csv"
_BOX = ("Bbox [x", "y", "w", "h]")
#: Published label -> finding.
PUBLISHED = {
    NO_FINDING: "no finding",
    "Atelectasis": "atelectasis",
    "Cardiomegaly": "cardiomegaly",
    "Consolidation": "consolidation",
    "Edema": "edema",
    "Effusion": "effusion",
    "Emphysema": "emphysema",
    "Fibrosis": "fibrosis",
    "Hernia": "hernia",
    "Infiltration": "infiltration",
    "Mass": "mass",
    "Nodule": "nodule",
    "Pleural_Thickening": "pleural thickening",
    "Pneumonia": "pneumonia",
    "Pneumothorax": "pneumothorax",
}


def findings_of(published: str) -> tuple[tuple[str, ...], str | None]:
    """The findings in ``Finding Labels`` ("A|B"), and the reason for leaving the row out if none of them is known.

    "No Finding" counts only if it is the sole label: beside an unknown label it would make an abnormal image normal.
    """
    words = published.split("|")
    findings = tuple(PUBLISHED[word] for word in words if word in PUBLISHED and (word != NO_FINDING or len(words) == 1))
    return findings, None if findings else tables.unknown(published)


def read(folder: Path, name: str, options: Options) -> Iterator[Record]:
    """One record per row of ``Data_Entry_2017.csv``, with the boxes of BOXES if that table is there, too."""
    required = ("Image Index", "Finding Labels", "Patient ID")
    optional = ("View Position", "Patient Age", "Patient Gender")
    boxes = read_boxes(folder / BOXES)
    options.unread.extend(boxes.sentences())
    for row in tables.read_table(folder / "Data_Entry_2017.csv", required, optional):
        yield _record(row, name, boxes)


def read_boxes(table: Path) -> Boxes:
    """The boxes that a radiologist drew for eight of the findings on 880 images (Wang et al. 2017); none if there is no
    such table."""
    boxes = Boxes(table)
    if table.exists():
        for row in tables.read_table(table, ("Image Index", "Finding Label", *_BOX), counted=False):
            finding = find_finding(row["Finding Label"])
            boxes.add(row["Image Index"], (finding,) if finding else (), [row[name] for name in _BOX], row.line)
    return boxes


def _record(row: tables.Row, folder: str, boxes: Boxes) -> Record:
    findings, reason = findings_of(row["Finding Labels"])
    file = row["Image Index"]
    # The part of the file name before "_" is the patient number, zero-padded as in RSNA's nih_mapping.csv.
    patient = file.split("_")[0] if "_" in file else (known(row["Patient ID"]) or "").zfill(8)
    return Record(
        image_id=f"{NAME}:{file or f'line {row.line}'}",
        source=NAME,
        path=f"{folder}/images/{file}",
        patient_id=f"{NAME}:{patient}" if patient.strip("0") else None,
        findings=findings,
        finding=row["Finding Labels"] or None,
        view=known(row["View Position"]),
        age=years(row["Patient Age"]),
        sex=sex(row["Patient Gender"]),
        boxes=boxes.of(file),
        left_out=tables.problem(row, file) or reason,
    )


COLLECTION = Collection(NAME, ("nih-chestxray14",), read, "Data_Entry_2017.csv")
