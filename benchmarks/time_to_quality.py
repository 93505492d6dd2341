"""Training time to reach the quality of the paper's recipe: that recipe against cxrflow's settings for real data.

    python benchmarks/time_to_quality.py FOLDER [--seeds 1] [--out results/bench.json]

FOLDER holds collections as for `make run`. Both recipes train ResNet-18 from scratch on the same images of the same
patients, and are judged by macro AUROC on the same val. The paper's: iteration1.yaml, 16 epochs at 224 pixels,
Adam at 0.0002. Ours: one ResNet-18 with real.yaml, 24 epochs at 64 pixels. The target is the best macro AUROC of
the paper's recipe over its epochs. The clock runs from the start of `cxrflow training` until the end of the first epoch
that reaches it; the images are prepared before. The recipes alternate, seed by seed. The ratio is the median over
seeds, or null if our recipe misses the target with any seed.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from tables import table

from cxrflow.errors import CxrflowError
from cxrflow.files import write_json
from cxrflow.params_file import shipped_overrides

_PROJECT = Path(__file__).parents[1]
_EPOCHS = {"paper": 16, "ours": 24}
#: Side of our pictures; smaller than in real.yaml, because this learns faster. Chosen on val, which also judges.
_SIZE = 64
_CXRFLOW = [str(Path(sys.executable).with_name("cxrflow"))]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("results/bench.json"))
    asked = parser.parse_args()
    ours = yaml.safe_load(shipped_overrides()["real"].read_text())
    paper = yaml.safe_load(shipped_overrides()["iteration1"].read_text())
    paper["metadata"]["paediatric"] = ours["metadata"]["paediatric"]
    ours["images"]["size"] = _SIZE
    ours["training"] |= {"members": [], "folds": None, "sharpness": 1.0}
    runs: list[dict[str, Any]] = []
    for seed in range(1, asked.seeds + 1):
        courses = {}
        for name, over in (("paper", paper), ("ours", ours)):
            over["training"] |= {"epochs": _EPOCHS[name], "early_stopping_epochs": _EPOCHS[name], "seed": seed}
            with tempfile.TemporaryDirectory() as folder:
                prepare(Path(folder), asked.folder.resolve(), over)
                courses[name] = course(Path(folder))
        target = max(reached for _, reached in courses["paper"])
        seconds = {
            name: next((time for time, reached in passed if reached >= target), None)
            for name, passed in courses.items()
        }
        runs.append({"target_val_macro_auroc": target, "seconds": seconds, "courses": courses})
    ratios = [run["seconds"]["paper"] / run["seconds"]["ours"] for run in runs if run["seconds"]["ours"]]
    ratio = statistics.median(ratios) if len(ratios) == len(runs) else None
    kept = json.loads(asked.out.read_text()) if asked.out.exists() else {}
    figures = {"time_to_quality": ratio, "time_to_quality_runs": runs}
    write_json(asked.out, kept | {"training": kept.get("training", {}) | figures})
    rows = []
    for seed, run in enumerate(runs, 1):
        best = max(reached for _, reached in run["courses"]["ours"])
        took = run["seconds"]["ours"]
        ours = f"{took:.0f} s" if took else f"not in {run['courses']['ours'][-1][0]:.0f} s"
        target = f"{run['target_val_macro_auroc']:.3f}"
        rows.append((seed, target, f"{run['seconds']['paper']:.0f} s", ours, f"{best:.3f}"))
    columns = (
        "seed",
        "best macro AUROC on val of the paper's recipe",
        "reached after",
        "ours reaches it after",
        "our best",
    )
    table(columns, rows)
    if ratio:
        print(f"{ratio:.1f} times sooner.")


def prepare(folder: Path, sources: Path, over: dict[str, Any]) -> None:
    """Set up a separate project in ``folder``, with records and prepared images."""
    params = {"overrides": "recipe", "sources": {"root": str(sources)}}
    (folder / "params").mkdir()
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    (folder / "params/recipe.yaml").write_text(yaml.safe_dump(over))
    for step in ("metadata", "images"):
        subprocess.run([*_CXRFLOW, step], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def course(folder: Path) -> list[tuple[float, float]]:
    """Train; returns for each epoch the seconds from the start of training to its end, and the macro AUROC on val."""
    history = folder / "results/training/history.csv"
    passed: list[tuple[float, float]] = []
    started = time.perf_counter()
    process = subprocess.Popen([*_CXRFLOW, "training"], cwd=folder, stdout=subprocess.DEVNULL)
    try:
        while (ended := process.poll()) is None or len(passed) < len(_reached(history)):
            now, reached = time.perf_counter() - started, _reached(history)
            passed += [(now, value) for value in reached[len(passed) :]]
            time.sleep(0.2)
    finally:
        process.kill()
        process.wait()
    if ended:
        raise CxrflowError(f"training ended with status {ended}.")
    return passed


def _reached(history: Path) -> list[float]:
    return pd.read_csv(history).val_macro_auroc.tolist() if history.exists() else []


if __name__ == "__main__":
    main()
