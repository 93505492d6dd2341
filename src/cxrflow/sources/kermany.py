"""Chest X-Ray Images (Pneumonia) (Kermany et al. 2018, Cell 172: 1122-1131): folders, without a table.

Children aged one to five at one hospital in Guangzhou, all anterior-posterior. It is distributed under two sets of
names, that of Mendeley (``BACTERIA-1351146-0002.jpeg``) and that of Kaggle (``person1_bacteria_2.jpeg``).
"""

import re
from collections.abc import Iterator
from pathlib import Path

from cxrflow.folders import extension, is_of_an_image, is_of_the_system
from cxrflow.records import Record
from cxrflow.sources.collection import Collection, Options, no_images

NAME = "kermany"
#: The published sides of the split, which cxrflow does not use, and the folders in each of them.
SIDES = ("train", "val", "test")
NORMAL, PNEUMONIA = "NORMAL", "PNEUMONIA"
#: Word in a file name, in lower case -> finding of an image in PNEUMONIA.
PUBLISHED = {"bacteria": "pneumonia/bacterial", "virus": "pneumonia/viral"}
#: The number in a file name, with what it is a number of. Whether person 1 of the bacterial images is person 1 of the
#: viral ones, and IM-0115 is NORMAL2-IM-0115, is not published. Of Kaggle's numbers, most are in both series, and only
#: across series is one number on two sides of the published split, which speaks for two children. What is certain is
#: neither, so they count as one: images of one child would be a leak, and those of two in one group are none.
_PERSON = re.compile(r"(person)(\d+)|(?:NORMAL2-)?(IM-)(\d+)|(?:BACTERIA|VIRUS|NORMAL)-()(\d+)", re.IGNORECASE)


def patient_of(file: str) -> str | None:
    """The number of the child in a file name, None if it has none: ``person1``, ``IM-115``, ``1351146``."""
    found = _PERSON.match(file)
    if found is None:
        return None
    word, number = (part for part in found.groups() if part is not None)
    return f"{word}{int(number)}"


def findings_of(kind: str, file: str) -> tuple[str, str]:
    """The finding of an image in the folder ``kind``, and what is published of it: in PNEUMONIA, the file name says
    which pneumonia it is."""
    word = next((word for word in PUBLISHED if word in file.lower()), None)
    if kind == NORMAL:
        return "no finding", kind
    return (PUBLISHED[word], f"{kind}, {word}") if word else ("pneumonia", kind)


def read(folder: Path, name: str, options: Options) -> Iterator[Record]:
    """One record per image in the folders, sorted. Kaggle's archive holds all of it once more in an inner folder
    ``chest_xray``, which is read only if the outer one has no images.

    Raises CxrflowError if there are none.
    """
    for inner in ("", f"{folder.name}/", "chest_xray/"):
        places = [f"{inner}{side}/{kind}" for side in SIDES for kind in (NORMAL, PNEUMONIA)]
        if there := [place for place in places if (folder / place).is_dir()]:
            break
    else:
        raise no_images(folder, COLLECTION.expects)
    for place in there:
        for file in sorted(path.name for path in (folder / place).iterdir()):
            if is_of_an_image(extension(file)) and not is_of_the_system(file):
                yield _record(f"{name}/{place}", file)


def _record(place: str, file: str) -> Record:
    kind, patient = place.rpartition("/")[2], patient_of(file)
    finding, published = findings_of(kind, file)
    return Record(
        image_id=f"{NAME}:{file}",
        source=NAME,
        path=f"{place}/{file}",
        patient_id=f"{NAME}:{patient}" if patient else None,
        findings=(finding,),
        finding=published,
        view="AP",
        paediatric=True,
    )


COLLECTION = Collection(
    NAME,
    ("chest_xray",),
    read,
    "folders train/NORMAL, train/PNEUMONIA, test/NORMAL, test/PNEUMONIA, or one of them",
    findings=("no finding", "pneumonia", *PUBLISHED.values()),
)
