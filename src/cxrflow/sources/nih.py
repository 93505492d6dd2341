"""NIH ChestX-ray14 (Wang et al. 2017, arXiv:1705.02315): labels text-mined from reports, several per image.

Of 4,376 images, four findings were adjudicated by radiologists (Majkowska et al. 2020, Radiology 294: 421-431); these
replace what was mined.
"""

from collections.abc import Iterator
from dataclasses import replace
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
#: Reason for leaving out an image.
REFUTED = "no mined finding was confirmed by the radiologists"
#: The table of mined labels as published in 2020, and the one of 2017.
TABLES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
#: Folders of the images: unpacked into one, or in twelve parts.
FOLDERS = ("images", *(f"images_{part:03}/images" for part in range(1, 13)))
#: Table of the adjudicated findings: YES or NO in each of its columns.
ADJUDICATED_TABLE = "google2019_nih-chest-xray-labels.csv"
#: Adjudicated finding, by its column -> its path, and the mined findings that it decides on: if it is NO, they are
#: dropped. Consolidation, infiltration and pneumonia are mined from words for an airspace opacity.
ADJUDICATED = {
    "Airspace opacity": ("airspace opacity", ("consolidation", "infiltration", "pneumonia")),
    "Fracture": ("fracture", ()),
    "Nodule or mass": ("nodule or mass", ("nodule", "mass")),
    "Pneumothorax": ("pneumothorax", ("pneumothorax",)),
}
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
    """One record per row of the first of TABLES that is there, with the boxes of BOXES and the adjudicated findings of
    ADJUDICATED_TABLE if these tables are there, too."""
    required = ("Image Index", "Finding Labels", "Patient ID")
    optional = ("View Position", "Patient Age", "Patient Gender")
    boxes = read_boxes(folder / BOXES)
    options.unread.extend(boxes.sentences())
    adjudicated = read_adjudicated(folder / ADJUDICATED_TABLE)
    for row in tables.read_table(tables.first_of(folder, *TABLES), required, optional):
        record = _record(row, f"{name}/{options.place(row['Image Index'], FOLDERS)}", boxes)
        if (found := adjudicated.get(row["Image Index"])) is not None and record.left_out is None:
            present = "|".join(column for column, there in found.items() if there) or "none of the four"
            findings = adjudicate(record.findings, found)
            published = f"{record.finding}; adjudicated: {present}"
            reason = None if findings else REFUTED
            record = replace(record, findings=findings, finding=published, left_out=reason)
        yield record


def read_adjudicated(table: Path) -> dict[str, dict[str, bool]]:
    """Image -> column of ADJUDICATED -> whether the radiologists saw the finding; empty if there is no such table."""
    if not table.exists():
        return {}
    rows = tables.read_table(table, ("Image Index", *ADJUDICATED), counted=False)
    return {
        row["Image Index"]: {column: row[column] == "YES" for column in ADJUDICATED if row[column] in ("YES", "NO")}
        for row in rows
    }


def adjudicate(mined: tuple[str, ...], found: dict[str, bool]) -> tuple[str, ...]:
    """The findings of an image: those adjudicated as present, and the mined ones that no adjudicated one decides on.

    "no finding" stays only if nothing was adjudicated as present. Without any finding, the image is of unknown label:
    the absence of four findings does not make it normal.
    """
    present = tuple(ADJUDICATED[column][0] for column, there in found.items() if there)
    absent = {finding for column, there in found.items() if not there for finding in ADJUDICATED[column][1]}
    refuted = absent | ({PUBLISHED[NO_FINDING]} if present else set())
    return tuple(dict.fromkeys((*(finding for finding in mined if finding not in refuted), *present)))


def read_boxes(table: Path) -> Boxes:
    """The boxes that a radiologist drew for eight of the findings on 880 images (Wang et al. 2017); none if there is no
    such table."""
    boxes = Boxes(table)
    if table.exists():
        for row in tables.read_table(table, ("Image Index", "Finding Label", *_BOX), counted=False):
            finding = find_finding(row["Finding Label"])
            boxes.add(row["Image Index"], (finding,) if finding else (), [row[name] for name in _BOX], row.line)
    return boxes


def _record(row: tables.Row, path: str, boxes: Boxes) -> Record:
    findings, reason = findings_of(row["Finding Labels"])
    file = row["Image Index"]
    # The part of the file name before "_" is the patient number, zero-padded as in RSNA's nih_mapping.csv.
    patient = file.split("_")[0] if "_" in file else (known(row["Patient ID"]) or "").zfill(8)
    return Record(
        image_id=f"{NAME}:{file or f'line {row.line}'}",
        source=NAME,
        path=path,
        patient_id=f"{NAME}:{patient}" if patient.strip("0") else None,
        findings=findings,
        finding=row["Finding Labels"] or None,
        view=known(row["View Position"]),
        age=years(row["Patient Age"]),
        sex=sex(row["Patient Gender"]),
        boxes=boxes.of(file),
        left_out=tables.problem(row, file) or reason,
    )


COLLECTION = Collection(
    NAME,
    ("nih-chestxray14",),
    read,
    " of 2020, or ".join(TABLES) + " of 2017",
    findings=(*PUBLISHED.values(), *(path for path, _ in ADJUDICATED.values())),
)
