"""BIMCV-COVID19+ (de la Iglesia Vaya et al. 2020, arXiv:2006.01174), iterations 1 to 3: BIDS layout, 16-bit PNG.

Its people were tested for SARS-CoV-2, some of them more than once; what an image shows depends on when it was taken.
The labels that were read out of the Spanish reports are not used.
"""

import datetime
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from cxrflow.records import Record
from cxrflow.sources import tables
from cxrflow.sources.cells import known, sex, years
from cxrflow.sources.collection import Collection, Options

NAME = "bimcv-covid19"
PEOPLE = "participants.tsv"
#: Table of the laboratory tests, in iteration 3 and before.
TESTS = ("derivatives/EHR/SIL_REG_COVID_POSI_iter123.txt", "derivatives/EHR/sil_reg_covid_posi.tsv")
POSITIVE, NEGATIVE = "POSITIVO", "NEGATIVO"
FINDING = "pneumonia/viral/covid-19"
#: Days between an image and the PCR that it goes by, at most: a choice, not published.
WINDOW = 14
#: Reasons for leaving out an image.
NO_DATE = "date of the study is not known"
NO_PCR = f"no PCR result within {WINDOW} days of the study"
NOT_POSITIVE = "nearest PCR is negative, which says nothing of the image"
#: Views in file names. Some are wrong, and some files have none: the check for frontal radiographs looks at all.
LATERAL = ("ll", "rl", "lat", "lateral")
_VIEWS = {"pa": "PA", "ap": "AP"}
_PERSON = re.compile(r"sub-[A-Za-z0-9]+")
_PART = re.compile(r"_(bp|vp)-([a-z]+)")
_DATE = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)|(\d\d?)\.(\d\d?)\.(\d{4})")
#: Date of a PCR, and whether it was positive.
Pcr = tuple[datetime.date, bool]


def read(folder: Path, name: str, options: Options) -> Iterator[Record]:
    """One record per PNG below ``sub-*/ses-*/mod-rx`` of a participant, in the order of PEOPLE; computed tomography is
    not read. No table lists the images, so their folders are read even where image files are to be ignored."""
    tests = read_tests(tables.first_of(folder, *TESTS))
    for row in tables.read_table(folder / PEOPLE, ("participant",), ("age", "gender")):
        person = row["participant"]
        if not _PERSON.fullmatch(person):  # published: one row is called "derivatives"
            yield Record(
                image_id=f"{NAME}:{person or 'participants'} line {row.line}",
                source=NAME,
                path=f"{name}/",
                left_out=tables.NO_IMAGE,
            )
            continue
        dates = read_dates(folder / person / f"{person}_sessions.tsv")
        for path in sorted((folder / person).glob("ses-*/mod-rx/*.png")):
            session = path.parts[-3]
            yield _record(
                row, f"{name}/{person}/{session}/mod-rx", path.name, dates.get(session), tests.get(person, [])
            )


def read_tests(table: Path) -> dict[str, list[Pcr]]:
    """Participant -> results of PCR tests that say positive or negative, with a date. Tests for antibodies are none."""
    found: dict[str, list[Pcr]] = {}
    for row in tables.read_table(table, ("participant", "date", "test", "result"), counted=False):
        date, result = _date(row["date"]), row["result"].upper()
        if date is not None and row["test"].upper().startswith("PCR") and result in (POSITIVE, NEGATIVE):
            found.setdefault(row["participant"], []).append((date, result == POSITIVE))
    return found


def read_dates(table: Path) -> dict[str, datetime.date]:
    """Session -> date of its study, of those that have one; empty if there is no such table: it is an archive of its
    own, and people may lack it."""
    if not table.is_file():
        return {}
    rows = tables.read_table(table, ("session_id", "study_date"), counted=False)
    return {row["session_id"]: date for row in rows if (date := _date(known(row["study_date"]) or "")) is not None}


def findings_of(study: datetime.date | None, tests: Iterable[Pcr]) -> tuple[tuple[str, ...], str | None]:
    """The finding of an image by the PCR nearest to its study, and the reason for leaving it out if that is negative or
    not near; of two equally near ones, the positive one counts. A negative PCR makes no image normal."""
    if study is None:
        return (), NO_DATE
    near = sorted((abs((date - study).days), not positive) for date, positive in tests)
    if not near or near[0][0] > WINDOW:
        return (), NO_PCR
    return ((), NOT_POSITIVE) if near[0][1] else ((FINDING,), None)


def _record(row: tables.Row, place: str, file: str, study: datetime.date | None, tests: list[Pcr]) -> Record:
    parts = dict(_PART.findall(file))
    findings, reason = findings_of(study, tests)
    if (body := parts.get("bp", "chest")) not in ("chest", "thorax"):
        reason = f"body part is {body}, not chest"
    elif (view := parts.get("vp")) in LATERAL:
        reason = f"view is {view}, not frontal"
    # One age per session, in no order that is published: the youngest.
    ages = [age for part in re.findall(r"[^\[\]',\s]+", row["age"]) if (age := years(part)) is not None]
    return Record(
        image_id=f"{NAME}:{file}",
        source=NAME,
        path=f"{place}/{file}",
        patient_id=f"{NAME}:{row['participant']}",
        findings=findings,
        finding=f"PCR {POSITIVE}" if findings else None,
        view=_VIEWS.get(parts.get("vp", "")),
        age=min(ages, default=None),
        sex=sex(row["gender"]),
        left_out=(tables.BAD_ROW if row.surplus else None) or reason,
    )


def _date(cell: str) -> datetime.date | None:
    """``20200401``, ``2020-04-01`` or ``01.04.2020``."""
    found = _DATE.fullmatch(cell)
    if found is None:
        return None
    year, month, day = found.groups()[:3] if found[1] else found.groups()[:2:-1]
    try:
        return datetime.date(int(year), int(month), int(day))
    except ValueError:
        return None


COLLECTION = Collection(
    NAME,
    ("covid19_posi", "BIMCV-COVID19"),
    read,
    f"iterations 1 to 3: {PEOPLE}, sub-*/sub-*_sessions.tsv, and {' or '.join(TESTS)}",
    merges=True,
    findings=(FINDING,),
)
