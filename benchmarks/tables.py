"""What the benchmarks print: tables in Markdown on standard output, as the documentation holds them, and progress on
standard error."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from rich import progress
from rich.console import Console

Item = TypeVar("Item")
_SCREEN = Console(stderr=True)


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table in Markdown, and an empty line."""
    for cells in (header, ["---"] * len(header), *rows):
        print(f"| {' | '.join(str(cell).replace('|', '&#124;') for cell in cells)} |")
    print(flush=True)


def track(items: Iterable[Item], description: str, total: int | None = None) -> Iterable[Item]:
    """``rich.progress.track``, on standard error."""
    return progress.track(items, description, total, console=_SCREEN)
