"""Grouped cross-validation: every image is scored once, by a network that has seen nobody of its group.

Where a source holds few images of a class, one test set of a fifth of them says little; out of fold, all of them test.
"""

import hashlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cxrflow.errors import CxrflowError
from cxrflow.evaluation import ledger
from cxrflow.evaluation.baseline import cross_fitted_baseline
from cxrflow.evaluation.curves import curves
from cxrflow.evaluation.metrics import evaluate, macro_auroc
from cxrflow.evaluation.operating import threshold_for_specificity
from cxrflow.evaluation.predictions import write_predictions
from cxrflow.evaluation.seen import overlap
from cxrflow.files import write_json
from cxrflow.images.prepare import Store
from cxrflow.params import Evaluation, Images, Training
from cxrflow.predictor import Predictor
from cxrflow.records import CLASSES
from cxrflow.statistics.intervals import Figure, missing, proportion
from cxrflow.statistics.within import PAIRS, within_sources
from cxrflow.training.train import train

#: Share of the groups outside a fold that choose the epoch, the rest train.
_VAL = 0.15
_COVID = CLASSES.index("covid")
_BAND = {"value": "y", "low": "low", "high": "high"}


def folds_of(group_ids: pd.Series, count: int) -> np.ndarray:
    """The fold of each row, int (n,) in [0, count): by a hash of its group, so that adding rows moves nobody."""
    return np.array([int(_share("fold", group) * count) for group in group_ids], dtype=np.int64)


