"""COVIDx (Wang et al. 2020, arXiv:2003.09871), versions 5 to 9: lists of others' images, one to train and one to test.

The lists say where an image comes from, except for RSNA's in the test list of versions 5 and 7. Where an origin numbers
its patients, they count as that collection's, so that one person's images meet; the rest is left to near repeats.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cxrflow.folders import extension, is_of_an_image
from cxrflow.records import Record
from cxrflow.sources import actualmed, bimcv_covid19, covid_chestxray, figure1, hannover, radiography, rsna, tables
from cxrflow.sources.collection import Collection, Options

NAME = "covidx"
#: Endings of the lists: the newest version first, and of each the one (A) that tells normal images from pneumonia; last
#: those without a version, as distributed with the images.
VERSIONS = ("_COVIDx9A", "_COVIDx9B", "_COVIDx8A", "_COVIDx8B", "_COVIDx7A", "_COVIDx7B", "_COVIDx6", "_COVIDx5", "")
#: Published label -> finding. "negative" is all that is not COVID-19: normal, pneumonia, or anything else.
PUBLISHED = {
    "COVID-19": "pneumonia/viral/covid-19",
    "positive": "pneumonia/viral/covid-19",
    "pneumonia": "pneumonia",
    "normal": "no finding",
    "negative": "negative for covid-19",
}
#: Origin -> collection that issued the patient's number, and what it puts before it.
ORIGINS = {
    "cohen": f"{covid_chestxray.NAME}:",
    "fig1": f"{figure1.NAME}:",
    "actmed": f"{actualmed.NAME}:",
    "bimcv": f"{bimcv_covid19.NAME}:sub-",
    "ricord": "ricord:",
    "stonybrook": "stonybrook:",
}
#: In file names of Stony Brook: ``A1-01-17-1901-NA-FLAT_PLATE_OF_ABDOMEN_PORTABLE-...`` is no chest radiograph.
_ABDOMEN = re.compile(r"-NA-[A-Z_]*ABD")


class Line(NamedTuple):
    """A line of a list, which has no header: ``4 a.jpg COVID-19 cohen``, ``COVID 626 COVID(626).png positive sirm``."""

    patient: str
    file: str
    label: str
    origin: str
    surplus: str


def line_of(words: list[str]) -> Line:
    """A line: the first that is the name of an image file is the file, and what is before it the patient."""
    place = next((k for k, word in enumerate(words) if is_of_an_image(extension(word))), len(words))
    file, label, origin, *surplus = [*words[place:], "", "", ""]
    return Line(" ".join(words[:place]), file, label, origin, " ".join(surplus).strip())


def read(folder: Path, name: str, options: Options) -> Iterator[Record]:
    """One record per line of the two lists of the first of VERSIONS that is in the folder, or in ``labels``."""
    places = [(place, ending) for ending in VERSIONS for place in (folder, folder / "labels")]
    found = (pair for pair in places if any((pair[0] / f"{side}{pair[1]}.txt").is_file() for side in ("train", "test")))
    place, ending = next(found, places[0])
    people = read_people(folder)
    for side in ("train", "test"):
        table, first = place / f"{side}{ending}.txt", True
        for number, words in tables.read_list(table):
            line = line_of(words)
            if first and line.file == "":
                raise tables.OtherTable(table, ("file",), " ".join(words)[:200])
            first = False
            path = options.place(line.file, (side, f"data/{side}"))
            yield _record(line, f"{side} line {number}", f"{name}/{path}", people)
        if first:
            raise tables.OtherTable(table, ("file",), "")


def read_people(folder: Path) -> dict[tuple[str, str], str]:
    """(origin, patient or name of a file) -> person, of patients whom another collection beside the folder maps to a
    third one's: RSNA's to NIH's, some of covid-chestxray's to Hannover's, whose images keep their names; and of images
    of version 1 of the Radiography database. RSNA's have no origin, because some lists give none."""
    people: dict[tuple[str, str], str] = {}
    if (beside := rsna.COLLECTION.beside(folder)) is not None:
        people |= {("", image): person for image, person in (rsna.read_patients(beside) or {}).items()}
    beside = hannover.COLLECTION.beside(folder)
    if beside is not None and (beside / hannover.TABLE).is_file():
        people |= {("cohen", image): person for image, person in hannover.read_patients(beside).items()}
    beside = covid_chestxray.COLLECTION.beside(folder)
    if beside is not None and (beside / covid_chestxray.TABLE).is_file():
        people |= {("cohen", patient): person for patient, person in covid_chestxray.read_patients(beside).items()}
    if (beside := radiography.COLLECTION.beside(folder)) is not None:
        people |= {("sirm", image): person for image, person in radiography.read_patients(beside).items()}
    return people


def _record(line: Line, key: str, path: str, people: dict[tuple[str, str], str]) -> Record:
    # RSNA's "patient" and that of the Radiography database ("sirm", "COVID 626") are images.
    issued, origin = ORIGINS.get(line.origin), line.origin if line.origin in ("sirm", *ORIGINS) else ""
    patient = figure1.patient_of(line.patient) if origin == "fig1" else line.patient
    others = (people.get((origin, key)) for key in (patient, line.file.rpartition(".")[0]))
    person = next(filter(None, others), f"{issued}{patient}" if issued and patient else None)
    finding = PUBLISHED.get(line.label)
    problem = tables.BAD_ROW if line.surplus else None if line.file else tables.NO_IMAGE
    if _ABDOMEN.search(line.file):
        problem = problem or "body part is abdomen, not chest"
    return Record(
        image_id=f"{NAME}:{line.file or key}",
        source=NAME,
        path=path,
        patient_id=person if line.file else None,
        findings=(finding,) if finding else (),
        finding=line.label or None,
        left_out=problem or (None if finding else tables.unknown(line.label)),
    )


COLLECTION = Collection(
    NAME,
    ("COVIDx", "covidx-cxr2"),
    read,
    "train_COVIDx9A.txt and test_COVIDx9A.txt, those of another version from 5 to 9, or train.txt and test.txt; each "
    "line has the patient, file, label and origin",
    findings=tuple(PUBLISHED.values()),
)
