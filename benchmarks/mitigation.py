"""What each mitigation does to the pooled AUROC, to that within sources, and to that on sources never seen.

    python benchmarks/mitigation.py FOLDER [--size 64] [--epochs 10] [--folds 3] [--model timm:resnet10t]
                                    [--start scratch] [--out results/mitigation] [--only "group DRO" ...]

FOLDER holds collections as for `make run`. Small images and few epochs, to compare, not to be good. Goes on where it
was interrupted: finished trainings are not done again. Prints a table for each pair of classes, writes metrics.json.
"""

import argparse
from pathlib import Path

from cxrflow.engines import LocalEngine
from cxrflow.metadata.build import build_records
from cxrflow.metadata.groups import with_children
from cxrflow.params import Training, load_params
from cxrflow.studies.mitigation import MITIGATIONS, mitigation, print_mitigation


def main() -> None:
    """Train, score, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--params", type=Path, default=Path(__file__).parents[1] / "params.yaml")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--model", default="timm:resnet10t")
    parser.add_argument("--start", default="scratch")
    parser.add_argument("--only", nargs="+", choices=list(MITIGATIONS), default=list(MITIGATIONS))
    parser.add_argument("--out", type=Path, default=Path("results/mitigation"))
    asked = parser.parse_args()
    params = load_params(asked.params)
    steps = params.images.model_copy(update={"size": asked.size})
    recipe = params.training.model_dump() | {
        "model": asked.model,
        "start": asked.start,
        "epochs": asked.epochs,
        "early_stopping_epochs": asked.epochs,
    }
    how = params.metadata.model_copy(update={"files": "required"})
    engine = LocalEngine()
    built = build_records(asked.folder, None, how, engine, asked.out / "fingerprints.sqlite")
    kept = built.records[built.records.left_out.isna()].reset_index(drop=True)
    print_mitigation(
        mitigation(
            kept, built.root, steps, Training.model_validate(recipe), params.evaluation, engine, asked.out,
            folds=asked.folds, names=asked.only,
            only_training=with_children(kept) if params.metadata.paediatric == "train" else None,
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
