"""Measures the tables of README.md and docs/ again, and writes them anew.

    python benchmarks/figures.py --list
    python benchmarks/figures.py NAME ... --sources FOLDER

A measured table stands in a page between two comments, with a last line that says what it was measured by:

    <!-- measured: lungs -->
    | ...

    Measured 27 November 2026, ...
    <!-- end -->

``lungs`` is a key of MEASURED; ``lungs 2`` is the second table that its command prints. FOLDER holds collections as for
`make run`. A table states the commit that it was measured on, so its code and the parameters must be committed.
Commands run one after the other, since most measure time; a page is written as soon as its command has ended, and what
a command prints is kept in ``results/figures``. --list says which tables were measured on the current code. Without
names, all are measured but those that run only if they are named.
"""

import argparse
import ast
import datetime
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from tables import table

from cxrflow.engines import cores
from cxrflow.errors import CxrflowError
from cxrflow.files import write_whole

PROJECT = Path(__file__).parents[1]
_BEGIN = "<!-- measured: "
_BLOCK = re.compile(
    rf"{_BEGIN}(?P<name>[\w-]+)(?: (?P<number>\d+))? -->\n(?P<held>(?:(?!<!-- (?:measured|end)).)*)<!-- end -->", re.S
)
_TABLE = re.compile(r"(?:^\|.*\n)+", re.M)
_COMMIT = re.compile(r"^Measured .*?, commit (?P<commit>[0-9a-f]{7,40}),", re.M)
_SOURCES = "FOLDER"


@dataclass(frozen=True)
class Measurement:
    """What measures a table.

    command  after `python`, with FOLDER where it takes the folder of collections
    minutes  about how long it takes on two cores
    resumes  whether it takes up what an earlier run has left; then the time of the last run says nothing
    asks     why it runs only if it is named; else None
    whole    whether it runs cxrflow's commands, and so depends on all of the package
    """

    command: str
    minutes: int
    resumes: bool = False
    asks: str | None = None
    whole: bool = False


def _study(name: str, minutes: int, asks: str | None = None) -> Measurement:
    return Measurement(f"benchmarks/studies.py {name} {_SOURCES}", minutes, resumes=True, asks=asks, whole=True)


MEASURED = {
    "audit-check": Measurement("benchmarks/audit_check.py", 90, resumes=True),
    "bad-input": Measurement("benchmarks/bad_input.py", 1, whole=True),
    "bit-depth": Measurement(f"benchmarks/bit_depth.py {_SOURCES}", 1),
    "comparable": Measurement("benchmarks/comparable.py", 1),
    "coverage": Measurement("benchmarks/coverage.py", 3),
    "far": Measurement(f"benchmarks/far.py {_SOURCES}", 15),
    "frontal": Measurement(f"benchmarks/frontal.py {_SOURCES}", 4),
    "fuzz": Measurement("benchmarks/fuzz.py --minutes 60", 35),
    "images": Measurement(f"benchmarks/images.py {_SOURCES}", 6),
    "intervals": Measurement("benchmarks/intervals.py 1000", 1),
    "leaks": _study("leaks", 60),
    "letters": Measurement(f"benchmarks/letters.py {_SOURCES}", 6),
    "load": Measurement("benchmarks/load.py", 10, whole=True),
    "lungs": Measurement(f"benchmarks/lungs.py {_SOURCES}", 1),
    "many-images": Measurement(f"benchmarks/scale.py {_SOURCES}", 8),
    "many-rows": Measurement("benchmarks/rows.py 20000 100000 1000000 --engine local spark", 30, whole=True),
    "mimic-rows": Measurement("benchmarks/rows.py 377110 --layout mimic-cxr-jpg --engine local spark", 10, whole=True),
    "mitigation": _study("mitigation", 60),
    "near-search": Measurement(f"benchmarks/near_search.py {_SOURCES} 100000 1000000", 10),
    "near-repeats": Measurement(f"benchmarks/near_repeats.py {_SOURCES} --images 100000", 60),
    "paper": Measurement(
        f"benchmarks/paper_table.py --sources {_SOURCES} --epochs 48",
        1_700,
        resumes=True,
        asks="it takes a GPU, and replaces the run in data and results",
        whole=True,
    ),
    "parity": Measurement("benchmarks/parity.py", 3),
    "predictions": Measurement("benchmarks/predictions.py", 2, whole=True),
    "scale": Measurement(f"benchmarks/predict_scale.py {_SOURCES}", 2),
    "real": _study("real", 240, asks="it looks at the test split again"),
    "serving": Measurement(f"benchmarks/serving.py {_SOURCES}", 10, whole=True),
    "training": Measurement(f"benchmarks/training.py {_SOURCES}", 5),
    "verdicts": Measurement("benchmarks/verdicts.py 400", 2),
}


