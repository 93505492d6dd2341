"""The contract of a source: a collection and the function that reads it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cxrflow.columns import Columns
from cxrflow.errors import CxrflowError
from cxrflow.records import Record
from cxrflow.sources.account import Account
from cxrflow.sources.files import Files
from cxrflow.sources.words import finding_of
from cxrflow.text import name_text


@dataclass(frozen=True, slots=True)
class Options:
    """How the collections are read.

    with_files             whether image files are there
    finding_named          label in a user's own table -> finding, or None if unknown
    follow_links           whether links may lead out of a collection's folder
    rsna_without_patients  stop, or accept RSNA images of unknown patients
    columns                of users' own tables, by the name of the folder (``sources.columns``)
    files                  of the collection; None if image files are not there
    accounts               filled with what was read of users' own tables, by the name of the folder
    unread                 filled with what of the published tables was not read, in sentences
    extra                  collections of others (``sources.extra``)
    """

    with_files: bool = True
    finding_named: Callable[[str], str | None] = finding_of
    follow_links: bool = False
    rsna_without_patients: Literal["stop", "accept"] = "stop"
    columns: Mapping[str, Columns] = field(default_factory=dict)
    files: Files | None = None
    accounts: dict[str, Account] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)
    extra: Sequence["Collection"] = ()

    def place(self, name: str, folders: Sequence[str]) -> str:
        """``<folder>/<name>``, with the first of the collection's folders (``""`` for itself) that holds the file; with
        the first of all if none does, or image files are not there.

        For images that a collection distributes in parts: each folder is listed once, so this costs no file access.
        """
        paths = (f"{folder.strip('/')}/{name}".lstrip("/") for folder in folders)
        first = next(paths)
        if self.files is None or not name or self.files.holds(first):
            return first
        return next((path for path in paths if self.files.holds(path)), first)


@dataclass(frozen=True, slots=True)
class Collection:
    """One public collection, or the layout of a user's own.

    name      its name in parameters, records and figures
    folders   names of its folder as published, one for each version that has a name of its own; empty for a user's own,
              which is recognised by its table
    read      (folder, name of the folder, options) -> one record per listed image, with findings but without a label;
              paths in records start with the name of the folder.
              Raises CxrflowError if a table or a column is missing.
    expects   the versions and layouts that ``read`` reads, in words, for the error about a table of another one
    merges    whether several rows of its tables may be one image; if not, the run checks that they are as many
    findings  all that its images can have; empty for a user's own, whose table decides
    """

    name: str
    folders: tuple[str, ...]
    read: Callable[[Path, str, Options], Iterable[Record]]
    expects: str = ""
    merges: bool = False
    findings: tuple[str, ...] = ()

    def beside(self, folder: Path) -> Path | None:
        """The folder of this collection beside that of another; None if there is none."""
        places = (folder.parent / name for name in (*self.folders, self.name))
        return next((place for place in places if place.is_dir()), None)


def no_images(folder: Path, expects: str) -> CxrflowError:
    """The error about a collection without a table whose folders are not there.

    expects  as of Collection
    """
    found = ", ".join(sorted(name_text(path.name) for path in folder.iterdir())[:20]) or "nothing"
    return CxrflowError(
        f"{folder}: no images (expected: {expects}; found: {found}); put the folders there as published."
    )
