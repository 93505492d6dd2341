"""The collections: one file each, one registry. A new collection is one file, one line here and one test."""

import os
from pathlib import Path

from cxrflow.errors import CxrflowError
from cxrflow.reading import ENDINGS
from cxrflow.records import Record
from cxrflow.sources import actualmed, covid_chestxray, figure1, nih, radiography, rsna, table
from cxrflow.sources.collection import Collection

#: In this order: where two collections hold the same image, the earlier one keeps it.
SOURCES: dict[str, Collection] = {
    collection.name: collection
    for collection in (
        covid_chestxray.COLLECTION,
        figure1.COLLECTION,
        actualmed.COLLECTION,
        radiography.COLLECTION,
        rsna.COLLECTION,
        nih.COLLECTION,
        table.COLLECTION,
    )
}


def find_collections(root: Path, wanted: list[str] | None = None) -> tuple[Path, list[tuple[Collection, str]]]:
    """The collections below ``root``, or ``root`` itself where it is one, in the order of SOURCES.

    A collection lies in a folder of its published name or of its name in SOURCES; any other folder with a table of
    ``path``, ``label`` and ``patient`` is a user's own. ``wanted`` keeps only those named (by SOURCES, or by the
    folder for a user's own).

    Returns the folder that holds them and, for each, the collection and its folder's name.
    Raises CxrflowError where ``root`` is absent, holds none, or lacks a wanted one.
    """
    if not root.is_dir():
        raise CxrflowError(f"{root}: no such folder; name the folder that holds the collections.")
    home, here = root, Path(os.path.abspath(root))  # "." and ".." have no name
    if (itself := _recognise(here)) is not None:
        home, found = here.parent, [(itself, here.name)]
    else:
        found = [(c, folder.name) for folder in sorted(root.iterdir()) if (c := _recognise(folder)) is not None]
    order = list(SOURCES)
    found.sort(key=lambda item: (order.index(item[0].name), item[1]))
    names = [source_name(c, folder) for c, folder in found]
    for name in wanted or ():
        if name not in names:
            there = SOURCES[name].folder if name in SOURCES else name
            raise CxrflowError(
                f"{root}: collection {name} is not there (expected the folder {there}; found: "
                f"{', '.join(names) or 'none'}); add it, or take it out of sources.collections."
            )
    if not found:
        known = ", ".join(c.folder for c in SOURCES.values() if c.folder)
        raise CxrflowError(
            f"{root}: no collection found; it should hold folders named as published ({known}), or folders of "
            "your own with a CSV table of the columns path, label, patient."
        )
    return home, [item for item, name in zip(found, names, strict=True) if wanted is None or name in wanted]


def passed_over(root: Path, found: list[tuple[Collection, str]]) -> list[str]:
    """Folders below ``root`` that hold a table or an image, at any depth, and are none of the collections found."""
    taken = {folder for _, folder in found}
    others = [f for f in sorted(root.iterdir()) if f.is_dir() and f.name not in taken and not f.name.startswith(".")]
    return [f.name for f in others if any(p.suffix.lower() in (".csv", ".xlsx", *ENDINGS) for p in f.rglob("*"))]


def read_collections(root: Path, found: list[tuple[Collection, str]], with_files: bool) -> list[Record]:
    """The records of all collections that ``find_collections`` found, in its order."""
    return [record for c, folder in found for record in c.read(root / folder, folder, with_files)]


def source_name(collection: Collection, folder: str) -> str:
    """The name of a collection in records and figures: a user's own is called after its folder."""
    return collection.name if collection.folder else folder


def _recognise(folder: Path) -> Collection | None:
    if not folder.is_dir():
        return None
    for collection in SOURCES.values():
        if collection.folder and folder.name in (collection.folder, collection.name):
            return collection
    return table.COLLECTION if table.find_table(folder) else None