@dataclass(frozen=True)
class Block:
    """A measured table of a page: ``number`` counts from 1, ``commit`` is that of its last line, or None."""

    page: Path
    name: str
    number: int
    commit: str | None


def blocks(project: Path) -> Iterator[Block]:
    """The measured tables of the pages, in order. Raises CxrflowError for a name that is not in MEASURED, and as
    ``_found``."""
    for page in pages(project):
        for found in _found(page.read_text(encoding="utf-8"), page):
            name, commit = found["name"], _COMMIT.search(found["held"])
            if name not in MEASURED:
                raise CxrflowError(f"{page}: no command measures {name}; those there are: {', '.join(MEASURED)}.")
            yield Block(page, name, int(found["number"] or 1), commit["commit"] if commit else None)


def pages(project: Path) -> list[Path]:
    """README and the documentation."""
    return [project / "README.md", *sorted((project / "docs").glob("*.md"))]


def _found(text: str, page: Path) -> list[re.Match[str]]:
    """The blocks of a page. Raises CxrflowError if one has no end."""
    found = list(_BLOCK.finditer(text))
    if len(found) != text.count(_BEGIN):
        raise CxrflowError(f"{page}: a table that is measured has no `<!-- end -->` after it; add that line.")
    return found


def rewritten(text: str, page: Path, name: str, printed: str, measured: str) -> str:
    """The text of a page with the tables of ``name`` in what its command printed, each followed by ``measured``.

    Raises CxrflowError if fewer tables are printed than the page has places for, and as ``blocks``.
    """
    tables = _TABLE.findall(printed)
    for found in reversed(_found(text, page)):
        if found["name"] == name:
            number = int(found["number"] or 1)
            if number > len(tables):
                raise CxrflowError(f"{name}: printed {len(tables)} tables, and {page} has a place for number {number}.")
            first = found[0].partition("\n")[0]
            new = f"{first}\n{tables[number - 1]}\n{measured}\n<!-- end -->"
            text = text[: found.start()] + new + text[found.end() :]
    return text


def paths_of(name: str, project: Path) -> list[str]:
    """What a table is measured with, relative to the project: its script, what that imports of the project, with the
    files beside it that are no code, and the parameters."""
    measured = MEASURED[name]
    script = project / measured.command.split()[0]
    needed = imported([script], project)
    beside = {path for file in needed if file.parent != script.parent for path in file.parent.iterdir()}
    needed |= {path for path in beside if path.is_file() and path.suffix not in (".py", ".pyc")}
    paths = sorted(f"{path.relative_to(project)}" for path in needed)
    return [*(["src/cxrflow"] if measured.whole else []), *paths, "src/cxrflow/overrides"]


def imported(files: Iterable[Path], project: Path) -> set[Path]:
    """The files, and those of the project that they import, directly or not, wherever in the code that stands."""
    found: set[Path] = set()
    todo = list(files)
    while todo:
        file = todo.pop()
        if file in found:
            continue
        found.add(file)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names, roots = [], [project / "src", project / "benchmarks"]
            if isinstance(node, ast.ImportFrom):
                parts = [*filter(None, [node.module])]
                names = [".".join(parts), *(".".join([*parts, each.name]) for each in node.names)]
                roots = [file.parents[node.level - 1]] if node.level else roots
            elif isinstance(node, ast.Import):
                names = [each.name for each in node.names]
            for root in roots:
                places = [root.joinpath(*name.split(".")) for name in names if name]
                todo += [
                    path for at in places for path in (at.with_suffix(".py"), at / "__init__.py") if path.is_file()
                ]
    return found


def changed(paths: Sequence[str], project: Path, since: str) -> bool:
    """Whether any of the paths differs, in the working tree, from the commit ``since``; also if there is none such. A
    YAML file differs if its values do: comments say how to choose them, and measure nothing."""
    command = ["git", "diff", "--name-only", "--relative", since, "--", *paths]
    done = subprocess.run(command, cwd=project, check=False, capture_output=True, text=True)
    return done.returncode != 0 or any(_differs(name, project, since) for name in done.stdout.splitlines())


