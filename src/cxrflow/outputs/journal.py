"""Journal of a running prediction: its results on disk, so that an interrupted one can resume and memory holds none."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from cxrflow.files import digest, refused
from cxrflow.folders import Found
from cxrflow.result import Result
from cxrflow.text import name_text

#: Characters of the output's name in that of its journal, which may have 255 bytes.
_NAME = 60


class Journal:
    """A line for each file, in their order: a digest of its path, size and time of change, what was made of it or could
    not be, and its result as JSON, with tabs between. The first line is the key of the prediction. Digests, because a
    path may hold a patient's name."""

    def __init__(self, file: IO[bytes], key: str) -> None:
        self._file = file
        self._first = key.encode() + b"\n"

    def resume(self, states: Sequence[str]) -> tuple[int, int]:
        """The number of files, from the first on, whose results it holds, and the number of results that it discards:
        all after the first that is damaged or of a file in another state, and all if the key differs.

        states  of the files of this prediction, as ``state_of``
        """
        self._file.seek(0)
        kept = discarded = end = 0
        if self._file.readline() == self._first:
            end = self._file.tell()
            for line in self._file:
                if discarded or kept == len(states) or not _is_whole(line, states[kept]):
                    discarded += 1
                else:
                    kept, end = kept + 1, end + len(line)
        else:
            discarded = sum(1 for _ in self._file)
        self._file.seek(end)
        self._file.truncate()
        if end == 0:
            self._file.write(self._first)
        return kept, discarded

    def add(self, state: str, result: Result, notes: Sequence[str] = ()) -> None:
        """Note the result of the next file, which was in ``state`` before it was read, and what was made of it or could
        not be made: words, one for each."""
        self._file.write("\t".join((state, ",".join(notes), result.model_dump_json())).encode() + b"\n")
        self._file.flush()

    def noted(self) -> Counter[str]:
        """How often each word of ``add`` was noted."""
        self._file.seek(len(self._first))
        return Counter(word.decode() for line in self._file for word in _parts(line)[1].split(b",") if word)

    def results(self) -> Iterator[Result]:
        """All results so far, read from disk; their ``look`` is None."""
        self._file.seek(len(self._first))
        for line in self._file:
            yield _result(line)

    def by_study(self) -> Iterator[list[Result]]:
        """All results so far, as ``results``, those of a study together; of an image without study, it alone. Studies
        stand in the order of their first images."""
        places: dict[str, list[int]] = {}
        self._file.seek(len(self._first))
        at = self._file.tell()
        for line in self._file:
            result = _result(line)
            places.setdefault(result.study or f"{result.image} {at}", []).append(at)
            at += len(line)
        for several in places.values():
            yield [self._result_at(place) for place in several]

    def _result_at(self, place: int) -> Result:
        self._file.seek(place)
        return _result(self._file.readline())


@contextmanager
def open_journal(out: Path, key: str) -> Iterator[Journal]:
    """The journal beside the file ``out`` of a prediction, ``.<name>.partial``, which only its owner can read; removed
    if the block ends without error.

    key  digest of everything that the results depend on
    Raises CxrflowError if the journal cannot be opened, or is a link.
    """
    path = out.with_name(f".{out.name[:_NAME]}.partial")
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    except OSError as error:
        raise refused(error, path) from None
    with os.fdopen(handle, "r+b") as file:
        yield Journal(file, key)
    path.unlink(missing_ok=True)


def state_of(file: Found) -> str:
    """Digest of a file's absolute path, its size and time of change, and of why it is left out unread."""
    try:
        status = os.stat(file.path)
        known = [status.st_size, status.st_mtime_ns]
    except (OSError, ValueError):
        known = []
    return digest([name_text(file.path.absolute()), file.left_out, *known])


def _result(line: bytes) -> Result:
    return Result.model_validate_json(_parts(line)[2])


def _parts(line: bytes) -> list[bytes]:
    """State, notes, and result; those that are absent are empty."""
    return [*line.split(b"\t", 2), b"", b""][:3]


def _is_whole(line: bytes, state: str) -> bool:
    """Whether a line is of a file in this state, with a result that can be read."""
    about, _, result = _parts(line)
    if about != state.encode() or not line.endswith(b"\n"):
        return False
    try:
        Result.model_validate_json(result)
    except ValidationError:
        return False
    return True
