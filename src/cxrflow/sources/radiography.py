"""COVID-19 Radiography Database, version 1 (Chowdhury et al. 2020): three Excel tables, three folders.

Its NORMAL and Viral Pneumonia images are those of Kermany et al. 2018, children of one to five years; many of its
COVID-19 images were taken from the pages that covid-chestxray-dataset took them from.
"""

import re
from pathlib import Path

from cxrflow.records import Record
from cxrflow.sources import tables
from cxrflow.sources.collection import Collection

NAME = "radiography"
#: Folder -> table, label, paediatric. The second word of the last table is the publishers' own spelling.
FOLDERS = {
    "COVID-19": ("COVID-19.metadata.xlsx", "covid", False),
    "NORMAL": ("NORMAL.metadata.xlsx", "normal", True),
    "Viral Pneumonia": ("Viral Pneumonia.matadata.xlsx", "pneumonia", True),
}
#: COVID-19 images that the authors of COVID-Net discard from this collection (facts: label rules).
DISCARDED = {*range(100, 107), *range(110, 114), *range(122, 127), 217}


def read(folder: Path, name: str, with_files: bool) -> list[Record]:
    """One record per row of the three tables."""
    records = []
    for kind, (table, label, paediatric) in FOLDERS.items():
        there = {path.name for path in (folder / kind).iterdir()} if (folder / kind).is_dir() else set()
        for line, row in enumerate(tables.read_xlsx(folder / table, ("FILE NAME", "URL")), start=2):
            listed = row["FILE NAME"]
            found = re.search(r"(\d+)\)?$", listed)
            number = int(found[1]) if found else 0
            # "NORMAL-1" in the table is "NORMAL (1).png" in the folder; COVID-19 ones come with and without the space.
            names = [f"{kind} ({number}).png", f"{kind}({number}).png"] if found else [f"{listed}.png"]
            file = next((n for n in names if n in there), names[0])
            reason = None
            if kind == "COVID-19" and number in DISCARDED:
                reason = "discarded by the authors of COVID-Net"
            records.append(
                Record(
                    image_id=f"{NAME}:{listed or f'{kind} line {line}'}",
                    source=NAME,
                    path=f"{name}/{kind}/{file}",
                    # The patients are not published. A page of COVID-19 images is a case report: they are taken for
                    # one person's, since two of them on two sides of the split would be a leak.
                    patient_id=f"{NAME}:{row['URL']}" if kind == "COVID-19" and row["URL"] else None,
                    label=label,
                    finding=kind,
                    url=row["URL"] or None,
                    paediatric=paediatric,
                    left_out=tables.problem(row, listed) or reason,
                )
            )
    return records


COLLECTION = Collection(NAME, "COVID-19-Radiography-Database", read)