def cross_validate(
    records: pd.DataFrame,
    store: Store,
    images: Images,
    training: Training,
    evaluation: Evaluation,
    count: int,
    out: Path,
    ledger_file: Path,
    only_training: pd.Series | None = None,
) -> dict[str, Any]:
    """Train ``count`` networks, each without one fold of the groups, and score that fold with it.

    records  kept rows (columns of records.py); their own split is not used
    only_training  rows that every fold learns from and none scores, bool, index of ``records``; groups whole
    out      ``fold0``, ``fold1``, ...: each a training as the stage writes it, which goes on where it was interrupted;
             ``predictions.csv``, out of fold; ``metrics.json``, the figures that are returned
    Returns what ``evaluate`` gives, of all images together, and ``within_folds``, for each source and pair of classes
    the AUROC over pairs of images of one fold: networks of two folds need not agree on how sure they are;
    ``covid_at_specificity``, ``sensitivity`` and ``specificity`` for COVID-19 at the threshold with which each fold's
    network reaches the specificity ``wanted`` on its own val, and ``roc``, the sensitivity where the pooled ROC curve
    of the scored images has that specificity.
    Raises CxrflowError as ``train``, and where ``torchrun`` started several processes.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise CxrflowError("cross-validate: runs as one process; start it without torchrun.")
    usable = records[records.image_id.isin(store.index.image_id[store.index.left_out.isna()])].reset_index(drop=True)
    alone: list[str] = [] if only_training is None else records.image_id[only_training].tolist()
    learned = usable[usable.image_id.isin(alone)]
    usable = usable[~usable.image_id.isin(learned.image_id)].reset_index(drop=True)
    fold = folds_of(usable.group_id, count)
    divided = usable.assign(split=train_or_val(usable.group_id))
    probabilities = np.zeros((len(usable), len(CLASSES)))
    weights, said = [], []
    called = np.zeros(len(usable), dtype=bool)
    for number in range(count):
        outside = fold != number
        place = out / f"fold{number}"
        train(pd.concat([divided[outside], learned.assign(split="train")]), store, images, training, place)
        predictor = Predictor(place / "bundle")
        probabilities[~outside] = predictor.stored_scores(store, usable.image_id[~outside])
        val = divided[outside & (divided.split == "val").to_numpy()]
        on_val = predictor.stored_scores(store, val.image_id)[:, _COVID]
        threshold = threshold_for_specificity(on_val, (val.label == "covid").to_numpy(), evaluation.specificity)
        called[~outside] = probabilities[~outside, _COVID] >= threshold
        weights.append(predictor.bundle.digests["weights"])
        said.append(overlap(predictor.bundle, predictor.folder, usable[~outside]))
    both = enter_together(weights, usable, out / "metrics.json", ledger_file)
    figures = evaluate(usable, probabilities, evaluation.bootstrap, evaluation.seed)
    blind, reason = cross_fitted_baseline(usable, evaluation.seed)
    beside = macro_auroc(usable, blind, evaluation.bootstrap, evaluation.seed) if blind is not None else missing(reason)
    figures["baseline"] = {"macro_auroc": beside, "learned_from": "the other four fifths of the groups"}
    figures["test_set"] = {
        "hash": ledger.test_set_hash(usable),
        "bundle": both,
        "overlap": " ".join(filter(None, dict.fromkeys(said))) or None,
    }
    figures["folds"] = count
    figures["within_folds"] = _within_folds(usable, fold, probabilities, evaluation)
    figures["covid_at_specificity"] = _at_specificity(usable, probabilities, called, evaluation)
    write_predictions(usable, probabilities, out / "predictions.csv", fold=fold)
    write_json(out / "metrics.json", figures)
    return figures


def _within_folds(
    scored: pd.DataFrame, fold: np.ndarray, probabilities: np.ndarray, how: Evaluation
) -> dict[str, dict[str, Figure]]:
    found: dict[str, dict[str, Figure]] = {}
    for source in sorted(set(scored.source)):
        here = (scored.source == source).to_numpy()
        rows = scored[here].assign(source=fold[here].astype(str))
        held = set(rows.label)
        found[str(source)] = {
            f"{a}_vs_{b}": within_sources(rows, probabilities[here], (a, b), how.bootstrap, how.seed)
            for a, b in PAIRS
            if {a, b} <= held
        }
    return found


def _at_specificity(
    scored: pd.DataFrame, probabilities: np.ndarray, called: np.ndarray, how: Evaluation
) -> dict[str, Any]:
    labels, groups = scored.label.to_numpy(str), scored.group_id.to_numpy(str)
    covid, count = labels == "covid", {"n": len(scored), "groups": int(scored.group_id.nunique())}
    roc: Figure = curves(probabilities, labels, groups, how.bootstrap, how.seed)["covid"]["roc"]
    if "y" in roc:
        roc = {name: float(np.interp(1 - how.specificity, roc["x"], roc[key])) for name, key in _BAND.items()} | count
    return {
        "wanted": how.specificity,
        "sensitivity": proportion(called[covid], groups[covid]),
        "specificity": proportion(~called[~covid], groups[~covid]),
        "roc": roc,
    }


def train_or_val(group_ids: pd.Series) -> np.ndarray:
    """``train`` or ``val`` for each row, str (n,), by a hash of its group."""
    return np.array(["val" if _share("val", group) < _VAL else "train" for group in group_ids], dtype=object)


def enter_together(weights: list[str], scored: pd.DataFrame, metrics: Path, ledger_file: Path) -> str:
    """Enter in the ledger that several networks, as one, have scored these rows; not again where ``metrics`` has it.

    weights  their digests, in order; returned is the digest of all
    """
    together = hashlib.sha256("".join(weights).encode()).hexdigest()
    if _bundle_of(metrics) != together:
        now = datetime.now(UTC)
        ledger.enter(ledger_file, now, together, ledger.test_set_hash(scored))
        if (scored.split == "test").any():  # a look at the test split, too
            ledger.enter(ledger_file, now, together, ledger.test_set_hash(scored[scored.split == "test"]))
    return together


def _bundle_of(metrics: Path) -> str | None:
    try:
        return json.loads(metrics.read_text())["test_set"]["bundle"]
    except (OSError, ValueError, KeyError):
        return None


def _share(purpose: str, group: str) -> float:
    """A number in [0, 1) that a group's name alone decides."""
    return int(hashlib.sha256(f"{purpose} {group}".encode()).hexdigest()[:15], 16) / 16**15
