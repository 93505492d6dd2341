"""Does in-domain pretraining help? The same training from scratch and from a backbone, several seeds, judged on val.

    python benchmarks/pretraining.py FOLDER [--model timm:regnetx_002] [--size 96] [--pretraining-epochs 60]
                                     [--epochs 16] [--seeds 3] [--params params.yaml] [--out results/pretraining]

FOLDER holds collections as for `make run`; settings are those of params.yaml but for network, size and epochs. The
backbone sees the training images alone, without their labels (`cxrflow pretrain`). The test set is not looked at. Goes
on where it was interrupted. Writes metrics.json: for each seed and epoch the macro AUROC on val, and for each pair of
classes the AUROC within sources at the epoch chosen.
"""

import argparse
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from cxrflow.engines import LocalEngine
from cxrflow.evaluation.within import PAIRS, within_sources
from cxrflow.files import write_json
from cxrflow.images.prepare import prepare_images
from cxrflow.metadata.build import build_records
from cxrflow.params import Training, load_params
from cxrflow.predictor import Predictor
from cxrflow.training.pretrain import pretrain
from cxrflow.training.train import train


def main() -> None:
    """Pretrain once, train from either start with each seed, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--params", type=Path, default=Path(__file__).parents[1] / "params.yaml")
    parser.add_argument("--model", default="timm:regnetx_002")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--pretraining-epochs", type=int, default=60)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("results/pretraining"))
    asked = parser.parse_args()
    params = load_params(asked.params)
    steps = params.images.model_copy(update={"size": asked.size})
    engine = LocalEngine()
    built = build_records(asked.folder, None, params.metadata, engine, asked.out / "fingerprints.sqlite")
    kept = built.records[built.records.left_out.isna()].reset_index(drop=True)
    store = prepare_images(kept, built.root, steps, engine, asked.out / "images")
    backbone = asked.out / "backbone"
    pretrain(kept, store, steps, asked.model, asked.pretraining_epochs, 1, backbone)
    val = kept[(kept.split == "val") & kept.image_id.isin(store.index.image_id[store.index.left_out.isna()])]
    found: dict[str, list[dict[str, Any]]] = {"scratch": [], "pretrained": []}
    for seed in range(1, asked.seeds + 1):
        for name, start in (("scratch", "scratch"), ("pretrained", str(backbone))):
            recipe = params.training.model_dump() | {
                "model": asked.model, "start": start, "epochs": asked.epochs,
                "early_stopping_epochs": asked.epochs, "seed": seed,
            }  # fmt: skip
            place = asked.out / f"{name}-{seed}"
            train(kept, store, steps, Training.model_validate(recipe), place)
            scores = Predictor(place / "bundle").stored_scores(store, val.image_id)
            found[name].append(
                {"val_macro_auroc": pd.read_csv(place / "history.csv").val_macro_auroc.tolist()}
                | {f"{a}_vs_{b}": within_sources(val, scores, (a, b), 1000, 1)["value"] for a, b in PAIRS}
            )
            write_json(asked.out / "metrics.json", found)
    pairs = [f"{a}_vs_{b}" for a, b in PAIRS]
    table = Table("start", "seed", "macro AUROC on val: best", "last epoch", *pairs)
    for name, runs in found.items():
        for seed, run in enumerate(runs, start=1):
            course = run["val_macro_auroc"]
            figures = [max(course), course[-1], *(run[pair] for pair in pairs)]
            table.add_row(name, str(seed), *("–" if value is None else f"{value:.3f}" for value in figures))
    Console().print(table)


if __name__ == "__main__":
    main()
