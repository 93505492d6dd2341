"""CheXpert (Irvin et al. 2019, arXiv:1901.07031): 14 observations that a labeler finds in reports (radiologists, in
``valid.csv``), each present, absent, uncertain or not mentioned."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from cxrflow.records import Record
from cxrflow.sources import tables
from cxrflow.sources.cells import sex, years
from cxrflow.sources.collection import Collection, Options
from cxrflow.sources.words import not_frontal

NAME = "chexpert"
NO_FINDING, DEVICES = "No Finding", "Support Devices"
#: Published observation -> finding.
PUBLISHED = {
    NO_FINDING: "no finding",
    "Enlarged Cardiomediastinum": "enlarged cardiomediastinum",
    "Cardiomegaly": "cardiomegaly",
    "Lung Opacity": "lung opacity",
    "Lung Lesion": "lung lesion",
    "Edema": "edema",
    "Consolidation": "consolidation",
    "Pneumonia": "pneumonia",
    "Atelectasis": "atelectasis",
    "Pneumothorax": "pneumothorax",
    "Pleural Effusion": "effusion",
    "Pleural Other": "pleural other",
    "Fracture": "fracture",
    DEVICES: "support devices",
}
PRESENT, UNCERTAIN = ("1.0", "1"), ("-1.0", "-1")
#: What a cell of an observation may hold; empty means that the report does not mention it.
_CELLS = frozenset((*PRESENT, *UNCERTAIN, "0.0", "0", ""))
#: The four parts of the full-size release, which have these names when each is unpacked by itself: the tables are in
#: the first, the patients of ``train`` in the others, unless they have been put together.
TABLES_PART = "CheXpert-v1.0 batch 1 (validate & csv)"
TRAIN_PARTS = (*(f"CheXpert-v1.0 batch {n + 1} (train {n})" for n in (1, 2, 3)), "train")


class Labels(NamedTuple):
    """The labels of an image: its certain and its uncertain findings, both as published (``words``), and the reason for
    leaving it out if none is certain."""

    findings: tuple[str, ...] = ()
    uncertain: tuple[str, ...] = ()
    words: str = ""
    left_out: str | None = None


@lru_cache(maxsize=100_000)
def labels_of(cells: tuple[str, ...]) -> Labels:
    """What the observations of an image say.

    cells  those of the observations PUBLISHED, in its order

    An uncertain observation is no finding, and no proof of the opposite: beside it, "No Finding" does not count. Beside
    support devices it does, as the labeler defines it.
    """
    if not _CELLS.issuperset(cells):
        return Labels(words="|".join(filter(None, cells)), left_out=tables.UNKNOWN_LABEL)
    present = [name for name, cell in zip(PUBLISHED, cells, strict=True) if cell in PRESENT]
    uncertain = [name for name, cell in zip(PUBLISHED, cells, strict=True) if cell in UNCERTAIN]
    words = "|".join((*present, *(f"{name} (uncertain)" for name in uncertain)))
    if not {*present, *uncertain} <= {NO_FINDING, DEVICES}:
        present = [name for name in present if name != NO_FINDING]
    reason = tables.UNCERTAIN if uncertain and not present else None
    findings, doubts = (tuple(PUBLISHED[name] for name in names) for names in (present, uncertain))
    return Labels(findings, doubts, words, reason)


def observations(row: tables.Row) -> tuple[str, ...]:
    """The cells of the observations PUBLISHED, in its order."""
    return tuple(row[name] for name in PUBLISHED)


def read(folder: Path, name: str, options: Options) -> Iterator[Record]:
    """One record per row of ``train.csv`` and ``valid.csv``; lateral views are left out."""
    part = TABLES_PART if (folder / TABLES_PART).is_dir() else ""
    required = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *PUBLISHED)
    for side, images in (("train", TRAIN_PARTS), ("valid", (f"{part}/valid".lstrip("/"),))):
        for row in tables.read_table(folder / part / f"{side}.csv", required):
            yield _record(row, name, options, images if part else (side,))


def _record(row: tables.Row, folder: str, options: Options, parts: Sequence[str]) -> Record:
    # CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg, whatever the folder is called
    found = re.search(r"(train|valid)/((patient\d+)/.+)", row["Path"])
    listed, file, patient = (found[0], found[2], found[3]) if found else (row["Path"], row["Path"], None)
    said = labels_of(observations(row))
    view = row["AP/PA"] if row["Frontal/Lateral"] == "Frontal" and row["AP/PA"] else row["Frontal/Lateral"]
    # The folder of the patient, so that no folder is looked into that is not there.
    place = options.place(patient, parts).removesuffix(patient) if patient else ""
    return Record(
        image_id=f"{NAME}:{listed or f'line {row.line}'}",
        source=NAME,
        path=f"{folder}/{place}{file}",
        patient_id=f"{NAME}:{patient}" if patient else None,
        findings=said.findings,
        uncertain=said.uncertain,
        finding=said.words or None,
        view=view or None,
        age=years(row["Age"]) or None,  # 0 stands for "not known"
        sex=sex(row["Sex"]),
        left_out=tables.problem(row, row["Path"]) or not_frontal(view) or said.left_out,
    )


COLLECTION = Collection(
    NAME,
    ("CheXpert-v1.0", "CheXpert-v1.0-small", "chexpertchestxrays-u20210408"),
    read,
    "train.csv and valid.csv of version 1.0 (full size or small)",
    findings=tuple(PUBLISHED.values()),
)
