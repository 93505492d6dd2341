"""RSNA Pneumonia Detection Challenge, stage 2 (Shih et al. 2019): DICOM files, one CSV row per bounding box."""

import warnings
from pathlib import Path

import pydicom
from rich.progress import track

from cxrflow.errors import LeftOut
from cxrflow.files import below
from cxrflow.records import Record
from cxrflow.sources import tables
from cxrflow.sources.collection import Collection, Options

NAME = "rsna"
IMAGES = "stage_2_train_images"
#: Findings of Target 1: an opacity that the readers marked as suspicious for pneumonia.
TARGET = ("lung opacity", "pneumonia")
#: Published class of an image with Target 0 -> finding.
PUBLISHED = {"Normal": "no finding", "No Lung Opacity / Not Normal": "abnormal without lung opacity"}
_TAGS = ["PatientAge", "PatientSex", "ViewPosition"]


def read(folder: Path, name: str, options: Options) -> list[Record]:
    """One record per image, with any number of boxes.

    The collection's ``patientId`` identifies an image, not a person. The person is the NIH patient in
    ``nih_mapping.csv``, so that one person's images in both collections form one group. View, age and sex come from the
    DICOM headers.
    """
    boxes = tables.read_csv(folder / "stage_2_train_labels.csv", ("patientId", "Target"))
    classes = tables.read_csv(folder / "stage_2_detailed_class_info.csv", ("patientId", "class"))
    mapping_table = folder / "nih_mapping.csv"
    mapping = tables.read_csv(mapping_table, ("patientId", "nih_image")) if mapping_table.is_file() else []
    patients = {row["patientId"]: f"nih:{row['nih_image'].split('_')[0]}" for row in mapping if row["nih_image"]}
    surplus = {row["patientId"] for row in boxes + classes if tables.SURPLUS in row}
    targets: dict[str, set[str]] = {}
    for row in boxes:
        targets.setdefault(row["patientId"], set()).add(row["Target"])
    named: dict[str, set[str]] = {key: set() for key in targets}
    for row in classes:
        named.setdefault(row["patientId"], set()).add(row["class"])
    records = []
    for key in track(named, "rsna: headers", disable=not options.with_files):
        published = " | ".join(sorted(named[key]))
        findings, reason = findings_of(targets.get(key, set()), published)
        path = f"{IMAGES}/{key}.dcm"
        header = _header(folder, path) if options.with_files and key else {}
        records.append(
            Record(
                image_id=f"{NAME}:{key or 'row without patientId'}",
                source=NAME,
                path=f"{name}/{path}",
                patient_id=patients.get(key),
                findings=findings,
                finding=published or None,
                view=header.get("ViewPosition"),
                age=tables.years(header.get("PatientAge")),
                sex=tables.sex(header.get("PatientSex")),
                left_out=(tables.BAD_ROW if key in surplus else tables.problem({}, key)) or reason,
            )
        )
    return records


def findings_of(targets: set[str], published: str) -> tuple[tuple[str, ...], str | None]:
    """The findings of an image's Target and detailed class, and the reason for leaving it out if the two disagree."""
    if targets == {"1"}:
        return TARGET, None
    if targets == {"0"} and published in PUBLISHED:
        return (PUBLISHED[published],), None
    return (), tables.unknown(published) if targets else None


def _header(folder: Path, path: str) -> dict[str, str]:
    """View, age and sex from a DICOM header; empty if it cannot be read (reading the pixels reports the reason)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = pydicom.dcmread(below(folder, path), stop_before_pixels=True, specific_tags=_TAGS)
            return {tag: str(data[tag].value) for tag in _TAGS if tag in data and data[tag].value}
    except (LeftOut, OSError, pydicom.errors.InvalidDicomError, ValueError, KeyError, AttributeError):
        return {}


COLLECTION = Collection(NAME, "rsna-pneumonia-detection-challenge", read)
