"""Time and memory of `cxrflow predict` for 1,000 to 100,000 files: python benchmarks/predictions.py [--counts N ...]

The files are copies of one drawn radiograph of 128 pixels, the bundle a small network with random weights: what is
measured is the way from files to a table and JSON lines, not the network. Each number runs in a process of its own,
whose peak memory is measured; worker processes are not in it.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from bad_inputs.state import write_bundle
from tables import table

from cxrflow.predict import Outputs, predict_files
from cxrflow.synthetic.drawing import draw
from cxrflow.synthetic.layouts import plan

_IN_A_FOLDER = 1000


def write_files(folder: Path, count: int) -> None:
    """Write ``count`` copies of a drawn radiograph."""
    job = next(job for job in plan(60, 3)[0] if job.kind != "other")
    pixels = np.rint(draw(job.patient, job.kind, job.style, job.seed).pixels * 255).astype(np.uint8)
    content = cv2.imencode(".png", cv2.resize(pixels, (128, 128)))[1].tobytes()
    for number in range(count):
        path = folder / f"{number // _IN_A_FOLDER:04d}" / f"{number:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def main() -> None:
    """Run this file once for each count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--of", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.of:
        started = time.perf_counter()
        counts = predict_files(
            asked.of / "bundle", [asked.of / "files"], Outputs(asked.of / "a.csv", asked.of / "a.jsonl")
        )
        seconds, memory = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{counts.scored} {seconds:.1f} {memory:.0f}")
        return
    rows = []
    for count in asked.counts:
        with tempfile.TemporaryDirectory() as folder:
            write_bundle(Path(folder) / "bundle")
            write_files(Path(folder) / "files", count)
            command = [sys.executable, __file__, "--of", folder]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            scored, seconds, memory = done.stdout.split()[-3:]
            rows.append((f"{int(scored):,}", seconds, f"{1000 * float(seconds) / count:.2f}", memory))
    table(("files scored", "seconds", "ms a file", "peak memory, MiB"), rows)


if __name__ == "__main__":
    main()
