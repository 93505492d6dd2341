"""The service's own log of requests: who asked, when, about which study, of which bundle. No patient data.

A line of JSON for each request that asks for a prediction, and for each that is refused for who sends it. It is written
before the answer is sent: what cannot be logged is not answered.
"""

import datetime
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from cxrflow.files import check_writable, refused
from cxrflow.result import Result


class RequestLog:
    """Appends lines to a file that only its owner can read; the file may be moved away and is then made anew."""

    def __init__(self, path: Path) -> None:
        """Raises CxrflowError if the file cannot be written."""
        check_writable(path)
        self._path = path
        try:
            os.close(self._open())
        except OSError as error:
            raise refused(error, path) from None

    def write(self, **fields: object) -> None:
        """Append a line: the time (UTC) and the fields. Raises OSError if that is impossible."""
        time = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": time, **fields}, ensure_ascii=True) + "\n"
        handle = self._open()
        try:
            os.write(handle, line.encode())  # one call, so that lines of several processes stay whole
        finally:
            os.close(handle)

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        return os.open(self._path, flags, 0o600)


def logged(results: Sequence[Result]) -> list[dict[str, str | None]]:
    """What the log says of images: the SHA-256 of the StudyInstanceUID, the digest of the file, and the outcome.

    Why an image was left out is not in it, because a reason may quote the file.
    """
    return [
        {
            "study": f"sha256:{hashlib.sha256(result.study.encode()).hexdigest()}" if result.study else None,
            "image": result.image,
            "outcome": outcome(result),
        }
        for result in results
    ]


def outcome(result: Result) -> str:
    """What became of an image, in one word or two."""
    return "scored" if result.left_out is None else "left out"
