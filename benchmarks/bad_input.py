"""Tests reading, tables, folders, bundles and parameters with unusual, damaged and hostile inputs.

    python benchmarks/bad_input.py [--all] [KIND ...]

The inputs are generated (bad_inputs/). Each has to give what is expected of it: an image, a reason, or one sentence, in
bounded memory. Prints the table of docs/reading.md and what was not as expected; then the exit status is 1. ``--all``
prints what each input gave.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from functools import partial
from pathlib import Path

import pydicom
from bad_inputs import Outcome, inputs, resident, state
from pydicom.data import get_testdata_files
from tables import table

from cxrflow.engines import LocalEngine, Lost
from cxrflow.errors import LeftOut
from cxrflow.reading import read
from cxrflow.workers import Limits

#: Memory that one input may take (MB), by the peak of the process above what it held before.
_MEMORY = 1_500
_SECONDS = 60
_FATES = ("read", "left out", "stops")


def attempt(root: Path, number: int) -> tuple[Outcome, float, float]:
    """What an input gives, the memory it takes at most (MB), and the seconds; in a worker process."""
    before, began = resident("VmRSS"), time.monotonic()
    Path("/proc/self/clear_refs").write_text("5")  # begins a new peak
    folder = root / str(number)
    folder.mkdir()
    try:
        outcome = inputs()[number].run(folder)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        outcome = Outcome("traceback", f"{type(error).__name__}: {error} ({where.filename}:{where.lineno})")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return outcome, resident("VmHWM") - before, time.monotonic() - began


def main() -> int:
    """Print the tables; 1 if an input gave what it should not."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--all", action="store_true")
    parser.add_argument("kinds", nargs="*")
    options = parser.parse_args()
    tried = inputs()
    numbers = [n for n, one in enumerate(tried) if not options.kinds or one.kind in options.kinds]
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    wrong: list[str] = []
    peak = slowest = (0.0, "")
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        state.write_bundle(Path(folder) / "bundle")
        state.write_results(Path(folder) / "results")
        engine = LocalEngine(Limits(memory_gb=8, seconds=_SECONDS))  # a worker that keeps a quarter of it is replaced
        for number, found in zip(numbers, engine.map(partial(attempt, Path(folder)), numbers), strict=True):
            one = tried[number]
            outcome, memory, seconds = (Outcome("died", found.reason), 0, 0) if isinstance(found, Lost) else found
            name = f"{one.kind}: {one.name}"
            if memory > _MEMORY:
                outcome = Outcome("over memory", f"{memory:.0f} MB")
            peak, slowest = max(peak, (memory, name)), max(slowest, (seconds, name))
            words = " ".join(outcome.words.split())[-300:]
            if outcome.fate != one.fate or one.says not in outcome.words:
                wrong.append(f"{name}: {outcome.fate}, not {one.fate} {one.says!r} ({words})")
                counts[one.kind]["not as expected"] += 1
            else:
                counts[one.kind][outcome.fate] += 1
            if options.all:
                print(f"{name} -> {outcome.fate}: {words}", flush=True)
    columns = (*_FATES, "not as expected")
    every = [*counts.items(), ("all", sum(counts.values(), Counter()))]
    rows = [(kind, found.total(), *(found[fate] or "" for fate in columns)) for kind, found in every]
    table(("kind", "inputs", *columns), rows)
    print(f"Most memory: {peak[0]:.0f} MB ({peak[1]}). Slowest: {slowest[0]:.1f} s ({slowest[1]}).")
    print(*wrong, sep="\n")
    _pydicoms_own_files()
    return 1 if wrong else 0


def _pydicoms_own_files() -> None:
    """Print what pydicom's test files give."""
    found: Counter[str] = Counter()
    for name in get_testdata_files():
        if name.endswith(".dcm") and Path(name).is_relative_to(Path(pydicom.__file__).parent):
            try:
                read(Path(name))
                found["read"] += 1
            except LeftOut as reason:
                found[f"left out: {str(reason).split('(')[0].strip()}"] += 1
    table(("pydicom's own files", "count"), found.most_common())


if __name__ == "__main__":
    sys.exit(main())
