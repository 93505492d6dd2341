"""Shenzhen Hospital X-ray set: 662 images of outpatients of Shenzhen No. 3 Hospital (see readings.py)."""

import re
from collections.abc import Iterator
from pathlib import Path

from cxrflow.findings import most_specific
from cxrflow.records import Record
from cxrflow.sources import readings
from cxrflow.sources.cells import sex, years
from cxrflow.sources.collection import Collection, Options
from cxrflow.sources.readings import Reading

NAME = "shenzhen"
_EXPECTS = "CXR_png/CHNCXR_*.png and ClinicalReadings/CHNCXR_*.txt"
#: Pattern in the words of a reading -> finding. PTB, STB, ATB and NATB are pulmonary, secondary, ... tuberculosis.
PUBLISHED = (
    (r"TB\b|tubercul", "tuberculosis"),
    (r"pneumonia", "pneumonia"),
    (r"pneumothorax", "pneumothorax"),
    (r"pleural effusion|encapsulated intrathoracic fluid", "effusion"),
    (r"atelectasis", "atelectasis"),
    (r"pleural thickening", "pleural thickening"),
    (r"cavit", "lung cavity"),
    (r"emphysema", "emphysema"),
    (r"\bCOPD\b", "chronic obstructive pulmonary disease"),
)
_PERSON = re.compile(r"(male|female?|m|f)(?![a-z])[\s,]*(?:(\d+)\s*([a-z]*))?", re.IGNORECASE)


def parse(lines: list[str]) -> Reading:
    """``male 45yrs`` (or ``Female, 28 yrs``, ``femal 32yrs``, ``male 16month``, ``female 64days``), then what was seen.

    An age without a unit is not known: three of the patients are infants.
    """
    person = _PERSON.match(lines[0]) if lines else None
    if person is None:
        return Reading(None, None, " ".join(lines))
    rest = lines[0][person.end() :].strip(", \t")
    age = years(f"{person[2]} {person[3]}") if person[2] and person[3] else None
    return Reading(sex(person[1][0]), age, " ".join(filter(None, (rest, *lines[1:]))))


def findings_of(words: str) -> tuple[str, ...]:
    """The findings of an abnormal image. One whose reading names something, but no tuberculosis ("right upper
    pneumonia"), has what it names."""
    found = [finding for pattern, finding in PUBLISHED if re.search(pattern, words, re.IGNORECASE)]
    return most_specific(found or (["other finding"] if words else ["tuberculosis"]))


def read(folder: Path, name: str, options: Options) -> Iterator[Record]:
    """One record per image; each is taken for another person's, for no reading refers to another."""
    return readings.read(
        folder, name, options, NAME, "CHNCXR", _EXPECTS, parse, findings_of, lambda number, words: number
    )


COLLECTION = Collection(
    NAME,
    ("ChinaSet_AllFiles", "Shenzhen-Hospital-CXR-Set"),
    read,
    _EXPECTS,
    findings=("no finding", *(finding for _, finding in PUBLISHED), "other finding"),
)
