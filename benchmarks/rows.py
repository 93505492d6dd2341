"""Memory and time of `cxrflow metadata --files ignored` for tables of many rows.

    python benchmarks/rows.py 20000 1000000 [--engine local spark]
    python benchmarks/rows.py 377110 --layout mimic-cxr-jpg --engine local spark

Each table is generated, of a hospital's own (path, label, patient; three images of a patient) or of MIMIC-CXR-JPG (its
two tables, compressed; about as many studies, patients, views and labels as published), and the command run in a
process of its own, twice: the second run remembers the sides of the first. Peaks are of resident memory, that of
Spark's JVM apart; processor time is of all cores, with the JVM's, and says what a run costs on a machine that others
use as well.
"""

import argparse
import gzip
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tables import table

from cxrflow.sources import chexpert, mimic_cxr_jpg

PROJECT = Path(__file__).parents[1]
#: Prints as its last line the peaks of the resident memory of the process and of its largest child, in kB, and the
#: processor time of both, in seconds.
_RUN = """
import os, re, time
from pathlib import Path
from cxrflow.cli import main
def peak(process):
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path(f"/proc/{process}/status").read_text())[1])
def spent(process):
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
try:
    main()
finally:
    children = Path("/proc/thread-self/children").read_text().split()
    print(peak("self"), max(map(peak, children), default=0), time.process_time() + sum(map(spent, children)))
"""


def write_table(folder: Path, rows: int) -> None:
    """A table of the columns path, label, patient."""
    folder.mkdir(parents=True)
    labels = ("covid", "normal", "pneumonia")
    with (folder / "table.csv").open("w") as file:
        file.write("path,label,patient\n")
        for k in range(rows):
            file.write(f"images/{k:08}.png,{labels[k % 3]},P{k // 3 * 7919 % (rows // 2 + 1):07}\n")


def write_mimic(folder: Path, rows: int) -> None:
    """The tables of MIMIC-CXR-JPG, of 227,827 studies and 65,379 patients for 377,110 rows (Johnson et al. 2019)."""
    folder.mkdir(parents=True)
    rng, studies = random.Random(0), round(rows * 227_827 / 377_110)
    people = round(rows * 65_379 / 377_110)
    patients = [10_000_000 + study * people // studies for study in range(studies)]
    cells = ["1.0"] * 12 + ["-1.0"] * 5 + ["0.0"] * 5 + [""] * 78
    with gzip.open(folder / f"{mimic_cxr_jpg.LABELS}.gz", "wt", compresslevel=1) as file:
        file.write(f"subject_id,study_id,{','.join(chexpert.PUBLISHED)}\n")
        for study, patient in enumerate(patients):
            normal = rng.random() < 1 / 3
            given = ["1.0", *[""] * 13] if normal else ["", *rng.choices(cells, k=13)]
            file.write(f"{patient},{50_000_000 + study},{','.join(given)}\n")
    with gzip.open(folder / f"{mimic_cxr_jpg.METADATA}.gz", "wt", compresslevel=1) as file:
        file.write("dicom_id,subject_id,study_id,ViewPosition\n")
        views = ["AP"] * 39 + ["PA"] * 26 + ["LATERAL"] * 22 + ["LL"] * 9 + [""] * 4
        for k, view in enumerate(rng.choices(views, k=rows)):
            study = k * studies // rows
            file.write(f"{k:08x}-{rng.getrandbits(32):08x},{patients[study]},{50_000_000 + study},{view}\n")


#: Layout -> name of its folder, the function that writes it, and arguments that choose a task that it can answer.
LAYOUTS = {
    "table": ("hospital", write_table, ()),
    mimic_cxr_jpg.NAME: (mimic_cxr_jpg.NAME, write_mimic, ("--overrides", "pneumonia")),
}


def run(root: Path, out: Path, engine: str, *more: str) -> tuple[float, float, int, int]:
    """Seconds, processor seconds and peak memory (MB) of the command, and peak memory of its largest child, which is
    Spark's JVM."""
    start = time.monotonic()
    arguments = ["metadata", "--sources", str(root), "--files", "ignored", "--engine", engine, "--out", str(out), *more]
    done = subprocess.run(
        [sys.executable, "-c", _RUN, *arguments], cwd=PROJECT, check=True, stdout=subprocess.PIPE, text=True
    )
    own, child, spent = done.stdout.split()[-3:]
    return time.monotonic() - start, float(spent), int(own) // 1024, int(child) // 1024


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="+", type=int)
    parser.add_argument("--engine", nargs="+", default=["local"], choices=["local", "spark"])
    parser.add_argument("--layout", default="table", choices=[*LAYOUTS])
    asked = parser.parse_args()
    name, write, question = LAYOUTS[asked.layout]
    lines = []
    for rows in asked.rows:
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder) / "root" / name, rows)
            for engine in asked.engine:
                found = []
                for _ in range(2):
                    seconds, spent, peak, jvm = run(Path(folder) / "root", Path(folder) / engine, engine, *question)
                    of_jvm = f"; {jvm:,}" if engine == "spark" else ""
                    print(f"{rows:,} {engine}: {seconds:,.0f} s, {spent:,.0f} s, {peak:,}{of_jvm} MB", file=sys.stderr)
                    found += [f"{seconds:,.0f} s", f"{spent:,.0f} s", f"{1e6 * spent / rows:,.0f}", f"{peak:,}{of_jvm}"]
                lines.append((f"{rows:,}", engine, *found))
    each = ("time", "processor", "µs a row", "MB")
    table(("rows", "engine", *each, *(f"second run: {name}" for name in each)), lines)


if __name__ == "__main__":
    main()
