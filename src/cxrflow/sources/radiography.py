"""COVID-19 Radiography Database (Chowdhury et al. 2020, IEEE Access 8: 132665; Rahman et al. 2020, arXiv:2012.02238),
versions 1 to 5: a table and a folder for each class.

It collects others' images. Its viral pneumonia, and the normal images of versions 1 to 3, come from Kermany et al. 2018
and show children aged one to five. Versions 4 and 5 add normal and lung opacity images of RSNA, whose numbers they do
not give: near repeats join them to RSNA's and Kermany's own. Many of its COVID-19 images come from the same web pages
as those of covid-chestxray-dataset.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cxrflow.records import Record
from cxrflow.sources import rsna, tables
from cxrflow.sources.cells import known
from cxrflow.sources.collection import Collection, Options
from cxrflow.sources.files import compared

NAME = "radiography"


@dataclass(frozen=True, slots=True)
class _Kind:
    """A class of the database.

    folder    of its images; from version 5 on, they are in ``images`` below it, beside ``masks``
    table     its name
    findings  of its images
    """

    folder: str
    table: str
    findings: tuple[str, ...]


_COVID, _NORMAL, _VIRAL = ("pneumonia/viral/covid-19",), ("no finding",), ("pneumonia/viral",)
#: Version 1; "matadata" is the published spelling.
FIRST = (
    _Kind("COVID-19", "COVID-19.metadata.xlsx", _COVID),
    _Kind("NORMAL", "NORMAL.metadata.xlsx", _NORMAL),
    _Kind("Viral Pneumonia", "Viral Pneumonia.matadata.xlsx", _VIRAL),
)
#: Later versions; versions 2 and 3 have no lung opacity, and write NORMAL.
LATER = (
    _Kind("COVID", "COVID.metadata.xlsx", _COVID),
    _Kind("Lung_Opacity", "Lung_Opacity.metadata.xlsx", rsna.TARGET),
    _Kind("Normal", "Normal.metadata.xlsx", _NORMAL),
    _Kind("Viral Pneumonia", "Viral Pneumonia.metadata.xlsx", _VIRAL),
)
#: Numbers of the COVID-19 images of version 1 that the authors of COVID-Net discard.
DISCARDED = {*range(100, 107), *range(110, 114), *range(122, 127), 217}
#: The number at the end of a row's name, perhaps in brackets.
_NUMBER = re.compile(r"(?<!\d)(\d{1,9})\)?$")


def read(folder: Path, name: str, options: Options) -> Iterator[Record]:
    """One record per row of the tables: those of LATER if its table or folder of COVID-19 is there and not that of
    FIRST, else those of FIRST."""
    names = {_spelt(path.name): path.name for path in folder.iterdir()}
    later, of_first = ({_spelt(kinds[0].table), _spelt(kinds[0].folder)} for kinds in (LATER, FIRST))
    first = _spelt(LATER[0].table) not in names and (later.isdisjoint(names) or not of_first.isdisjoint(names))
    for kind in FIRST if first else LATER:
        if kind.findings == rsna.TARGET and names.keys().isdisjoint((_spelt(kind.folder), _spelt(kind.table))):
            continue
        table, place = (names.get(_spelt(part), part) for part in (kind.table, kind.folder))
        there = next((place + end for end in ("/images", "") if (folder / (place + end)).is_dir()), None)
        files = {compared(path.name): path.name for path in (folder / there).iterdir()} if there else {}
        for row in tables.read_table(folder / table, ("FILE NAME", "URL")):
            yield _record(row, kind, f"{name}/{there or place}", files, first)


def read_patients(folder: Path) -> dict[str, str]:
    """Name of an image of COVID-19 of version 1, without spaces -> its person (see ``_record``); empty for the later
    versions, which do not tell people apart."""
    names = {_spelt(path.name): path.name for path in folder.iterdir()}
    table = names.get(_spelt(FIRST[0].table))
    if table is None or _spelt(LATER[0].table) in names:
        return {}
    rows = tables.read_table(folder / table, ("FILE NAME", "URL"), counted=False)
    return {"".join(row["FILE NAME"].split()): f"{NAME}:{url}" for row in rows if (url := known(row["URL"]))}


def _spelt(name: str) -> str:
    """A name for comparison: spelt as ``files.compared`` does, and without the misprint "matadata" of version 1."""
    return compared(name).replace("matadata", "metadata")


def _record(row: tables.Row, kind: _Kind, place: str, files: dict[str, str], first: bool) -> Record:
    """The record of a row.

    place  folder of the images
    files  their names, by how they compare
    first  whether it is a row of version 1
    """
    listed, url = row["FILE NAME"], known(row["URL"])
    found = _NUMBER.search(listed)
    number = int(found[1]) if found else 0
    # Versions 1 to 3 call a row "NORMAL-1" or "COVID 1" and its file "NORMAL (1).png"; some files lack the space.
    numbered = [f"{kind.folder} ({number}).png", f"{kind.folder}({number}).png"] if found else []
    names = [*numbered, f"{listed}.png"] if first else [f"{listed}.png", *numbered]
    file = next((files[key] for name in names if (key := compared(name)) in files), names[0])
    patient, reason, children = None, None, kind.findings == _VIRAL
    if kind.findings == _NORMAL:
        children = "rsna" not in (url or "").lower()
    elif kind.findings == _COVID and first:
        # Patient ids are not published. The URL is usually that of a case report, so its images count as one patient's;
        # split across sides, they would be a leak. Later versions give the address of a whole collection instead.
        patient = f"{NAME}:{url}" if url else None
        reason = "discarded by the authors of COVID-Net" if number in DISCARDED else None
    return Record(
        image_id=f"{NAME}:{listed or f'{kind.folder} line {row.line}'}",
        source=NAME,
        path=f"{place}/{file}",
        patient_id=patient,
        findings=kind.findings,
        finding=kind.folder,
        url=url,
        paediatric=children,
        left_out=tables.problem(row, listed) or reason,
    )


COLLECTION = Collection(
    NAME,
    ("COVID-19-Radiography-Database", "COVID-19 Radiography Database", "COVID-19_Radiography_Dataset"),
    read,
    f"version 1 with {', '.join(kind.table for kind in FIRST)}; or a later one with "
    f"{', '.join(kind.table for kind in LATER)}",
    findings=tuple(dict.fromkeys(finding for kind in (*FIRST, *LATER) for finding in kind.findings)),
)
