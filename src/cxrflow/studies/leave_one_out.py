"""Leave one source out: each source is scored by a network that has seen none of its images and none of its people.

A new hospital is what a classifier meets in use; a test split of the hospitals that it was trained in is not.
"""

import os
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cxrflow.errors import CxrflowError
from cxrflow.evaluation import ledger
from cxrflow.evaluation.predictions import write_predictions
from cxrflow.evaluation.seen import overlap
from cxrflow.evaluation.tables import as_text
from cxrflow.files import write_json
from cxrflow.images.prepare import Store
from cxrflow.params import Evaluation, Images, Training
from cxrflow.predictor import Predictor
from cxrflow.records import CLASSES
from cxrflow.statistics.intervals import missing
from cxrflow.statistics.within import PAIRS, within_sources
from cxrflow.studies.cross_validate import enter_together, train_or_val
from cxrflow.training.train import train

#: Fewer groups of a class than this, among those left to train on, teach nothing of it.
LEAST_GROUPS = 10


def leave_one_out(
    records: pd.DataFrame,
    store: Store,
    images: Images,
    training: Training,
    evaluation: Evaluation,
    out: Path,
    ledger_file: Path,
) -> dict[str, Any]:
    """Train without each source in turn and score it: one class against another within it, for each pair of classes.

    records  kept rows (columns of records.py); their own split is not used. People who are also in the source left
             out, and near repeats of its images, are left out of training with it.
    out      a folder for each source, a training as the stage writes it, which goes on where it was interrupted (a
             finished one is not trained again); ``predictions.csv``; ``metrics.json``, the figures that are returned
    Returns ``sources`` (for each: n, groups, trained_on, a count of images by class, and for each of PAIRS
    ``<a>_vs_<b>``), and ``all`` (for each pair ``within.within_sources`` over the sources left out). A class that has
    no image left on the training or the validation side is not trained on, the other two are. A figure is missing where
    the source lacks a class, or fewer than LEAST_GROUPS groups of it remain to train on; where all three are, nothing
    is trained.
    Raises CxrflowError as ``train``, with fewer than two sources, and where ``torchrun`` started several processes.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise CxrflowError("leave-one-out: runs as one process; start it without torchrun.")
    usable = records[records.image_id.isin(store.index.image_id[store.index.left_out.isna()])].reset_index(drop=True)
    names = sorted(usable.source.unique())
    if len(names) < 2:
        raise CxrflowError(f"leave-one-out: {', '.join(names) or 'no source'} alone; it takes two sources or more.")
    split = train_or_val(usable.group_id)
    probabilities = np.full((len(usable), len(CLASSES)), np.nan)
    # Whether a row's score says anything of each class.
    taught = np.zeros(probabilities.shape, dtype=bool)
    weights: list[str] = []
    figures: dict[str, dict[str, Any]] = {}
    for number, name in enumerate(names, start=1):
        inside = (usable.source == name).to_numpy()
        rest = ~usable.group_id.isin(usable.group_id[inside]).to_numpy()
        left = usable.assign(split=split)[rest]
        classes = [label for label in CLASSES if not _lacks(left, label)]
        untaught = {label: _untaught(left, label, name) for label in CLASSES}
        left = left[left.label.isin(classes)]
        Console().print(f"Without {name} ({number} of {len(names)}): {len(left):,} images to learn from", markup=False)
        rows, said = usable[inside], None
        reasons = {(a, b): _absent(rows, (a, b), name) or untaught[a] or untaught[b] for a, b in PAIRS}
        if not all(reasons.values()):
            place = out / _folder(name, names)
            train(left, store, images, training, place, classes)
            predictor = Predictor(place / "bundle")
            probabilities[inside] = predictor.stored_scores(store, rows.image_id)
            taught[inside] = [untaught[label] is None for label in CLASSES]
            weights.append(predictor.bundle.digests["weights"])
            said = overlap(predictor.bundle, predictor.folder, rows)
        figures[name] = {
            "n": len(rows),
            "groups": int(rows.group_id.nunique()),
            "trained_on": {label: int((left.label == label).sum()) for label in CLASSES},
            "overlap": said,
        }
        for (a, b), reason in reasons.items():
            figures[name][f"{a}_vs_{b}"] = (
                missing(reason)
                if reason
                else within_sources(rows, probabilities[inside], (a, b), evaluation.bootstrap, evaluation.seed)
            )
    scored = usable[~np.isnan(probabilities).any(axis=1)]
    together = enter_together(weights, scored, out / "metrics.json", ledger_file) if weights else None
    everything = {}
    for a, b in PAIRS:
        known = taught[:, CLASSES.index(a)] & taught[:, CLASSES.index(b)]
        everything[f"{a}_vs_{b}"] = within_sources(
            usable[known], probabilities[known], (a, b), evaluation.bootstrap, evaluation.seed
        )
    test_set = {"hash": ledger.test_set_hash(scored), "bundle": together}
    found = {"sources": figures, "all": everything, "test_set": test_set}
    write_predictions(usable, probabilities, out / "predictions.csv")
    write_json(out / "metrics.json", found)
    return found


def print_leave_one_out(figures: dict[str, Any]) -> None:
    """Print what ``leave_one_out`` gave, a row per source and pair."""
    table = Table("left out", "pair", "AUROC", "images", title="Each source scored by a network that never saw it")
    for name, of_source in chain(figures["sources"].items(), [("all, each within itself", figures["all"])]):
        for position, (a, b) in enumerate(PAIRS):
            figure = of_source[f"{a}_vs_{b}"]
            shown = escape(str(name)) if position == 0 else ""
            table.add_row(shown, f"{a} vs {b}", escape(as_text(figure)), str(figure.get("n", "")))
        table.add_section()
    Console().print(table)
    for name, of_source in figures["sources"].items():
        if of_source["overlap"]:
            Console().print(f"Overlap of {name} with training: {of_source['overlap']}", markup=False)


def _untaught(left: pd.DataFrame, label: str, source: str) -> str | None:
    if absent := _lacks(left, label):
        return f"without {source} there is no {label} to {absent}"
    groups = left.group_id[(left.label == label) & (left.split == "train")].nunique()
    if groups >= LEAST_GROUPS:
        return None
    return f"without {source} {groups} groups of {label} are left to train on, fewer than {LEAST_GROUPS}"


def _lacks(left: pd.DataFrame, label: str) -> str | None:
    """What a class has no image for: ``train on`` or ``choose the epoch on``; None where it has both."""
    sides = set(left.split[left.label == label])
    uses = {"train": "train on", "val": "choose the epoch on"}
    return next((use for side, use in uses.items() if side not in sides), None)


def _absent(rows: pd.DataFrame, pair: tuple[str, str], source: str) -> str | None:
    return next((f"{source} has no {label} image" for label in pair if not (rows.label == label).any()), None)


def _folder(name: str, names: list[str]) -> str:
    """A folder for a source, whatever characters its name has."""
    plain = "".join(c if c.isalnum() or c in "-_" else "_" for c in name)
    return plain if plain == name else f"{plain}-{names.index(name)}"
