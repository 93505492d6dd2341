"""Recognises images that a bundle was trained or validated on, among those that it is asked about.

evaluation/seen.py leaves such images out of test sets, with patients, groups and cropped copies, too; here one image is
compared, and the table is read without pandas.
"""

import csv
import hashlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrflow.errors import CxrflowError
from cxrflow.images.file import PreparedFile
from cxrflow.metadata.near_hash import DIGITS, matches, signs
from cxrflow.state import read_bytes

#: Texts of the flags.
SAME_FILE = "was used to train or validate the bundle: its score says nothing about new images"
SAME_PICTURE = (
    "shows the same picture as one that was used to train or validate the bundle: its score says nothing about new "
    "images"
)
_HASHES = {"content_hash": re.compile("[0-9a-f]{64}|"), "near_hash": re.compile("[0-9a-f]*")}
_RESTORE = "train the bundle again or restore the file"


@dataclass(frozen=True, eq=False)
class TrainedOn:
    """What a bundle keeps of the images that it was trained or validated on.

    files     SHA-256 of each file
    pictures  near hash of each (metadata/near_hash.py), as signs: float32 (n, places)
    """

    files: frozenset[bytes]
    pictures: NDArray[np.float32]

    def flags(self, several: Sequence[PreparedFile]) -> list[str | None]:
        """For each image one of the flags, or None if it is none of these images."""
        same = matches(np.array([file.contrast for file in several]), self.pictures) if several else ()
        return [
            SAME_FILE if bytes.fromhex(file.sha256) in self.files else SAME_PICTURE if is_same else None
            for file, is_same in zip(several, same, strict=True)
        ]


def read_trained_on(path: Path, sha256: str | None) -> TrainedOn | None:
    """The table of a bundle (bundle_files.TRAINED_ON); None if there is none: nothing is recognised then.

    sha256  its digest, as the bundle's description has it
    Raises CxrflowError if the table is damaged or not the one that was written with the bundle.
    """
    if not path.exists():
        return None
    content = read_bytes(path, _RESTORE)
    if sha256 not in (None, hashlib.sha256(content).hexdigest()):
        raise CxrflowError(f"{path}: not the table that was written with the weights; {_RESTORE}.")
    columns: dict[str, set[str]] = {name: set() for name in _HASHES}
    try:
        for row in csv.DictReader(io.StringIO(content.decode(), newline="")):
            for name, hashes in columns.items():
                hashes.add(_hash(row, name))
    except (ValueError, csv.Error):  # UnicodeDecodeError is a ValueError
        raise CxrflowError(f"{path}: damaged, not a table of hashes; {_RESTORE}.") from None
    files = frozenset(bytes.fromhex(each) for each in columns["content_hash"] if each)
    return TrainedOn(files, signs(sorted(each for each in columns["near_hash"] if len(each) == DIGITS)))


def _hash(row: dict[str, Any], name: str) -> str:
    if not isinstance(value := row.get(name), str) or not _HASHES[name].fullmatch(value):
        raise ValueError(name)
    return value
