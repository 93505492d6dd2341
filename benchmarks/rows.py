"""Memory and time of `cxrflow metadata --files ignored` for tables of many rows: python benchmarks/rows.py 1000000 ...

Each table (path, label, patient; three images of a patient) is generated, and the command run in a process of its own,
twice: the second run remembers the sides of the first. Peaks are of resident memory, that of Spark's JVM apart.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).parents[1]
#: Prints the peaks of the resident memory of the process and of its largest child, in kB, as its last line.
_RUN = """
import re
from pathlib import Path
from cxrflow.cli import main
def peak(process):
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path(f"/proc/{process}/status").read_text())[1])
try:
    main()
finally:
    children = Path("/proc/thread-self/children").read_text().split()
    print(peak("self"), max(map(peak, children), default=0))
"""


def write_table(folder: Path, rows: int) -> None:
    """A table of the columns path, label, patient."""
    folder.mkdir(parents=True)
    labels = ("covid", "normal", "pneumonia")
    with (folder / "table.csv").open("w") as file:
        file.write("path,label,patient\n")
        for k in range(rows):
            file.write(f"images/{k:08}.png,{labels[k % 3]},P{k // 3 * 7919 % (rows // 2 + 1):07}\n")


def run(root: Path, out: Path, engine: str) -> tuple[float, int, int]:
    """Seconds and peak memory (MB) of the command, and peak memory of its largest child, which is Spark's JVM."""
    start = time.monotonic()
    arguments = ["metadata", "--sources", str(root), "--files", "ignored", "--engine", engine, "--out", str(out)]
    done = subprocess.run(
        [sys.executable, "-c", _RUN, *arguments], cwd=PROJECT, check=True, stdout=subprocess.PIPE, text=True
    )
    own, child = map(int, done.stdout.split()[-2:])
    return time.monotonic() - start, own // 1024, child // 1024


def main() -> None:
    """Print a line for each table and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="+", type=int)
    parser.add_argument("--engine", default="local", choices=["local", "spark"])
    parser.add_argument("--runs", default=2, type=int)
    asked = parser.parse_args()
    print(f"{'rows':>12} {'run':>3} {'seconds':>8} {'peak MB':>8} {'JVM':>8}")
    for rows in asked.rows:
        with tempfile.TemporaryDirectory() as folder:
            write_table(Path(folder) / "root" / "hospital", rows)
            for number in range(1, asked.runs + 1):
                seconds, peak, jvm = run(Path(folder) / "root", Path(folder) / "out", asked.engine)
                print(f"{rows:>12,} {number:>3} {seconds:>8.0f} {peak:>8,} {jvm:>8,}", flush=True)


if __name__ == "__main__":
    main()
