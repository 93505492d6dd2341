"""Montgomery County X-ray set: 138 images of the county's tuberculosis control programme (see readings.py)."""

import re
from collections.abc import Iterator
from pathlib import Path

from cxrflow.records import Record
from cxrflow.sources import readings
from cxrflow.sources.cells import sex, years
from cxrflow.sources.collection import Collection, Options
from cxrflow.sources.readings import Reading

NAME = "montgomery"
_EXPECTS = "CXR_png/MCUCXR_*.png and ClinicalReadings/MCUCXR_*.txt"
#: Number of an image -> that of an earlier one of the same person. The readings of 0117 and 0166 say so ("same pt as
#: MCUCXR_0162_1"); that of 0170 speaks of two views in the months before, and age and sex are those of 0162.
SAME_PERSON = {"0117": "0113", "0166": "0162", "0170": "0162"}


def parse(lines: list[str]) -> Reading:
    """``Patient's Sex: F``, ``Patient's Age: 027Y``, then what was seen, in free text."""
    said: dict[str, str] = {}
    words = []
    for line in lines:
        field = re.match(r"patient.?s (sex|age)\s*:\s*(.*)", line, re.IGNORECASE)
        if field:
            said[field[1].casefold()] = field[2].strip()
        else:
            words.append(line)
    return Reading(sex(said.get("sex")), years(said.get("age")), " ".join(words))


def person_of(number: str, words: str) -> str:
    """The number of the person: that of the image that the reading or SAME_PERSON refers to, else the image's own."""
    same = re.search(r"same (?:pt|patient) as MCUCXR_(\d+)", words, re.IGNORECASE)
    other = same[1] if same else SAME_PERSON.get(number, number)
    return SAME_PERSON.get(other, other)


def read(folder: Path, name: str, options: Options) -> Iterator[Record]:
    """One record per image. Abnormal ones have tuberculosis, active or not: the readings often hedge, and are kept in
    words."""
    return readings.read(
        folder, name, options, NAME, "MCUCXR", _EXPECTS, parse, lambda words: ("tuberculosis",), person_of
    )


COLLECTION = Collection(
    NAME,
    ("MontgomerySet", "NLM-MontgomeryCXRSet", "Montgomery-County-CXR-Set"),
    read,
    _EXPECTS,
    findings=("no finding", "tuberculosis"),
)
