"""The contract of a source: a collection and the function that reads it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cxrflow.records import Record


@dataclass(frozen=True, slots=True)
class Collection:
    """One public collection, or the layout of a user's own.

    name     its name in parameters, records and figures
    folder   name of its folder as published; None for a user's own, which is recognised by its table
    read     (folder, name of the folder, whether image files are there) -> one record per listed image, with findings
             but without a label; paths in records start with the name of the folder.
             Raises CxrflowError if a table or a column is missing.
    """

    name: str
    folder: str | None
    read: Callable[[Path, str, bool], list[Record]]
