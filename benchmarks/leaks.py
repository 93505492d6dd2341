"""What each leak of the paper's protocol is worth, one at a time.

    python benchmarks/leaks.py FOLDER [--size 64] [--epochs 12] [--folds 5] [--seeds 1]
                               [--model timm:resnet10t] [--out results/leaks]

FOLDER holds collections as for `make run`, RSNA among them. Small images and few epochs, to compare, not to be good.
Split by image, rows taken for images, epoch chosen on test, test images augmented: the same test images under each,
over folds of the patients' groups, and as many images to learn from. Goes on where it was interrupted: finished
trainings are not done again, with more seeds either. Prints a table, writes metrics.json.
"""

import argparse
from pathlib import Path

import pandas as pd

from cxrflow.engines import LocalEngine
from cxrflow.images.prepare import prepare_images
from cxrflow.metadata.build import build_records
from cxrflow.metadata.groups import with_children
from cxrflow.params import Training, load_params
from cxrflow.sources import rsna
from cxrflow.studies.leaks import leaks, print_leaks


def main() -> None:
    """Train, score, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--params", type=Path, default=Path(__file__).parents[1] / "params.yaml")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--model", default="timm:resnet10t")
    parser.add_argument("--out", type=Path, default=Path("results/leaks"))
    asked = parser.parse_args()
    labels = asked.folder / rsna.COLLECTION.folder / "stage_2_train_labels.csv"
    if not labels.exists():
        parser.error(f"{labels} is absent: its rows are one of the leaks; name a folder that holds RSNA's collection")
    params = load_params(asked.params)
    steps = params.images.model_copy(update={"size": asked.size})
    short = {"model": asked.model, "epochs": asked.epochs, "early_stopping_epochs": asked.epochs}
    recipe = Training.model_validate(params.training.model_dump() | short)
    how = params.metadata.model_copy(update={"files": "required"})
    engine = LocalEngine()
    built = build_records(asked.folder, None, how, engine, asked.out / "fingerprints.sqlite")
    kept = built.records[built.records.left_out.isna()].reset_index(drop=True)
    store = prepare_images(kept, built.root, steps, engine, asked.out / "images")
    alone = with_children(kept) if how.paediatric == "train" else pd.Series(False, index=kept.index)
    boxes = pd.read_csv(labels, dtype=str).patientId.value_counts()
    rows = boxes.set_axis(f"{rsna.NAME}:" + boxes.index)
    print_leaks(
        leaks(
            kept, alone.to_numpy(), rows, store, steps, recipe, params.evaluation, asked.folds, asked.seeds, asked.out
        )
    )


if __name__ == "__main__":
    main()
