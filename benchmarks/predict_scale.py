"""Hours and gigabytes for collections that are too large to try here, from measured costs; and the error of that model.

    python benchmarks/predict_scale.py FOLDER [--files 200]

Measures on files of FOLDER (collections as for `make run`) what reading and preparing one costs a core, by its
megapixels. All else is taken from the measured tables of docs/speed.md and docs/repeats.md, with their commands. Prints
what the model says of the sizes that were measured, beside the measurement; then hours, then gigabytes. Nothing that is
predicted was run.
"""

import argparse
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tables import table, track

from cxrflow.errors import LeftOut
from cxrflow.files import Root
from cxrflow.images.file import try_record
from cxrflow.metadata.fingerprint import fingerprint
from cxrflow.params_file import DEFAULTS, load_params
from cxrflow.reading import read_radiograph
from images import STEPS, radiographs

DOCS = Path(__file__).parents[1] / "docs"
#: ResNet-18 at 224 pixels, images/s: batches of 128 on one H200, the table "On a GPU" of docs/speed.md (by hand).
OF_A_GPU = 9_087.0
PARAMS = load_params(DEFAULTS)
#: Bytes an image: 224 x 224 prepared pixels; thumbnail and hashes in ``fingerprints.sqlite``; rows of ``records.csv``
#: and ``sides.csv`` (docs/how-long.md). In memory: the thumbnail, and two float32 descriptors of 16 x 16.
PIXELS, FINGERPRINT, ROW = 224 * 224, 10_000, 411 + 115
THUMBNAIL, DESCRIPTORS = 96 * 96, 2 * 4 * 16 * 16


@dataclass(frozen=True)
class Collection:
    """Images, and megapixels of one."""

    name: str
    images: int
    megapixels: float


@dataclass(frozen=True)
class Machine:
    """Cores and GPUs."""

    name: str
    cores: int
    gpus: int = 0


@dataclass(frozen=True)
class Costs:
    """Measured costs.

    rows      tables: reading them and applying the rules, processor time (s): constant, and for each row
    read, prepare  an image in the stages metadata and images, on one core (s): at no pixels, and for each megapixel
    near      comparing an image with n others, on one core (s): constant, and for each of the n
    trained   images/s of ResNet-18, 224 pixels, on two cores
    """

    rows: tuple[float, float]
    read: tuple[float, float]
    prepare: tuple[float, float]
    near: tuple[float, float]
    trained: float

    def hours(self, of: Collection, on: Machine) -> dict[str, float]:
        """Hours of each step. Steps that share their work among cores or GPUs are taken to share it perfectly."""
        n, shared = of.images, 3600 * on.cores
        read, prepare = (constant + each * of.megapixels for constant, each in (self.read, self.prepare))
        rate = on.gpus * OF_A_GPU if on.gpus else self.trained * on.cores / 2
        return {
            "tables": (self.rows[0] + self.rows[1] * n) / 3600,
            "reading": n * read / shared,
            "near repeats": n * (self.near[0] + self.near[1] * n) / shared,
            "images": n * prepare / shared,
            "training": PARAMS.training.epochs * PARAMS.metadata.split.train * n / rate / 3600,
        }


def gigabytes(of: Collection) -> dict[str, float]:
    """Disk of prepared images with DVC's copy, of fingerprints and of tables; memory of the near-repeat search."""
    n = of.images / 1e9
    return {
        "prepared images, with DVC's copy": 2 * n * PIXELS,
        "fingerprints": n * FINGERPRINT,
        "tables": n * ROW,
        "memory: near repeats": n * (THUMBNAIL + DESCRIPTORS),
    }


def measured(page: str, name: str, number: int = 1) -> list[list[str]]:
    """The rows of a measured table of a page, header first."""
    mark = f"<!-- measured: {name}{'' if number == 1 else f' {number}'} -->"
    held = (DOCS / page).read_text(encoding="utf-8").partition(mark)[2].partition("<!-- end -->")[0]
    lines = [line.strip("| ").split(" | ") for line in held.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line] for line in (lines[0], *lines[2:])]


def value(cell: str) -> float:
    """The first number of a cell, or of its parentheses if it has some."""
    return float(re.findall(r"[\d,.]*\d", cell.rpartition("(")[2])[0].replace(",", ""))


def line_through(points: list[tuple[float, float]]) -> tuple[float, float]:
    """Constant and slope of the line of least squares."""
    xs, ys = zip(*points, strict=True)
    slope, constant = np.polyfit(np.array(xs), np.array(ys), 1)
    return float(constant), float(slope)


