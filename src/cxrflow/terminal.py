"""What commands print: results, and what ``--quiet`` leaves out, progress bars and remarks on the work."""

import os
from collections.abc import Iterable
from typing import Any, TypeVar

from rich import progress
from rich.console import Console

from cxrflow.text import clean

Item = TypeVar("Item")
#: Width of what is no terminal, in characters: a table in a file or a pipe is neither wrapped nor cut.
_UNBOUNDED = 10_000


class _Printed:
    quiet = False


def set_quiet(quiet: bool) -> None:
    """Print results alone from now on, or everything."""
    _Printed.quiet = quiet


def is_quiet() -> bool:
    """Whether only results are printed."""
    return _Printed.quiet


def console() -> Console:
    """Standard output, as wide as the terminal or as COLUMNS says, else unbounded."""
    found = Console()
    return found if found.is_terminal or "COLUMNS" in os.environ else Console(width=_UNBOUNDED)


def say(text: str) -> None:
    """Print a line verbatim, without markup or wrapping; control characters are escaped."""
    console().print(clean(text), markup=False, highlight=False, soft_wrap=True)


def remark(text: str) -> None:
    """``say`` what is no result: where the work is, what it goes on from."""
    if not _Printed.quiet:
        say(text)


def track(items: Iterable[Item], description: str, disable: bool = False, **options: Any) -> Iterable[Item]:
    """``rich.progress.track``, which prints nothing if ``disable`` or if quiet."""
    return progress.track(items, description, disable=disable or _Printed.quiet, **options)


def time_left(this: float, together: float, networks: int) -> str:
    """In words, how long trainings take: ``About 12 minutes for this network, about 2.0 hours for the 10 that are
    left``.

    this      seconds for the network in training
    together  seconds for all networks that are left, this one included
    networks  how many those are
    """
    said = f"About {_duration(this)} for this network"
    return f"{said}, about {_duration(together)} for the {networks} that are left" if networks > 1 else said


def _duration(seconds: float) -> str:
    for unit, length, most in (("seconds", 1, 100), ("minutes", 60, 100), ("hours", 3600, 72)):
        if seconds < most * length:
            count = seconds / length
            return f"{count:.1f} {unit}" if unit == "hours" else f"{count:.0f} {unit}"
    return f"{seconds / 86_400:.1f} days"
