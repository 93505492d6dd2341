"""The ledger counts the looks at each test set, that is, how often it was scored: the best of many looks is optimistic.

It is an append-only CSV file with a row for each look (Dwork et al., Science 2015; 349: 636-638, on how reuse of a
held-out set leads to overfitting it).
"""

import csv
import io
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from filelock import FileLock

from cxrflow.errors import CxrflowError
from cxrflow.files import digest, write_whole
from cxrflow.state import read_bytes

#: The ledger beside the figures of the evaluation stage.
LEDGER = "ledger.csv"
COLUMNS = ["when", "bundle", "test_set_hash"]


class Look(NamedTuple):
    """A row of the ledger: the time (ISO 8601), hash or name of the bundle, and hash of the test set."""

    when: str
    bundle: str
    test_set: str


def test_set_hash(table: pd.DataFrame) -> str:
    """SHA-256 (hexadecimal) of the images and labels of a test set, in any order.

    table: label, and content_hash, or image_id where the hash is unknown.
    """
    images = table["image_id"]
    if "content_hash" in table:
        images = table["content_hash"].where(table["content_hash"].notna(), images)
    return digest(sorted(zip(images.astype(str), table["label"].astype(str), strict=True)))


test_set_hash.__test__ = False  # type: ignore[attr-defined]  # pytest would take it for a test


def enter(ledger: Path, bundle: str, test_set: str) -> None:
    """Record a look of ``bundle`` (hash or name) at ``test_set`` (its ``test_set_hash``), with the current time.

    The file is replaced atomically, so that a killed run leaves the old one. Raises CxrflowError if the ledger is
    damaged.
    """
    ledger.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(ledger.with_name(f".{ledger.name}.lock")):  # two runs at once would each add to the same old rows
        rows = _rows(ledger)
        rows.append([datetime.now(UTC).isoformat(timespec="seconds"), bundle, test_set])
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([COLUMNS, *rows])
        write_whole(ledger, text.getvalue().encode())


def times_looked_at(ledger: Path, test_set: str) -> int:
    """Number of looks at ``test_set``, 0 without a ledger; raises CxrflowError if the ledger is damaged."""
    return sum(row[2] == test_set for row in _rows(ledger))


def looks_in(ledger: Path) -> Counter[Look]:
    """All looks, of all test sets, with the number of equal rows, which were entered within one second; empty without a
    ledger. Raises CxrflowError if the ledger is damaged."""
    return Counter(Look(*row) for row in _rows(ledger))


def _rows(ledger: Path) -> list[list[str]]:
    if not ledger.exists():
        return []
    try:
        content = read_bytes(ledger, "restore it").decode()
        header, *rows = csv.reader(io.StringIO(content), strict=True)
        for when, _, _ in rows:
            datetime.fromisoformat(when)
        if header != COLUMNS or not content.endswith("\n"):  # cut by what copied it
            raise ValueError(header)
    except (CxrflowError, OSError, ValueError, csv.Error):
        raise CxrflowError(
            f"{ledger}: damaged, expected rows of {', '.join(COLUMNS)}; restore it from version "
            "control, or remove it to restart the count of looks."
        ) from None
    return rows
