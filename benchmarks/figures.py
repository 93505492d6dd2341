"""Measures the tables of README.md and docs/ again, and writes them anew.

    python benchmarks/figures.py --list
    python benchmarks/figures.py NAME ... --sources FOLDER

A measured table stands in a page between two comments, with a last line that says what it was measured by:

    <!-- measured: lungs -->
    | ...

    Measured 27 November 2026, ...
    <!-- end -->

``lungs`` is a key of MEASURED; ``lungs 2`` is the second table that its command prints. FOLDER holds collections as for
`make run`. A table states the commit that it was measured on, so what it is measured with must be committed. Commands
run one after the other, since most measure time; a page is written as soon as its command has ended, and what a command
prints is kept in ``results/figures``. --list says which tables are of the code as it is.
"""

import argparse
import datetime
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tables import table

from cxrflow.errors import CxrflowError
from cxrflow.files import write_whole

PROJECT = Path(__file__).parents[1]
_BLOCK = re.compile(r"<!-- measured: (?P<name>[\w-]+)(?: (?P<number>\d+))? -->\n(?P<held>.*?)<!-- end -->", re.S)
_TABLE = re.compile(r"(?:^\|.*\n)+", re.M)
_COMMIT = re.compile(r"^Measured .*?, commit (?P<commit>[0-9a-f]{7,40}),", re.M)
_SOURCES = "FOLDER"


@dataclass(frozen=True)
class Measurement:
    """What measures a table.

    command  after `python`, with FOLDER where it takes the folder of collections
    minutes  about how long it takes on two cores
    code     what it measures, in src/cxrflow: a change there makes the table one of older code
    """

    command: str
    minutes: int
    code: tuple[str, ...]


_FILES = ("reading", "metadata", "sources")
_NETWORKS = ("images", "lungs", "models", "training", "evaluation", "statistics", *_FILES)
MEASURED = {
    "audit-check": Measurement("benchmarks/audit_check.py", 180, ("audit", "synthetic", *_NETWORKS)),
    "bad-input": Measurement("benchmarks/bad_input.py", 5, (*_FILES, "params.py")),
    "bit-depth": Measurement(f"benchmarks/bit_depth.py {_SOURCES}", 3, ("reading", "images")),
    "coverage": Measurement("benchmarks/coverage.py", 15, ("evaluation", "statistics")),
    "frontal": Measurement(f"benchmarks/frontal.py {_SOURCES}", 20, ("reading",)),
    "fuzz": Measurement("benchmarks/fuzz.py --minutes 60", 35, ("reading", "params.py")),
    "images": Measurement(f"benchmarks/images.py {_SOURCES}", 6, ("reading", "images")),
    "intervals": Measurement("benchmarks/intervals.py 1000", 3, ("statistics",)),
    "leaks": Measurement(f"benchmarks/studies.py leaks {_SOURCES}", 60, ("studies", *_NETWORKS)),
    "lungs": Measurement(f"benchmarks/lungs.py {_SOURCES}", 3, ("reading", "images", "lungs")),
    "many-images": Measurement(f"benchmarks/scale.py {_SOURCES}", 8, ("reading", "images")),
    "many-rows": Measurement("benchmarks/rows.py 20000 1000000 10000000", 45, _FILES),
    "mitigation": Measurement(f"benchmarks/studies.py mitigation {_SOURCES}", 60, ("studies", *_NETWORKS)),
    "near-repeats": Measurement(f"benchmarks/near_repeats.py {_SOURCES} --images 30000", 15, _FILES),
    "paper": Measurement(f"benchmarks/paper_table.py --sources {_SOURCES}", 90, _NETWORKS),
    "real": Measurement(f"benchmarks/studies.py real {_SOURCES}", 240, ("audit", "studies", *_NETWORKS)),
    "training": Measurement(f"benchmarks/training.py {_SOURCES}", 5, ("training", "models")),
    "verdicts": Measurement("benchmarks/verdicts.py 400", 5, ("audit", "statistics")),
}


@dataclass(frozen=True)
class Block:
    """A measured table of a page: ``number`` counts from 1, ``commit`` is that of its last line, or None."""

    page: Path
    name: str
    number: int
    commit: str | None


def blocks(project: Path) -> Iterator[Block]:
    """The measured tables of the pages, in order. Raises CxrflowError for a name that is not in MEASURED."""
    for page in pages(project):
        for found in _BLOCK.finditer(page.read_text(encoding="utf-8")):
            name, commit = found["name"], _COMMIT.search(found["held"])
            if name not in MEASURED:
                raise CxrflowError(f"{page}: no command measures {name}; those there are: {', '.join(MEASURED)}.")
            yield Block(page, name, int(found["number"] or 1), commit["commit"] if commit else None)


def pages(project: Path) -> list[Path]:
    """README and the documentation."""
    return [project / "README.md", *sorted((project / "docs").glob("*.md"))]


