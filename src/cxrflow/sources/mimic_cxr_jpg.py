"""MIMIC-CXR-JPG (Johnson et al. 2019, arXiv:1901.07042): the observations of CheXpert's labeler, for each study.

The labels of NegBio, which are published beside them and differ at times, are not read: the labeler is the one of the
collection chexpert, so the two can be compared. Where version 2.1.0 has labels of a radiologist (of 687 studies), those
replace the labeler's. Neither the published split nor sex and age, which are in MIMIC-IV, are read.
"""

from collections.abc import Iterator
from pathlib import Path

from cxrflow.records import Record
from cxrflow.sources import tables
from cxrflow.sources.cells import known
from cxrflow.sources.chexpert import PUBLISHED, Labels, labels_of, observations
from cxrflow.sources.collection import Collection, Options
from cxrflow.sources.words import not_frontal

NAME = "mimic-cxr-jpg"
METADATA, LABELS = "mimic-cxr-2.0.0-metadata.csv", "mimic-cxr-2.0.0-chexpert.csv"
#: Labels of a radiologist, whose columns are called a little differently.
RADIOLOGIST = "mimic-cxr-2.1.0-test-set-labeled.csv"
_RENAMED = {"No Finding": "No Findings", "Lung Opacity": "Airspace Opacity"}
#: A coded view, for the images whose ViewPosition is empty.
CODED = "ViewCodeSequence_CodeMeaning"


def read(folder: Path, name: str, options: Options) -> Iterator[Record]:
    """One record per row of METADATA (377,110 of the published table); lateral and oblique views are left out.

    Both tables may be compressed, as published, and lie in a folder of the version (``2.0.0``, ``2.1.0``), as PhysioNet
    has it. The metadata are read as a stream; of the labels, each study's number and, once, each combination are held.
    """
    place = tables.inner(folder, METADATA, f"{METADATA}.gz")
    home = folder / place
    labels = _read_labels(tables.first_of(home, LABELS, f"{LABELS}.gz"))
    labels |= _read_radiologist(tables.first_of(home, RADIOLOGIST, f"{RADIOLOGIST}.gz"))
    table = tables.first_of(home, METADATA, f"{METADATA}.gz")
    prefix = f"{name}/{place}/files" if place else f"{name}/files"
    for row in tables.read_table(table, ("dicom_id", "subject_id", "study_id", "ViewPosition"), (CODED,)):
        yield _record(row, prefix, labels.get(row["study_id"], Labels()))


def _read_labels(table: Path) -> dict[str, Labels]:
    """The labels of each study that is in the table."""
    required = ("study_id", *PUBLISHED)
    return {row["study_id"]: labels_of(observations(row)) for row in tables.read_table(table, required, counted=False)}


def _read_radiologist(table: Path) -> dict[str, Labels]:
    """The labels that a radiologist gave; none if there is no such table, as in version 2.0.0."""
    if not table.is_file():
        return {}
    required = ("study_id", *(name for name in PUBLISHED if name not in _RENAMED))
    optional = (*_RENAMED, *_RENAMED.values())
    labels: dict[str, Labels] = {}
    for row in tables.read_table(table, required, optional, counted=False):
        cells = tuple(row[name] or row[_RENAMED[name]] if name in _RENAMED else row[name] for name in PUBLISHED)
        said = labels_of(cells)
        labels[row["study_id"]] = said._replace(words=f"{said.words}; labelled by a radiologist" if said.words else "")
    return labels


def _record(row: tables.Row, folder: str, said: Labels) -> Record:
    image, subject, study = row["dicom_id"], row["subject_id"], row["study_id"]
    view = known(row["ViewPosition"]) or known(row[CODED])
    return Record(
        image_id=f"{NAME}:{image or f'line {row.line}'}",
        source=NAME,
        path=f"{folder}/p{subject[:2]}/p{subject}/s{study}/{image}.jpg",
        patient_id=f"{NAME}:{subject}" if known(subject) else None,
        findings=said.findings,
        uncertain=said.uncertain,
        finding=said.words or None,
        view=view,
        left_out=tables.problem(row, image) or (not_frontal(view) if view else None) or said.left_out,
    )


COLLECTION = Collection(
    NAME,
    ("mimic-cxr-jpg",),
    read,
    f"{METADATA} and {LABELS} (or .csv.gz) of version 2.0.0 or 2.1.0",
    findings=tuple(PUBLISHED.values()),
)
