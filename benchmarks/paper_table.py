"""The four rows of the paper's table under an honest protocol and under the paper's own, to measure its leaks.

    python benchmarks/paper_table.py --sources FOLDER [--epochs 4] [--shrink 1] [--rows NAME ...]
                                     [--study studies/paper]

The study is made if it is not there, and the rows are kept in its results/paper. The honest protocol is `dvc exp run`
with the parameters of the paper's iteration (children kept): patients are grouped, the epoch is chosen on val, the
test set is scored once. The paper's protocol splits by image (80 % train; the honest rows train on 65 %), chooses the
epoch on the test set and augments test images at random; its gain is the size of the leak, not a result.
``--shrink 2`` trains on pictures of half the paper's side, a quarter of the work, for machines on which the full size
takes a day. Rows that the same code has finished are not run again.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from tables import table

import cxrflow
from cxrflow.bundle_networks import read_bundle
from cxrflow.dataset import Dataset
from cxrflow.evaluation.metrics import evaluate
from cxrflow.files import code_digest, digest, write_json, write_whole
from cxrflow.flow.init import make_study
from cxrflow.models.model import to_input
from cxrflow.params_file import load_params
from cxrflow.statistics.figure import Figure, in_words, to_json
from cxrflow.statistics.resampling import Bootstrap
from cxrflow.statistics.scored import Scored
from cxrflow.training.augmentation import augment
from cxrflow.training.data import PlainBatches, RadiographBatches, loader
from cxrflow.training.train import train

#: Iteration, network, and the sensitivity and precision for COVID-19 that the paper reports.
ROWS = {
    "covidnet_small-1": ("iteration1", "covidnet_small", 0.77, 0.38),
    "resnet50-1": ("iteration1", "resnet50", 0.98, 0.12),
    "resnet18-1": ("iteration1", "resnet18", 1.00, 0.07),
    "resnet18-2": ("iteration2", "resnet18", 0.85, 0.55),
}
#: The paper's learning rate; at it COVID-Net learned nothing here (docs/paper.md), so its authors' takes its place
#: (Wang and Wong 2020, section 2.4).
RATE, RATES = 2e-4, {"covidnet_small": 2e-5}
#: Share of the epochs at the full learning rate, a tenth of which follows: seven of the paper's eight.
_FULL_RATE = 7 / 8
#: Side of the paper's pictures, pixels.
SIZES = {"iteration1": 224, "iteration2": 480}
_DVC = str(Path(sys.executable).with_name("dvc"))
#: Share of COVID-19 in the paper's test set.
PREVALENCE = 0.028


def ppv_at(prevalence: float, sensitivity: float, specificity: float) -> float:
    """Positive predictive value at another prevalence (Bayes)."""
    called = sensitivity * prevalence + (1 - specificity) * (1 - prevalence)
    return sensitivity * prevalence / called if called else float("nan")


def honest(name: str, sources: Path, epochs: int, shrink: int) -> dict[str, Any]:
    """A row under our protocol: one DVC experiment of the whole pipeline."""
    iteration, model, *_ = ROWS[name]
    changes = {
        "sources.root": str(sources.resolve()),
        "overrides": iteration,
        "training.model": model,
        "training.epochs": str(epochs),
        "images.size": str(SIZES[iteration] // shrink),
        "training.learning_rate": str(RATES.get(model, RATE)),
        "training.schedule.step_epochs": str(max(1, round(epochs * _FULL_RATE))),
        "training.early_stopping_epochs": str(epochs),
    }
    experiment = f"paper-{name}-{epochs}-{shrink}"
    settings = [part for key, value in changes.items() for part in ("-S", f"{key}={value}")]
    # DVC refuses the name of an experiment that an earlier, interrupted run has left behind.
    subprocess.run([_DVC, "exp", "remove", "--quiet", experiment], check=False, stderr=subprocess.DEVNULL)
    command = [_DVC, "exp", "run", "--name", experiment, *settings, "evaluation"]
    subprocess.run(command, check=True, stdout=sys.stderr)
    return json.loads(Path("results/evaluation/metrics.json").read_text())


def leaky(out: Path) -> dict[str, Any]:
    """A row under the paper's protocol, on the records and images that the last experiment left in the workspace."""
    params = load_params(Path("params.yaml"))
    dataset = Dataset.open(Path("data/metadata/records.csv"), Path("data/images"), params.task)
    ids = dataset.records.image_id
    # Split by image, not by patient: patients are on both sides. The epoch is chosen on the side that is reported.
    tested = np.array([int(hashlib.sha256(name.encode()).hexdigest(), 16) % 5 == 0 for name in ids])
    dataset = dataset.divided(np.where(tested, "val", "train"))
    train(dataset, params.images, params.training, out)
    bundle, (network,) = read_bundle(out / "bundle")
    (about,) = bundle.networks
    test = dataset.split("val")
    data = RadiographBatches(test)
    parts = []
    with torch.inference_mode():
        for k, (images, _) in enumerate(loader(data, PlainBatches(len(data), params.training.batch_size))):
            changed = augment(images.float() / 255, params.training.augmentation, torch.Generator().manual_seed(k))
            parts.append(network(to_input(changed, about.images.channels, about.mean, about.std)).softmax(dim=1))
    scores = torch.cat(parts).double().numpy()
    scored = Scored(
        test.task, test.records, scores / scores.sum(axis=1, keepdims=True), Bootstrap(params.evaluation.bootstrap, 1)
    )
    return to_json(evaluate(scored))