def rewritten(page: str, name: str, printed: str, measured: str) -> str:
    """A page with the tables of ``name`` in what its command printed, each followed by the line ``measured``.

    Raises CxrflowError if fewer tables are printed than the page has places for.
    """
    printed_tables = _TABLE.findall(printed)

    def place(found: re.Match[str]) -> str:
        if found["name"] != name:
            return found[0]
        number = int(found["number"] or 1)
        if number > len(printed_tables):
            raise CxrflowError(f"{name}: printed {len(printed_tables)} tables, and a page asks for number {number}.")
        first = found[0].partition("\n")[0]
        return f"{first}\n{printed_tables[number - 1]}\n{measured}\n<!-- end -->"

    return _BLOCK.sub(place, page)


def changed(paths: Sequence[str], project: Path, since: str) -> bool:
    """Whether any of the paths differs, in the working tree, from the commit ``since``; also if there is none such."""
    command = ["git", "diff", "--quiet", since, "--", *paths]
    return subprocess.run(command, cwd=project, check=False, stderr=subprocess.DEVNULL).returncode != 0


def paths_of(name: str) -> list[str]:
    """What a table is measured with: its script and the code that it measures."""
    measured = MEASURED[name]
    return [measured.command.split()[0], *(f"src/cxrflow/{part}" for part in measured.code)]


def measure(name: str, sources: Path | None, project: Path) -> None:
    """Run a command and write its tables into the pages.

    sources  folder of collections, for commands that need one
    Raises CxrflowError if the code is not committed, the command fails, or a table is absent; no page is changed then.
    """
    measured = MEASURED[name]
    if changed(paths_of(name), project, "HEAD"):
        raise CxrflowError(f"{name}: {', '.join(paths_of(name))} have changes that are not committed; commit first.")
    folder = [] if sources is None else [str(sources)]
    arguments = [part for word in shlex.split(measured.command) for part in (folder if word == _SOURCES else [word])]
    kept = project / "results" / "figures" / f"{name}.txt"
    kept.parent.mkdir(parents=True, exist_ok=True)
    started, printed = time.monotonic(), ""
    with subprocess.Popen([sys.executable, *arguments], cwd=project, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            printed += line
    write_whole(kept, printed.encode())
    if process.returncode:
        raise CxrflowError(f"{name}: `python {shlex.join(arguments)}` ended with status {process.returncode}.")
    write_pages(name, printed, _said(measured, time.monotonic() - started, project), project)


def write_pages(name: str, printed: str, measured: str, project: Path) -> None:
    """Write the tables of ``name`` into every page that has a place for them. Raises CxrflowError as ``rewritten``."""
    texts = {page: page.read_text(encoding="utf-8") for page in pages(project)}
    new = {page: rewritten(text, name, printed, measured) for page, text in texts.items()}
    for page, text in new.items():
        if text != texts[page]:
            write_whole(page, text.encode())


def _said(measured: Measurement, seconds: float, project: Path) -> str:
    """The last line of a measured table."""
    asked = ["git", "rev-parse", "--short=7", "HEAD"]
    commit = subprocess.run(asked, cwd=project, check=True, capture_output=True, text=True).stdout.strip()
    took = f"{seconds / 60:.0f} minutes" if seconds > 100 else f"{seconds:.0f} seconds"
    today = datetime.datetime.now(tz=datetime.UTC)
    return (
        f"Measured {today.day} {today:%B %Y}, commit {commit}, {len(os.sched_getaffinity(0))} cores ({_processor()}), "
        f"{took}: `python {measured.command}`"
    )


def _processor() -> str:
    about = Path("/proc/cpuinfo")
    named = re.search(r"^model name\s*:\s*(.+)$", about.read_text(), re.M) if about.exists() else None
    return named[1] if named else "unknown processor"


def main() -> int:
    """Measure, or list; 1 if a table could not be measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MEASURED))
    parser.add_argument("--sources", type=Path, help="folder of collections")
    parser.add_argument("--list", action="store_true", help="which tables are of the code as it is")
    asked = parser.parse_args()
    names = asked.names or list(MEASURED)
    if unknown := set(names) - set(MEASURED):
        parser.error(f"nothing is called {min(unknown)}; those there are: {', '.join(MEASURED)}")
    if asked.list:
        print_state(names)
        return 0
    if any(_SOURCES in MEASURED[name].command for name in names) and asked.sources is None:
        parser.error("name the folder that holds the collections: --sources FOLDER")
    failed = 0
    for name in names:
        print(f"{name}: about {MEASURED[name].minutes} minutes", file=sys.stderr)
        try:
            measure(name, asked.sources.resolve() if asked.sources else None, PROJECT)
        except CxrflowError as error:
            print(error, file=sys.stderr)
            failed = 1
    return failed


def print_state(names: Sequence[str]) -> None:
    """Print each measured table, its page, and whether it is of the code as it is."""
    rows = []
    for block in blocks(PROJECT):
        if block.name in names:
            old = block.commit is None or changed(paths_of(block.name), PROJECT, block.commit)
            state = "older code" if old else "this code"
            place = f"{block.page.relative_to(PROJECT)}"
            rows.append((block.name, block.number, place, block.commit or "", state, MEASURED[block.name].minutes))
    table(("name", "table", "page", "commit", "of", "minutes"), rows)


if __name__ == "__main__":
    sys.exit(main())
