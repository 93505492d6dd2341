"""The contract of a source: a collection and the function that reads it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cxrflow.columns import Columns
from cxrflow.records import Record
from cxrflow.sources.account import Account
from cxrflow.sources.files import Files
from cxrflow.sources.words import finding_of


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
    """

    with_files: bool = True
    finding_named: Callable[[str], str | None] = finding_of
    follow_links: bool = False
    rsna_without_patients: Literal["stop", "accept"] = "stop"
    columns: Mapping[str, Columns] = field(default_factory=dict)
    files: Files | None = None
    accounts: dict[str, Account] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Collection:
    """One public collection, or the layout of a user's own.

    name     its name in parameters, records and figures
    folder   name of its folder as published; None for a user's own, which is recognised by its table
    read     (folder, name of the folder, options) -> one record per listed image, with findings but without a label;
             paths in records start with the name of the folder.
             Raises CxrflowError if a table or a column is missing.
    merges   whether several rows of its tables may be one image; if not, the run checks that they are as many
    """

    name: str
    folder: str | None
    read: Callable[[Path, str, Options], Iterable[Record]]
    merges: bool = False
