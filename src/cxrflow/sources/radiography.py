"""COVID-19 Radiography Database, version 1 (Chowdhury et al. 2020, IEEE Access 8: 132665): three tables, three folders.

Its NORMAL and Viral Pneumonia images come from Kermany et al. 2018 and show children aged one to five. Many of its
COVID-19 images come from the same web pages as those of covid-chestxray-dataset.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from cxrflow.records import Record
from cxrflow.sources import tables
from cxrflow.sources.cells import known
from cxrflow.sources.collection import Collection, Options

NAME = "radiography"
#: Folder -> finding.
PUBLISHED = {"COVID-19": "pneumonia/viral/covid-19", "NORMAL": "no finding", "Viral Pneumonia": "pneumonia/viral"}
#: Folder -> table; "matadata" is the published spelling.
TABLES = {
    "COVID-19": "COVID-19.metadata.xlsx",
    "NORMAL": "NORMAL.metadata.xlsx",
    "Viral Pneumonia": "Viral Pneumonia.matadata.xlsx",
}
PAEDIATRIC = {"NORMAL", "Viral Pneumonia"}
#: Numbers of the COVID-19 images in this collection that the authors of COVID-Net discard.
DISCARDED = {*range(100, 107), *range(110, 114), *range(122, 127), 217}


def read(folder: Path, name: str, options: Options) -> Iterator[Record]:
    """One record per row of the three tables."""
    for kind, table in TABLES.items():
        there = {path.name for path in (folder / kind).iterdir()} if (folder / kind).is_dir() else set()
        for row in tables.read_table(folder / table, ("FILE NAME", "URL")):
            listed, url = row["FILE NAME"], known(row["URL"])
            found = re.search(r"(\d+)\)?$", listed)
            number = int(found[1]) if found else 0
            # "NORMAL-1" in the table is the file "NORMAL (1).png"; COVID-19 files exist with and without the space.
            names = [f"{kind} ({number}).png", f"{kind}({number}).png"] if found else [f"{listed}.png"]
            file = next((n for n in names if n in there), names[0])
            reason = None
            if kind == "COVID-19" and number in DISCARDED:
                reason = "discarded by the authors of COVID-Net"
            yield Record(
                image_id=f"{NAME}:{listed or f'{kind} line {row.line}'}",
                source=NAME,
                path=f"{name}/{kind}/{file}",
                # Patient ids are not published. A web page with COVID-19 images is usually a case report, so its
                # images count as one patient's; split across sides, they would be a leak.
                patient_id=f"{NAME}:{url}" if kind == "COVID-19" and url else None,
                findings=(PUBLISHED[kind],),
                finding=kind,
                url=url,
                paediatric=kind in PAEDIATRIC,
                left_out=tables.problem(row, listed) or reason,
            )


COLLECTION = Collection(NAME, ("COVID-19-Radiography-Database",), read, "the three tables of version 1")