def _differs(name: str, project: Path, since: str) -> bool:
    path = project / name
    shown = subprocess.run(["git", "show", f"{since}:./{name}"], cwd=project, check=False, capture_output=True)
    if path.suffix != ".yaml" or shown.returncode or not path.exists():
        return True
    return bool(yaml.safe_load(shown.stdout) != yaml.safe_load(path.read_bytes()))


def _check_committed(name: str, project: Path) -> None:
    command = ["git", "status", "--porcelain", "--", *paths_of(name, project)]
    done = subprocess.run(command, cwd=project, check=False, capture_output=True, text=True)
    if done.returncode:
        raise CxrflowError(f"{name}: a measured table states its commit; measure in a git checkout.")
    if done.stdout:
        differ = ", ".join(line[3:] for line in done.stdout.splitlines())
        raise CxrflowError(f"{name}: not as committed: {differ}; commit or restore first.")


def measure(name: str, sources: Path | None, project: Path) -> None:
    """Run a command and write its tables into the pages.

    sources  folder of collections, for commands that need one
    Raises CxrflowError if the code is not committed, the command fails, or a table is absent; no page is changed then.
    """
    measured = MEASURED[name]
    _check_committed(name, project)
    folder = [] if sources is None else [str(sources)]
    arguments = [part for word in shlex.split(measured.command) for part in (folder if word == _SOURCES else [word])]
    kept = project / "results" / "figures" / f"{name}.txt"
    kept.parent.mkdir(parents=True, exist_ok=True)
    started, place = time.monotonic(), _place(project)
    with (
        kept.open("w", encoding="utf-8") as file,
        subprocess.Popen([sys.executable, *arguments], cwd=project, stdout=subprocess.PIPE, text=True) as process,
    ):
        for line in process.stdout or ():
            print(line, end="", flush=True)
            file.write(line)
            file.flush()
    if process.returncode:
        raise CxrflowError(f"{name}: `python {shlex.join(arguments)}` ended with status {process.returncode}.")
    took = "" if measured.resumes else f", {_duration(time.monotonic() - started)}"
    write_pages(name, kept.read_text(encoding="utf-8"), f"{place}{took}: `python {measured.command}`", project)


def write_pages(name: str, printed: str, measured: str, project: Path) -> None:
    """Write the tables of ``name`` into every page that has a place for them. Raises CxrflowError as ``rewritten``."""
    texts = {page: page.read_text(encoding="utf-8") for page in pages(project)}
    new = {page: rewritten(text, page, name, printed, measured) for page, text in texts.items()}
    for page, text in new.items():
        if text != texts[page]:
            write_whole(page, text.encode())


def _place(project: Path) -> str:
    """When, on which commit and machine a table is measured."""
    asked = ["git", "rev-parse", "--short=7", "HEAD"]
    commit = subprocess.run(asked, cwd=project, check=True, capture_output=True, text=True).stdout.strip()
    about, today = Path("/proc/cpuinfo"), datetime.datetime.now(tz=datetime.UTC)
    named = re.search(r"^model name\s*:\s*(.+)$", about.read_text(), re.M) if about.exists() else None
    processor = named[1] if named else "unknown processor"
    return f"Measured {today.day} {today:%B %Y}, commit {commit}, {cores()} cores ({processor})"


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds > 100 else f"{seconds:.0f} seconds"


def main() -> int:
    """Measure, or list; 1 if a table could not be measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MEASURED))
    parser.add_argument("--sources", type=Path, help="folder of collections")
    parser.add_argument("--list", action="store_true", help="which tables were measured on the current code")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(MEASURED):
        parser.error(f"nothing is called {min(unknown)}; those there are: {', '.join(MEASURED)}")
    if asked.list:
        print_state(asked.names or list(MEASURED), PROJECT)
        return 0
    for name in [] if asked.names else [name for name in MEASURED if MEASURED[name].asks]:
        print(f"{name}: only if it is named, because {MEASURED[name].asks}", file=sys.stderr)
    names = asked.names or [name for name in MEASURED if not MEASURED[name].asks]
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


def print_state(names: Sequence[str], project: Path) -> None:
    """Print each measured table, its page, and whether it was measured on the current code."""
    rows = []
    for block in blocks(project):
        if block.name in names:
            old = block.commit is None or changed(paths_of(block.name, project), project, block.commit)
            state = "older code" if old else "this code"
            place = f"{block.page.relative_to(project)}"
            rows.append((block.name, block.number, place, block.commit or "", state, MEASURED[block.name].minutes))
    table(("name", "table", "page", "commit", "of", "minutes"), rows)


if __name__ == "__main__":
    sys.exit(main())