def _in_workspace(name: str, sources: Path, epochs: int, shrink: int) -> bool:
    """Whether the workspace holds the records and images of this row's experiment, which ``leaky`` uses."""
    iteration, model, *_ = ROWS[name]
    params = load_params(Path("params.yaml"))
    there = (params.overrides, Path(params.sources.root), params.training.model, params.training.epochs)
    return (*there, params.images.size) == (iteration, sources.resolve(), model, epochs, SIZES[iteration] // shrink)


def main() -> None:
    """Run what is missing in the study, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sources", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--shrink", type=int, choices=(1, 2, 4), default=1)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), help="rows to run and show")
    parser.add_argument("--study", type=Path, default=Path("studies/paper"))
    asked = parser.parse_args()
    asked.sources = asked.sources.resolve()
    if not asked.study.exists():
        make_study(asked.study, asked.sources)
        # Every key that an experiment sets has to be there.
        keys = {"model": "resnet18", "epochs": 8, "learning_rate": RATE, "schedule": {"step_epochs": 7}}
        params = {"overrides": "iteration1", "sources": {"root": str(asked.sources)}, "images": {"size": 224}}
        params |= {"training": keys | {"early_stopping_epochs": 8}}
        write_whole(asked.study / "params.yaml", yaml.safe_dump(params, sort_keys=False).encode())
    os.chdir(asked.study)
    print_rows(asked)


def print_rows(asked: argparse.Namespace) -> None:
    """Run what is missing, print the table."""
    task = load_params(Path("params.yaml")).task
    rows: list[tuple[str, ...]] = []
    for name in asked.rows:
        *_, sensitivity, precision = ROWS[name]
        specificity = 1 - sensitivity * PREVALENCE * (1 / precision - 1) / (1 - PREVALENCE)
        rows.append((f"{name}: paper", f"{sensitivity}", f"{specificity:.3f}", f"{precision}", f"{precision}", ""))
        key = digest([str(asked.sources), code_digest(Path(cxrflow.__file__).parent, ["."])])
        place = Path("results/paper") / f"{name}-{asked.epochs}-{asked.shrink}-{key[:8]}"
        if not (place / "honest.json").exists():
            write_json(place / "honest.json", honest(name, asked.sources, asked.epochs, asked.shrink))
        if not (place / "leaky.json").exists():
            if not _in_workspace(name, asked.sources, asked.epochs, asked.shrink):
                honest(name, asked.sources, asked.epochs, asked.shrink)  # restores its records and images
            write_json(place / "leaky.json", leaky(place / "leaky"))
        for protocol in ("honest", "leaky"):
            test = json.loads((place / f"{protocol}.json").read_text())["test"]
            of_class = {
                key: Figure.from_dict(test[task.positive][key]) for key in ("sensitivity", "specificity", "ppv")
            }
            restated = ppv_at(PREVALENCE, of_class["sensitivity"].value, of_class["specificity"].value)
            figures = (in_words(figure) for figure in of_class.values())
            macro = in_words(Figure.from_dict(test["macro_auroc"]))
            called = {"honest": "honest", "leaky": "its protocol: its leak, not a result"}[protocol]
            rows.append((called, *figures, f"{restated:.2f}", macro))
    columns = "sensitivity", "specificity", "PPV here", "PPV at 2.8 %", "macro AUROC"
    table((f"{task.positive_name}, {asked.epochs} epochs", *columns), rows)


if __name__ == "__main__":
    main()
