"""The collections: one file each, one registry. A new collection is one file, one line here and one test."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise
from operator import attrgetter
from pathlib import Path
from typing import Any

from rich.table import Table

from cxrflow import plugins
from cxrflow.columns import Columns
from cxrflow.errors import CxrflowError, LeftOut
from cxrflow.files import Root
from cxrflow.folders import Search, is_of_the_system
from cxrflow.params import Sources
from cxrflow.records import Record
from cxrflow.sources import (
    actualmed,
    bimcv_covid19,
    chexpert,
    covid_chestxray,
    covidx,
    figure1,
    hannover,
    kermany,
    mimic_cxr_jpg,
    montgomery,
    nih,
    openi,
    padchest,
    radiography,
    rsna,
    shenzhen,
    siim_covid19,
    table,
    tbx11k,
    vindr_cxr,
)
from cxrflow.sources.collection import Collection, Options
from cxrflow.sources.files import Files
from cxrflow.sources.tables import EXTENSIONS as TABLES
from cxrflow.sources.tables import OtherTable
from cxrflow.terminal import console
from cxrflow.text import clean, name_of, name_text

#: Texts of a record that tables write, and that are printed.
_TEXTS = ("image_id", "patient_id", "finding", "view", "url", "left_out")
_texts_of = attrgetter(*_TEXTS)

#: The order matters: of an image in two collections, the copy in the earlier collection is kept.
SOURCES: dict[str, Collection] = {
    collection.name: collection
    for collection in (
        covid_chestxray.COLLECTION,
        figure1.COLLECTION,
        actualmed.COLLECTION,
        hannover.COLLECTION,
        bimcv_covid19.COLLECTION,
        siim_covid19.COLLECTION,
        radiography.COLLECTION,
        kermany.COLLECTION,
        rsna.COLLECTION,
        nih.COLLECTION,
        chexpert.COLLECTION,
        mimic_cxr_jpg.COLLECTION,
        padchest.COLLECTION,
        vindr_cxr.COLLECTION,
        openi.COLLECTION,
        montgomery.COLLECTION,
        shenzhen.COLLECTION,
        tbx11k.COLLECTION,
        covidx.COLLECTION,
        table.COLLECTION,
    )
}


def extra_collections(names: Sequence[str]) -> list[Collection]:
    """The collections of others called so (``sources.extra``, plugins.py).

    Raises CxrflowError as ``plugins.find``, if one has no folder, or a name or folder of another.
    """
    found: list[Collection] = []
    for name in names:
        collection: Collection = plugins.find("sources", name, Collection, "sources.extra")
        if not collection.folders:
            raise CxrflowError(
                f"sources.extra: {name} names no folder by which it is recognised; give its Collection folders."
            )
        for other in (*SOURCES.values(), *found):
            if both := {collection.name, *collection.folders} & {other.name, *other.folders}:
                raise CxrflowError(
                    f"sources.extra: {name} and the collection {other.name} are both called {min(both)}; rename it or "
                    "leave it out."
                )
        found.append(collection)
    return found


def find_collections(
    root: Path,
    wanted: list[str] | None = None,
    columns: Mapping[str, Columns] | None = None,
    extra: Sequence[Collection] = (),
) -> tuple[Path, list[tuple[Collection, str]]]:
    """The collections in the folder ``root``, or ``root`` itself if it is a collection, in the order of SOURCES, then
    of ``extra``.

    The folder of a collection has one of its published names or its name in SOURCES. Any other folder with a table of
    images, labels and patients is a user's own collection (``table.is_own``).

    wanted   names of the collections to return (names in SOURCES, or folder names of a user's own); None for all
    columns  what the parameters say of users' own tables, by the name of the folder
    extra    collections of others (``extra_collections``)
    Returns the folder that holds the collections, and each collection with the name of its folder, as name text.
    Raises CxrflowError if ``root`` does not exist, holds no collection, lacks a wanted one, or holds one twice.
    """
    if not root.is_dir():
        raise CxrflowError(f"{root}: no such folder; name the folder that holds the collections.")
    home, here = root, Path(os.path.abspath(root))  # resolves "." and "..", which have no name
    itself, found = recognise(here, columns, extra), []
    folders: list[Path] = []
    if itself is None or not _is_certain(itself, here, columns):
        folders = [f for f in sorted(root.iterdir()) if not f.name.startswith(".") and not is_of_the_system(f.name)]
        each = ((recognise(folder, columns, extra), folder) for folder in folders)
        found = [(collection, name_text(folder.name)) for collection, folder in each if collection is not None]
    if itself is not None and not found:
        home, found = here.parent, [(itself, name_text(here.name))]
    order = [*SOURCES, *(collection.name for collection in extra)]
    found.sort(key=lambda item: (order.index(item[0].name), item[1]))
    names = [source_name(c, folder) for c, folder in found]
    for name in wanted or ():
        if name not in names:
            there = " or ".join(SOURCES[name].folders) if name in SOURCES else name
            raise CxrflowError(
                f"{root}: collection {name} is not there (expected the folder {there}; found: "
                f"{', '.join(names) or 'none'}); add it, or take it out of sources.collections."
            )
    if not found:
        doubtful = next(
            (path for folder in (root, *folders) if folder.is_dir() for path in table.headers_in(folder)), None
        )
        hint = f" ({name_text(doubtful)} does not say which of its columns these are)" if doubtful else ""
        misspelt = [(name_text(place.name), known) for place in (here, *folders) if (known := meant(place))]
        renamed = "".join(f" {given}: did you mean {known}? Call the folder so." for given, known in misspelt)
        raise CxrflowError(
            f"{root}: no collection found; it should hold folders named as published (`cxrflow sources` lists "
            f"them), or folders of your own with a table of images, labels and patients{hint}; run `cxrflow sources "
            f"{root}` to see what is there.{renamed}"
        )
    kept = [item for item, name in zip(found, names, strict=True) if wanted is None or name in wanted]
    for (before, folder), (collection, other) in pairwise(kept):
        if collection.folders and before is collection:
            raise CxrflowError(
                f"{root}: collection {collection.name} is there twice ({folder}, {other}), perhaps in two versions; "
                "keep one of them there."
            )
    return home, kept


def find_root(sources: Sources) -> Root:
    """Where the paths of records lead. Raises CxrflowError as ``find_collections``."""
    home, _ = find_collections(Path(sources.root), None, sources.columns, extra_collections(sources.extra))
    return Root(home, sources.follow_links)


def passed_over(root: Path, found: list[tuple[Collection, str]]) -> list[str]:
    """Folders in ``root`` that contain a table or an image at any depth, but are not among the collections found, as
    name text."""
    taken = {name_of(folder) for _, folder in found}
    others = [f for f in sorted(root.iterdir()) if f.name not in taken and not f.name.startswith(".") and f.is_dir()]
    return [name_text(f.name) for f in others if not is_of_the_system(f.name) and _has_tables_or_images(f)]


def _has_tables_or_images(folder: Path) -> bool:
    search = Search(follow_links=False)
    return any(True for _ in search.images([folder])) or not set(TABLES).isdisjoint(search.passed_over)


def read_collections(
    root: Path,
    found: list[tuple[Collection, str]],
    options: Options,
    files: dict[str, Files] | None = None,
) -> Iterator[Record]:
    """The records of all collections that ``find_collections`` found, in its order.

    Raises CxrflowError if a table is absent or of a version that the collection's reader does not know, naming both, or
    cannot be read; if there are other collections, it says how to go on with these alone.

    Their paths are name text, of the files that ``Files.find`` finds if image files are there; their other texts hold
    no control characters.

    files  filled with the files of each collection, by the name of its folder
    """
    for collection, folder in found:
        place = root / name_of(folder)
        known = Files(place, options.follow_links) if options.with_files else None
        if known is not None and files is not None:
            files[folder] = known
        try:
            ours = SOURCES.get(collection.name) is collection
            with nullcontext() if ours else plugins.running("sources", collection.name):
                for record in collection.read(place, folder, replace(options, files=known)):
                    yield _printable(_at_its_file(record, folder, known))
        except CxrflowError as error:
            said = str(error.expecting(collection.expects) if isinstance(error, OtherTable) else error)
            others = [source_name(*item) for item in found if item != (collection, folder)]
            hint = (
                f" To go on without it, name the others: sources.collections: [{', '.join(others)}]." if others else ""
            )
            raise CxrflowError(said + hint) from None


def _at_its_file(record: Record, folder: str, files: Files | None) -> Record:
    listed, left_out = record.path.removeprefix(f"{folder}/"), record.left_out
    try:
        found = listed.replace("\\", "/") if files is None else files.find(listed)
    except LeftOut as reason:
        found, left_out = listed, left_out or str(reason)
    path = f"{folder}/{name_text(found)}"
    return (
        record if path == record.path and left_out == record.left_out else replace(record, path=path, left_out=left_out)
    )


def _printable(record: Record) -> Record:
    """The record without control characters, which would act on terminals and break lines of tables."""
    if "".join(filter(None, _texts_of(record))).isprintable():
        return record
    texts: dict[str, Any] = {name: clean(text) for name in _TEXTS if (text := getattr(record, name)) is not None}
    return replace(record, **texts)


def source_name(collection: Collection, folder: str) -> str:
    """The name of a collection in records and figures; for a user's own, the name of its folder."""
    return collection.name if collection.folders else folder


def print_sources() -> None:
    """Print the registered collections and the names of their folders."""
    shown = Table("collection", "folder")
    for collection in SOURCES.values():
        shown.add_row(
            collection.name, "\n".join(collection.folders) or "any, with a table of images, labels and patients"
        )
    console().print(shown)


def recognise(
    folder: Path, columns: Mapping[str, Columns] | None = None, extra: Sequence[Collection] = ()
) -> Collection | None:
    """The collection that a folder is, or None. Arguments as of ``find_collections``."""
    if not folder.is_dir():
        return None
    for collection in (*SOURCES.values(), *extra):
        if collection.folders and folder.name in (*collection.folders, collection.name):
            return collection
    try:
        return table.COLLECTION if table.is_own(folder, _named(folder, columns)) else None
    except PermissionError:  # such as lost+found; ``passed_over`` names it
        return None


def meant(folder: Path) -> str | None:
    """The published folder name that a folder's differs from in capitals, hyphens, underscores or spaces alone; None if
    there is none."""
    published = {_plain(name): name for collection in SOURCES.values() for name in collection.folders}
    return published.get(_plain(folder.name))


def _plain(name: str) -> str:
    return "".join(character for character in name.casefold() if character not in "-_ ")


def _is_certain(collection: Collection, folder: Path, columns: Mapping[str, Columns] | None) -> bool:
    """Whether a folder is this collection even if folders in it are collections, too: not because of a table that lacks
    a column, nor of its name alone."""
    if collection.folders:
        return not holds_published(folder)
    return table.is_own(folder, _named(folder, columns), lacking=0)


def holds_published(folder: Path) -> bool:
    """Whether a folder has no table, but a folder with the published name of a collection: ``nih/nih-chestxray14``. One
    of its own name does not count (Kermany's archive)."""
    published = {name for collection in SOURCES.values() for name in collection.folders} - {folder.name}
    inside = list(folder.iterdir())
    return any(path.name in published and path.is_dir() for path in inside) and not any(
        path.name.lower().endswith((*TABLES, ".gz")) for path in inside
    )


def _named(folder: Path, columns: Mapping[str, Columns] | None) -> Columns | None:
    return (columns or {}).get(name_text(folder.name))