def costs_of(read: tuple[float, float], prepare: tuple[float, float]) -> Costs:
    """The costs, with those that stand in measured tables."""
    rows, near = table_rows(), measured("repeats.md", "near-repeats", 2)[1:]
    return Costs(
        rows=line_through([rows[0], rows[-1]]),
        read=read,
        prepare=prepare,
        near=line_through([(value(row[0]), value(row[1]) / value(row[0])) for row in near]),
        trained=value(measured("speed.md", "training")[1][1]),
    )


def table_rows() -> list[tuple[float, float]]:
    """Rows and processor seconds of the first run of each table of many rows with the engine local, the largest last;
    the model is the line through the first and the last."""
    found = [row for row in measured("speed.md", "many-rows")[1:] if row[1] == "local"]
    return [(value(row[0]), value(row[0]) * value(row[4]) / 1e6) for row in found]


def timed(work: Callable[[Path], object], files: list[Path], what: str) -> Iterator[float]:
    """Processor seconds of the work on each file, the lesser of two: other programs disturb the first or the second."""
    for file in track(files, what):
        took = []
        for _ in range(2):
            start = time.process_time()
            work(file)
            took.append(time.process_time() - start)
        yield min(took)


def main() -> None:
    """Measure, and print three tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=200)
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    files = radiographs(asked.folder)
    files = [files[k] for k in np.random.default_rng(0).permutation(len(files))[: asked.files]]
    root = Root(asked.folder)
    megapixels = {}
    for file in files:
        try:
            megapixels[file] = read_radiograph(file).size / 1e6
        except LeftOut:
            continue
    files = list(megapixels)
    place = {file: f"{file.relative_to(asked.folder)}" for file in files}
    ways = (
        ("reading", lambda file: fingerprint((root, place[file]))),
        ("preparing", lambda file: try_record(root, STEPS, (place[file], False))),
    )
    read, prepare = (
        line_through(list(zip(megapixels.values(), timed(way, files, name), strict=True))) for name, way in ways
    )
    costs, mean = costs_of(read, prepare), float(np.mean(list(megapixels.values())))
    print_error(costs, mean)
    print_predicted(costs)


def print_error(costs: Costs, megapixels: float) -> None:
    """Print what the model says of the measured sizes, beside the measurement.

    megapixels  of the mean file of the sample
    """
    two, lines = Machine("2 cores", 2), []

    def add(what: str, took: float, step: str, n: float, size: float = 0.0) -> None:
        said = 3600 * costs.hours(Collection("", int(n), size), two)[step]
        lines.append((what, f"{took:,.1f} s", f"{said:,.1f} s", f"{100 * (said / took - 1):+.0f} %"))

    for count, took in table_rows():
        add(f"tables, {count:,.0f} rows (processor time)", took, "tables", count)
    for row in measured("speed.md", "many-images")[1:]:
        if not row[0].startswith("10 added"):
            add(f"images, {row[0]}, 224 pixels", value(row[1]), "images", value(row[0]), megapixels)
    table(("step, 2 cores", "measured", "model", "error"), lines)


def shown(hours: float) -> str:
    """A time in seconds, minutes or hours, with two or three digits."""
    units = (("h", hours), ("min", 60 * hours), ("s", 3600 * hours))
    unit, count = next((each for each in units if each[1] >= 1), units[-1])
    return f"{count:.0f} {unit}" if count >= 10 else f"{count:.1f} {unit}"


def print_predicted(costs: Costs) -> None:
    """Print times, then gigabytes."""
    nih, mimic = Collection("NIH", 112_120, 1.05), Collection("MIMIC-CXR-JPG", 377_110, 7.8)
    machines = (
        Machine("2 cores", 2),
        Machine("32 cores", 32),
        Machine("32 cores, 1 GPU", 32, 1),
        Machine("32 cores, 8 GPUs", 32, 8),
    )
    found = [(of, on, costs.hours(of, on)) for of in (nih, mimic) for on in machines]
    steps = list(found[0][2])
    rows = [
        (of.name, on.name, *(shown(hours[step]) for step in steps), shown(sum(hours.values())))
        for of, on, hours in found
    ]
    table(("predicted", "machine", *steps, "all"), rows)
    names = list(gigabytes(nih))
    table(
        ("predicted GB", *names),
        [(of.name, *(f"{gigabytes(of)[name]:,.1f}" for name in names)) for of in (nih, mimic)],
    )


if __name__ == "__main__":
    main()
