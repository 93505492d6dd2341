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

from tables import table

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
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="+", type=int)
    parser.add_argument("--engine", default="local", choices=["local", "spark"])
    asked = parser.parse_args()
    lines = []
    for rows in asked.rows:
        with tempfile.TemporaryDirectory() as folder:
            write_table(Path(folder) / "root" / "hospital", rows)
            found = []
            for _ in range(2):
                seconds, peak, jvm = run(Path(folder) / "root", Path(folder) / "out", asked.engine)
                of_jvm = f"; {jvm:,}" if asked.engine == "spark" else ""
                found.append(f"{peak:,}{of_jvm} ({seconds:,.0f} s)")
            lines.append((f"{rows:,}", *found))
    table(("rows", "first run", "second run"), lines)


if __name__ == "__main__":
    main()
