"""Time and memory of preparing 1,000 to 100,000 images (files repeated), and of adding 10 to 1,000.

    python benchmarks/scale.py FOLDER [--counts 1000 10000 100000]

Each number of images is prepared in a separate process, whose peak memory, and that of its largest worker process, are
measured.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from tables import table

from cxrflow.engines import LocalEngine
from cxrflow.files import Root
from cxrflow.images.prepare import prepare_images
from images import STEPS, radiographs


def prepare_repeated(folder: Path, count: int, out: Path) -> str:
    """Prepare ``count`` images; returns the seconds, then the peak memory of this process and of a worker in MiB."""
    # The dtype str, because Python strings would take more memory than the preparation that is measured.
    files = pd.Series([f"{file.relative_to(folder)}" for file in radiographs(folder)], dtype="str")
    number = pd.Series(np.arange(count))
    ids = "image " + number.astype("str")
    paths = files.iloc[number % len(files)].reset_index(drop=True)
    records = pd.DataFrame({"image_id": ids, "path": paths, "content_hash": ids, "turned": False})
    started = time.perf_counter()
    prepare_images(records, Root(folder), STEPS, LocalEngine(), out)
    seconds = time.perf_counter() - started
    workers = max(LocalEngine().map(peak, [None] * 200))
    return f"{seconds:.1f} {peak(None):.1f} {workers:.1f}"


def peak(_: None) -> float:
    """Peak memory of the process that calls it, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Run this file once for each count, and once more to add 10 images to the smallest store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--counts", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.into:
        print(prepare_repeated(asked.folder, asked.counts[0], asked.into))
        return
    rows = []
    for count in asked.counts:
        with tempfile.TemporaryDirectory() as out:
            row = _run(asked.folder, count, out)
            rows.append((f"{count:,}", row[0], f"{1000 * float(row[0]) / count:.2f}", *row[1:]))
            if count == asked.counts[0]:
                row = _run(asked.folder, count + 10, out)
                rows.append((f"10 added to those {count:,}: only 10 are decoded", row[0], "", *row[1:]))
    table(("images", "seconds", "ms an image", "peak memory, MiB", "of its largest worker, MiB"), rows)


def _run(folder: Path, count: int, out: str) -> list[str]:
    command = [sys.executable, __file__, str(folder), "--counts", str(count), "--into", out]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-3:]


if __name__ == "__main__":
    main()
