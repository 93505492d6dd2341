"""Unusual, damaged and hostile inputs of every kind, generated, each with what it should give."""

import contextlib
import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np
import pandas as pd

from cxrflow.cli.use import SOME_LEFT_OUT
from cxrflow.errors import CxrflowError, LeftOut
from cxrflow.reading import read

#: read: an image, or a run that ends well; left out: an image or rows, with the reason; stops: one sentence; in the
#: table of results also "wrong" (another answer than expected), "lost" (rows that disappear), "traceback" and "died".
Fate = Literal["read", "left out", "stops"]

#: The picture of most inputs, uint8 (48, 64): brighter to the right, with a brighter corner that tells which way is up.
GREY = np.tile(np.arange(0, 204, 3.2).astype(np.uint8), (48, 1))
GREY[:16, :16] = 255
WIDE = GREY.astype(np.uint16) * 257
#: The same with 12 bits.
TWELVE = np.rint(GREY * (4095 / 255)).astype(np.uint16)
#: Mean difference of grey levels, of 1, up to which a picture is the expected one: half-tones and lossy formats.
_CLOSE = 0.03


class Outcome(NamedTuple):
    """What an input gave: a fate, or what went wrong, and the words of the reason or error."""

    fate: str
    words: str


@dataclass(frozen=True)
class File:
    """An image file.

    content  its bytes, or what makes them
    grey     the picture that it should give, whatever its scale and offset; None for any
    says     what the reason or the note has to contain
    """

    kind: str
    name: str
    content: bytes | Callable[[], bytes]
    fate: Fate = "read"
    says: str = ""
    grey: np.ndarray | None = None

    def run(self, folder: Path) -> Outcome:
        """Write the file and read it."""
        path = folder / "file.png"
        path.write_bytes(self.content if isinstance(self.content, bytes) else self.content())
        try:
            found = read(path)
        except LeftOut as reason:
            return Outcome("left out", str(reason))
        words = f"{found.grey.dtype}, {found.grey.shape[0]} x {found.grey.shape[1]}"
        if self.grey is not None and not _alike(found.grey, self.grey):
            return Outcome("wrong", f"another picture ({words})")
        return Outcome("read", f"{words}; {found.note}" if found.note else words)


@dataclass(frozen=True)
class Run:
    """Files and a command.

    make   writes the files into an empty folder, in which the command then runs
    table  the table that the command writes, in which no row may be missing
    rows   number of its rows, and of those that are left out; None for any
    where  a column and its value, to count only these rows
    """

    kind: str
    name: str
    make: Callable[[Path], None]
    command: tuple[str, ...]
    fate: Fate = "read"
    says: str = ""
    table: str = ""
    rows: tuple[int, int] | None = None
    where: tuple[str, str] | None = None

    def run(self, folder: Path) -> Outcome:
        """Write the files, run the command in their folder, and count the rows of its table."""
        self.make(folder)
        with contextlib.chdir(folder):
            status, words = call(*self.command)
            if status == 1 or (status == 2 and "\n" not in words.strip()):
                return Outcome("stops", words)
            if status not in (0, SOME_LEFT_OUT):
                return Outcome("traceback", f"exit status {status}: {words}")
            if not self.table:
                return Outcome("read", words)
            table = pd.read_csv(self.table, dtype=str, keep_default_na=False)
        if self.where:
            table = table[table[self.where[0]] == self.where[1]]
        left_out = table.left_out[table.left_out != ""]
        counts = len(table), len(left_out)
        if self.rows and counts[0] != self.rows[0]:
            return Outcome("lost", f"{counts[0]} rows of {self.rows[0]}")
        if self.rows and counts[1] != self.rows[1]:
            return Outcome("wrong", f"{counts[1]} rows left out, not {self.rows[1]}")
        return Outcome("left out" if counts[1] else "read", "; ".join(dict.fromkeys(left_out)) or f"{counts[0]} rows")


Input = File | Run


def call(*command: str) -> tuple[int, str]:
    """Exit status of a ``cxrflow`` command in this process, and what it prints. Other errors are raised."""
    from cxrflow.cli import app

    out, errors = io.StringIO(), io.StringIO()
    before, sys.argv = sys.argv, ["cxrflow", *command]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            app(standalone_mode=True)
    except SystemExit as stop:
        return (stop.code if isinstance(stop.code, int) else 1), errors.getvalue() or out.getvalue()
    except CxrflowError as error:
        return 1, str(error)
    except OSError as error:
        return 1, f"{error.filename}: {error.strerror}"
    finally:
        sys.argv = before
    return 0, out.getvalue()


def resident(key: str) -> float:
    """Memory of this process (MB): ``VmRSS``, what it holds, or ``VmHWM``, its peak."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{key}:")[2].split()[0]) / 1024


def _alike(found: np.ndarray, expected: np.ndarray) -> bool:
    if found.shape != expected.shape:
        return False
    one, other = (cv2.normalize(grey.astype(np.float32), None, 0, 1, cv2.NORM_MINMAX) for grey in (found, expected))
    return bool(np.abs(one - other).mean() < _CLOSE)


@cache
def inputs() -> tuple[Input, ...]:
    """All inputs, kind by kind."""
    from bad_inputs import codestreams, containers, dicom, folders, parameters, pictures, state, tables

    modules = (dicom, pictures, containers, codestreams, folders, tables, state, parameters)
    return tuple(one for module in modules for one in module.inputs())
