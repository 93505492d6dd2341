"""RSNA Pneumonia Detection Challenge, stage 2 (Shih et al. 2019): DICOM files, one CSV row per bounding box."""

import json
from collections.abc import Iterator
from pathlib import Path

from cxrflow.errors import CxrflowError
from cxrflow.records import Record
from cxrflow.sources import tables
from cxrflow.sources.boxes import Boxes
from cxrflow.sources.cells import known, sex, years
from cxrflow.sources.collection import Collection, Options
from cxrflow.sources.headers import header_of
from cxrflow.terminal import track

NAME = "rsna"
IMAGES = "stage_2_train_images"
#: Findings of Target 1: an opacity that the readers marked as suspicious for pneumonia.
TARGET = ("lung opacity", "pneumonia")
#: Published class of an image with Target 0 -> finding.
PUBLISHED = {"Normal": "no finding", "No Lung Opacity / Not Normal": "abnormal without lung opacity"}
#: Table of columns patientId and nih_image, and the mapping as RSNA publishes it, with the same content.
MAPPING = "nih_mapping.csv"
PUBLISHED_MAPPING = "pneumonia-challenge-dataset-mappings_2018.json"
URL = f"https://s3.amazonaws.com/east1.public.rsna.org/AI/2018/{PUBLISHED_MAPPING}"
#: Upper limit of PUBLISHED_MAPPING, in bytes; that of 30,000 images has a few MB.
_LARGEST = 64 << 20
#: Columns of a box, in pixels of the picture.
BOX = ("x", "y", "width", "height")
_TAGS = ["PatientAge", "PatientSex", "ViewPosition"]


def read(folder: Path, name: str, options: Options) -> Iterator[Record]:
    """One record per image, with any number of boxes, each drawn round an opacity suspicious for pneumonia.

    The collection's ``patientId`` identifies an image, not a person. The person is the NIH patient of the mapping, so
    that one person's images in both collections form one group. View, age and sex come from the DICOM headers.
    Raises CxrflowError if there is no mapping, unless ``options.rsna_without_patients`` accepts that.
    """
    surplus: set[str] = set()
    targets: dict[str, set[str]] = {}
    labels = folder / "stage_2_train_labels.csv"
    boxes = Boxes(labels)
    for row in tables.read_table(labels, ("patientId", "Target"), BOX):
        if any(cells := [row[name] for name in BOX]):
            boxes.add(row["patientId"], TARGET if row["Target"] == "1" else (), cells, row.line)
        targets.setdefault(row["patientId"], set()).add(row["Target"])
        surplus |= {row["patientId"]} if row.surplus else set()
    named: dict[str, set[str]] = {key: set() for key in targets}
    for row in tables.read_table(folder / "stage_2_detailed_class_info.csv", ("patientId", "class")):
        named.setdefault(row["patientId"], set()).add(row["class"])
        surplus |= {row["patientId"]} if row.surplus else set()
    options.unread.extend(boxes.sentences())
    patients = read_patients(folder)
    if patients is None and options.rsna_without_patients == "stop":
        raise CxrflowError(
            f"{folder}: neither {PUBLISHED_MAPPING} nor {MAPPING} is there; without it nobody knows which images are "
            "of one person, and one person's images get onto several sides of the split: put "
            f"{URL} there, or accept that with sources.rsna_without_patients: accept."
        )
    for key in track(named, "rsna: headers", disable=not options.with_files):
        published = " | ".join(sorted(named[key]))
        findings, reason = findings_of(targets.get(key, set()), published)
        path = f"{IMAGES}/{key}.dcm"
        header = header_of(folder, path, options, _TAGS) if key else {}
        yield Record(
            image_id=f"{NAME}:{key or 'row without patientId'}",
            source=NAME,
            path=f"{name}/{path}",
            patient_id=(patients or {}).get(key),
            findings=findings,
            finding=published or None,
            view=known(header.get("ViewPosition")),
            age=years(header.get("PatientAge")),
            sex=sex(header.get("PatientSex")),
            boxes=boxes.of(key),
            left_out=(tables.BAD_ROW if key in surplus else None if key else tables.NO_IMAGE) or reason,
        )


def read_patients(folder: Path) -> dict[str, str] | None:
    """``patientId`` -> ``nih:<patient>``, from MAPPING or PUBLISHED_MAPPING; None if neither is in the folder."""
    published = folder / PUBLISHED_MAPPING
    if (folder / MAPPING).is_file() or not published.is_file():
        if not (folder / MAPPING).is_file():
            return None
        rows = tables.read_table(folder / MAPPING, ("patientId", "nih_image"))
        pairs = [(row["patientId"], row["nih_image"]) for row in rows]
    else:
        try:
            if published.stat().st_size > _LARGEST:
                raise ValueError("too large")
            pairs = [(entry["subset_img_id"], entry["img_id"]) for entry in json.loads(published.read_bytes())]
        except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
            raise CxrflowError(
                f"{published}: not the mapping that RSNA publishes ({str(error)[:200]}); put {URL} there again."
            ) from None
    return {image: f"nih:{file.split('_')[0]}" for image, nih in pairs if (file := known(nih))}


def findings_of(targets: set[str], published: str) -> tuple[tuple[str, ...], str | None]:
    """The findings of an image's Target and detailed class, and the reason for leaving it out if the two disagree."""
    if targets == {"1"}:
        return TARGET, None
    if targets == {"0"} and published in PUBLISHED:
        return (PUBLISHED[published],), None
    return (), tables.unknown(published) if targets else None


COLLECTION = Collection(
    NAME,
    ("rsna-pneumonia-detection-challenge",),
    read,
    "the tables of stage 2",
    merges=True,
    findings=(*TARGET, *PUBLISHED.values()),
)
