"""What commands print: results, and what ``--quiet`` leaves out, progress bars and remarks on the work."""

import os
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from rich import progress
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Column, Table

from cxrflow.text import clean

Item = TypeVar("Item")
#: Width of what is no terminal, in characters: a table in a file or a pipe is neither wrapped nor cut.
_UNBOUNDED = 10_000
#: Width of a value with its interval, in characters.
INTERVAL = len("0.742 (0.603 to 0.845,")


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


def print_fitting(
    title: str, labels: Sequence[str], shown: Sequence[str], rows: Sequence[tuple[Sequence[str], Sequence[str]]]
) -> None:
    """Print a table with a column for each figure or, if the screen is too narrow for their intervals, with a row for
    each.

    labels  headings of what stands before the figures
    shown   names of the figures
    rows    what stands before the figures, and these in words
    """
    screen, first = console(), [escape(label) for label in labels]
    table = Table(*first, *map(escape, shown), title=escape(title))
    for named, figures in rows:
        table.add_row(*map(escape, (*named, *figures)))
    if Measurement.get(screen, screen.options.update(max_width=_UNBOUNDED), table).maximum > screen.width:
        table = Table(*first, "figure", Column("value", min_width=INTERVAL), title=escape(title))
        for named, figures in rows:
            for position, cells in enumerate(zip(shown, figures, strict=True)):
                table.add_row(*map(escape, (*(named if position == 0 else [""] * len(named)), *cells)))
            table.add_section()
    screen.print(table)


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
