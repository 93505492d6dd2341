"""The two tuberculosis sets of the U.S. National Library of Medicine (Jaeger et al. 2014, Quant Imaging Med Surg 4:
475-477): images in ``CXR_png``, and a radiologist's reading of each, as text, in ``ClinicalReadings``.

The last digit of an image's name says whether it is normal (0) or has manifestations of tuberculosis (1).
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from cxrflow.errors import LeftOut
from cxrflow.files import below
from cxrflow.records import Record
from cxrflow.sources import tables
from cxrflow.sources.collection import Options, no_images

IMAGES, READINGS = "CXR_png", "ClinicalReadings"
#: Reason for leaving out an image whose name and reading contradict each other.
CONTRADICTION = "reading and file name disagree"
#: No more than this of a reading is read, in bytes.
_LARGEST = 1 << 16


class Reading(NamedTuple):
    """What a reading says.

    words  in one line, without sex and age
    """

    sex: str | None
    age: float | None
    words: str


def read(
    folder: Path,
    name: str,
    options: Options,
    source: str,
    prefix: str,
    expects: str,
    parse: Callable[[list[str]], Reading],
    findings_of: Callable[[str], tuple[str, ...]],
    person_of: Callable[[str, str], str],
) -> Iterator[Record]:
    """One record per image or reading in the folder, sorted; all are posterior-anterior.

    prefix       of the names of the images
    expects      the layout in words, for the error if nothing of it is there
    parse        (lines of a reading that are not blank) -> what it says
    findings_of  words of the reading of an image with manifestations of tuberculosis -> findings
    person_of    (number of an image, words of its reading) -> number of the person
    Raises CxrflowError if there is neither an image nor a reading.
    """
    place = tables.inner(folder, IMAGES, READINGS)
    home = folder / place
    pattern = re.compile(rf"({prefix}_(\d+)_([01]))\.(?:png|txt)", re.IGNORECASE)
    there = (path.name for kind in (IMAGES, READINGS) if (home / kind).is_dir() for path in (home / kind).iterdir())
    found = {match[1]: match for file in there if (match := pattern.fullmatch(file))}
    if not found:
        raise no_images(folder, expects)
    for stem in sorted(found):
        number, digit = found[stem][2], found[stem][3]
        reading = parse(_lines(folder, f"{place}/{READINGS}/{stem}.txt".lstrip("/"), options.follow_links))
        normal = re.match(r"normal", reading.words, re.IGNORECASE) is not None
        contradiction = bool(reading.words) and normal != (digit == "0")
        yield Record(
            image_id=f"{source}:{stem}",
            source=source,
            path="/".join(filter(None, (name, place, IMAGES, f"{stem}.png"))),
            patient_id=f"{source}:{person_of(number, reading.words)}",
            findings=("no finding",) if digit == "0" else findings_of(reading.words),
            finding=reading.words or ("normal" if digit == "0" else "abnormal"),
            view="PA",
            age=reading.age,
            sex=reading.sex,
            left_out=CONTRADICTION if contradiction else None,
        )


def _lines(folder: Path, path: str, follow_links: bool) -> list[str]:
    """The lines of a reading that are not blank; none if there is no such file."""
    try:
        reading = below(folder, path, follow_links)
        if not reading.is_file():
            return []
        with reading.open("rb") as file:
            content = file.read(_LARGEST)
    except (LeftOut, OSError):
        return []
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]
