"""What a collection is to the pipeline."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cxrflow.records import Record


@dataclass(frozen=True, slots=True)
class Collection:
    """One public collection, or the layout of a user's own.

    name     as in parameters, records and figures
    folder   the name under which it is published, or None for a user's own, recognised by its table
    read     (folder, name of the folder, whether image files are at hand) -> one record per image that it lists;
             paths in records start with the name of the folder.
             Raises CxrflowError where a table or a column is missing.
    """

    name: str
    folder: str | None
    read: Callable[[Path, str, bool], list[Record]]
