"""How long training takes to a given macro AUROC on val: the paper's recipe against cxrflow's settings for real data.

    python benchmarks/time_to_quality.py FOLDER [--target 0.8] [--seeds 1] [--out results/bench.json]

FOLDER holds collections as for `make run`. Both train on the same images of the same patients and are judged on the
same val. The paper's: params/iteration1.yaml, ResNet-18 from scratch at 224 pixels, Adam at 0.0002.
Ours: params/real.yaml. The clock runs from the start of `cxrflow training` until the first epoch that reaches the
target; the images are prepared before. They take turns seed by seed; figures are medians over seeds.
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
from rich.console import Console

from cxrflow.errors import CxrflowError
from cxrflow.files import write_json

_PROJECT = Path(__file__).parents[1]
_CXRFLOW = [str(Path(sys.executable).with_name("cxrflow"))]
#: The paper's recipe is given up after this many epochs; what it took until then is then a lower bound.
_EPOCHS = 16


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--target", type=float, default=0.8)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("results/bench.json"))
    asked = parser.parse_args()
    ours = yaml.safe_load((_PROJECT / "params/real.yaml").read_text())
    paper = yaml.safe_load((_PROJECT / "params/iteration1.yaml").read_text())
    paper["metadata"]["paediatric"] = ours["metadata"]["paediatric"]
    paper["training"] |= {"epochs": _EPOCHS, "early_stopping_epochs": _EPOCHS}
    runs: dict[str, list[tuple[float, float]]] = {"ours": [], "paper": []}
    for seed in range(1, asked.seeds + 1):
        for name, over in (("ours", ours), ("paper", paper)):
            with tempfile.TemporaryDirectory() as folder:
                prepare(Path(folder), asked.folder.resolve(), over, seed)
                runs[name].append(seconds_to(asked.target, Path(folder)))
    seconds = {name: statistics.median(time for time, _ in times) for name, times in runs.items()}
    short = {name: min(reached for _, reached in times) < asked.target for name, times in runs.items()}
    ratio = None if short["ours"] else seconds["paper"] / seconds["ours"]
    figures: dict[str, Any] = {
        "time_to_quality": ratio,
        "time_to_quality_is_a_lower_bound": short["paper"],
        "time_to_quality_runs": {
            "target_val_macro_auroc": asked.target,
            **{name: [{"seconds": t, "reached": r} for t, r in times] for name, times in runs.items()},
        },
    }
    kept = json.loads(asked.out.read_text()) if asked.out.exists() else {}
    write_json(asked.out, kept | {"training": kept.get("training", {}) | figures})
    if ratio is None:
        Console().print(f"Ours did not reach a macro AUROC of {asked.target} on val: there is nothing to compare.")
        return
    least = "at least " if short["paper"] else ""
    Console().print(
        f"To a macro AUROC of {asked.target} on val: the paper's recipe {least}{seconds['paper']:.0f} s, ours "
        f"{seconds['ours']:.0f} s: {least}{ratio:.1f} times shorter."
    )


def prepare(folder: Path, sources: Path, over: dict[str, Any], seed: int) -> None:
    """A project of its own in ``folder``, with records and prepared images."""
    params = yaml.safe_load((_PROJECT / "params.yaml").read_text())
    params |= {"overrides": "recipe", "sources": {"root": str(sources), "collections": None}}
    over = over | {"training": over["training"] | {"seed": seed}}
    (folder / "params").mkdir()
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    (folder / "params/recipe.yaml").write_text(yaml.safe_dump(over))
    for step in ("metadata", "images"):
        subprocess.run([*_CXRFLOW, step], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def seconds_to(target: float, folder: Path) -> tuple[float, float]:
    """Seconds until training first reaches the target, or until it ends, and the best macro AUROC by then."""
    history, best = folder / "results/training/history.csv", 0.0
    started = time.perf_counter()
    process = subprocess.Popen([*_CXRFLOW, "training"], cwd=folder, stdout=subprocess.DEVNULL)
    try:
        while best < target and process.poll() is None:
            time.sleep(0.2)
            if history.exists():
                best = float(pd.read_csv(history).val_macro_auroc.max())
        if process.returncode:
            raise CxrflowError(f"training ended with status {process.returncode}.")
        return time.perf_counter() - started, best
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main()
