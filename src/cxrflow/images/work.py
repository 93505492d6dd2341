"""Work in progress: the arrays of a store that is not complete, from which an interrupted run resumes."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from cxrflow.errors import CxrflowError
from cxrflow.files import remove, write_json, write_whole
from cxrflow.images.rows import Rows
from cxrflow.images.steps import Prepared, Window
from cxrflow.params import Images
from cxrflow.state import read_json

JOURNAL, BEGUN = "journal.jsonl", "begun.json"


class Work:
    """Arrays in progress.

    A row is finished when its line is in the journal. The line is written after the pixels, so a finished row is always
    complete, even after a kill. A line holds the row, the reason for leaving it out or null, and its window or null.
    """

    def __init__(self, count: int, arrays: dict[str, Rows], journal: IO[str]) -> None:
        self._arrays, self._journal = arrays, journal
        self.finished = np.zeros(count, dtype=bool)
        self._windows = np.zeros((count, len(Window._fields)), dtype=np.int32)
        self._reasons: dict[int, str] = {}
        journal.seek(0)
        for line in journal:
            self._remember(*json.loads(line))
        # Another limit, or a file that is there again, may give an image now.
        self.finished[list(self._reasons)] = False
        self._reasons.clear()

    def add(self, row: int, result: Prepared | str) -> None:
        """Store the result of a row: the prepared image, or the reason for leaving it out."""
        if isinstance(result, str):
            self._note(row, result, None)
        else:
            self.copy(row, {"images": result.image, "lungs": result.lungs}, result.window)

    def copy(self, row: int, pictures: dict[str, Any], window: Sequence[int]) -> None:
        """Write image and lung mask of a row."""
        for name, array in self._arrays.items():
            array.write(row, pictures[name])
        self._note(row, None, window)

    def notes(self) -> pd.DataFrame:
        """The index columns of all rows: left_out, and the fields of Window."""
        notes = pd.DataFrame(self._windows, columns=Window._fields).astype("Int64")
        reasons = pd.Series(self._reasons, dtype=object).reindex(notes.index)
        notes[reasons.notna()] = pd.NA
        notes.insert(0, "left_out", reasons)
        return notes

    def _note(self, row: int, reason: str | None, window: Sequence[int] | None) -> None:
        self._journal.write(json.dumps([row, reason, window]) + "\n")
        self._journal.flush()
        self._remember(row, reason, window)

    def _remember(self, row: int, reason: str | None, window: Sequence[int] | None) -> None:
        if not 0 <= row < len(self.finished) or (reason is None) == (window is None):
            raise ValueError(f"row {row} is not part of the work")
        self.finished[row] = True
        if reason is not None:
            self._reasons[row] = reason
        elif window is not None:
            self._windows[row] = window


@contextmanager
def open_work(folder: Path, index: pd.DataFrame, key: str, steps: Images) -> Iterator[Work]:
    """The work in progress; restarted if it was for other images or steps."""
    wanted = hashlib.sha256(key.encode())
    for row in zip(index.image_id, index.content_hash, strict=True):
        wanted.update(repr(row).encode())
    kinds = {"images": np.uint8} | ({} if steps.lungs == "none" else {"lungs": np.bool_})
    shape = (len(index), steps.size, steps.size)
    with ExitStack() as stack:
        if _key_of(folder / BEGUN) != wanted.hexdigest():
            _begin(folder, shape, kinds, wanted.hexdigest())
        try:
            work = _resume(folder, shape, kinds, stack)
        except (OSError, ValueError, TypeError, EOFError, RecursionError):  # damaged since
            _begin(folder, shape, kinds, wanted.hexdigest())
            work = _resume(folder, shape, kinds, stack)
        yield work


def _begin(folder: Path, shape: tuple[int, int, int], kinds: Mapping[str, type], key: str) -> None:
    """Arrays full of 0 and an empty journal, in place of whatever is there."""
    remove(folder / BEGUN)  # first, so that after a kill the work restarts
    remove(folder)
    folder.mkdir(parents=True)
    for name, kind in kinds.items():
        Rows.create(folder / f"{name}.npy", shape, kind)
    (folder / JOURNAL).touch()
    write_json(folder / BEGUN, {"key": key})


def _resume(folder: Path, shape: tuple[int, int, int], kinds: Mapping[str, type], stack: ExitStack) -> Work:
    """The work so far. Raises OSError, ValueError, TypeError, EOFError or RecursionError if it is damaged."""
    journal = folder / JOURNAL
    whole, end, cut_short = journal.read_text(encoding="utf-8").rpartition("\n")
    if cut_short:  # by a kill
        write_whole(journal, (whole + end).encode())
    arrays = {name: stack.enter_context(Rows(folder / f"{name}.npy", writable=True)) for name in kinds}
    if any((array.shape, array.dtype) != (shape, kinds[name]) for name, array in arrays.items()):
        raise ValueError("arrays of another shape or type")
    return Work(shape[0], arrays, stack.enter_context(journal.open("a+", encoding="utf-8")))


def _key_of(file: Path) -> str | None:
    try:
        key: str | None = read_json(file, "it is made again").get("key")
    except (CxrflowError, OSError):
        return None
    return key
