"""Grouped cross-validation: every image is scored once, by a network that was trained without its group.

If a source has few images of a class, a single test set, with a fifth of them, says little; cross-validation tests all.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrflow.dataset import Dataset
from cxrflow.evaluation.baseline import Baseline, beside, cross_fitted_baseline
from cxrflow.evaluation.calibration import calibration
from cxrflow.evaluation.curves import curves
from cxrflow.evaluation.ledger import test_set_hash
from cxrflow.evaluation.metrics import evaluate
from cxrflow.evaluation.operating import score_left_out, threshold_for_specificity
from cxrflow.evaluation.predictions import write_predictions
from cxrflow.evaluation.seen import seen_before
from cxrflow.files import write_json
from cxrflow.metadata.groups import folds_of
from cxrflow.params import Params
from cxrflow.predictor import Predictor
from cxrflow.records import are_drawn
from cxrflow.statistics.figure import Figure, to_json
from cxrflow.statistics.intervals import proportion
from cxrflow.statistics.resampling import Bootstrap
from cxrflow.statistics.scored import Scored
from cxrflow.statistics.within import within_sources
from cxrflow.studies.folds import FOLD, enter_together, one_process, only_trained, train_or_val
from cxrflow.training.temperature import fit_temperature
from cxrflow.training.train import train


def cross_validate(
    dataset: Dataset,
    params: Params,
    folds: int,
    out: Path,
    ledger: Path,
    features: Path | None = None,
    to_follow: int = 0,
) -> dict[str, Any]:
    """Train ``folds`` networks, each without one fold of the groups, and score this fold with it.

    dataset  its own split is not used; the images of ``only_trained`` are in every training and in no fold
    out      ``fold0``, ``fold1``, ...: the outputs of a training stage each, resumed if interrupted;
             ``predictions.csv``, out of fold; ``metrics.json``, the returned figures
    features  cache for the features of a frozen backbone, by default ``out/features``
    to_follow  trainings that follow these: to say how long all take
    Returns what ``evaluate`` returns for all images together, and
    ``within_folds``    for each source and each pair of classes it has, the AUROC over pairs of images of one fold,
                        because the networks of two folds may be calibrated differently
    ``at_specificity``  ``sensitivity`` and ``specificity`` at each bundle's own threshold, which gives the specificity
                        ``wanted`` on the images it left out; ``roc``, the sensitivity at this specificity on the pooled
                        ROC curve of the scored images
    ``sharpness``       of bundles of several networks: that of ``training.sharpness``, ``in_use``, and the one that
                        ``fits``, which minimises the cross-entropy of the images that are not of the split test
    ``calibration``     as of an evaluation
    ``baseline``, ``test_set`` (hash, bundle: digest of all networks, overlap) and ``folds``.
    Raises CxrflowError as ``train``, and if ``torchrun`` started several processes.
    """
    one_process("cross-validate")
    task, specificity = dataset.task, params.evaluation.specificity
    alone = only_trained(dataset, params)
    tested, learned = np.flatnonzero(~alone), np.flatnonzero(alone)
    usable = dataset.where(tested)
    fold = folds_of(usable.groups, folds, FOLD)
    sides = dataset.divided(np.where(alone, "train", train_or_val(dataset.groups)))
    means, probabilities = np.zeros((2, len(usable), len(task.order)))
    called = np.zeros(len(usable), dtype=np.bool_)
    weights, overlaps, cache = [], [], features or out / "features"
    bootstrap = Bootstrap(params.evaluation.bootstrap, params.evaluation.seed)
    for number in range(folds):
        inside, place = fold == number, out / f"fold{number}"
        used = sides.where(np.concatenate([tested[~inside], learned]))
        more, drawn = folds - number - 1 + to_follow, are_drawn(Path(params.sources.root))
        train(used, params.images, params.training, place, features=cache, to_follow=more, drawn=drawn)
        predictor = Predictor(place / "bundle", features=cache)
        by_fold = predictor.score_by_fold(usable.where(inside))
        means[inside], probabilities[inside] = by_fold.mean(axis=0), predictor.bundle.pooled(by_fold)
        left_out = score_left_out(predictor, sides.where(tested[~inside]), bootstrap)[0]
        threshold = threshold_for_specificity(left_out.positive_scores, left_out.positive, specificity)
        called[inside] = probabilities[inside, task.positive_column] >= threshold
        weights.append(predictor.bundle.digests["weights"])
        overlaps.append(seen_before(predictor.bundle, predictor.folder, usable.records[inside]))
    together = enter_together(weights, usable.records, out / "metrics.json", ledger)
    scored = Scored(task, usable.records, probabilities, bootstrap)
    figures = evaluate(scored)
    blind, reason = cross_fitted_baseline(usable.records, task, bootstrap.seed)
    figures["calibration"] = calibration(scored)
    figures["baseline"] = beside(scored, Baseline(blind, reason, "the other four fifths of the groups"))
    figures["test_set"] = {
        "hash": test_set_hash(usable.records),
        "bundle": together,
        "overlap": " ".join(filter(None, dict.fromkeys(overlaps))) or None,
    }
    figures["folds"] = folds
    if len(predictor.bundle.networks) > 1:
        figures["sharpness"] = _sharpness(usable, means, params.training.sharpness)
    figures["within_folds"] = _within_folds(scored, fold)
    figures["at_specificity"] = _at_specificity(scored, called, specificity)
    write_predictions(usable, probabilities, out / "predictions.csv", fold=fold)
    write_json(out / "metrics.json", to_json(figures))
    return figures


def _sharpness(scored: Dataset, means: NDArray[np.float64], in_use: float) -> dict[str, float | None]:
    """means: of the networks' probabilities, float (n, classes)."""
    learned = (scored.records.split != "test").to_numpy(np.bool_)
    if not learned.any():
        return {"in_use": in_use, "fits": None}
    logits = np.log(np.maximum(means[learned], np.finfo(float).tiny))
    return {"in_use": in_use, "fits": float(np.clip(1 / fit_temperature(logits, scored.truth[learned]), 0.1, 10))}


def _within_folds(scored: Scored, fold: NDArray[np.int64]) -> dict[str, dict[str, Figure]]:
    by_fold = Scored(scored.task, scored.table.assign(source=fold.astype(str)), scored.probabilities, scored.bootstrap)
    found: dict[str, dict[str, Figure]] = {}
    for source in sorted(set(scored.sources)):
        here = scored.sources == source
        held = set(scored.labels[here])
        pairs = [pair for pair in scored.task.pairs if held.issuperset(pair)]
        found[str(source)] = {f"{a}_vs_{b}": within_sources(by_fold.where(here), (a, b)) for a, b in pairs}
    return found


def _at_specificity(scored: Scored, called: NDArray[np.bool_], wanted: float) -> dict[str, Any]:
    positive, groups = scored.positive, scored.groups
    roc = curves(scored)[scored.task.positive]["roc"]
    if not isinstance(roc, Figure):
        value, low, high = (float(np.interp(1 - wanted, roc["x"], roc[key])) for key in ("y", "low", "high"))
        low, high = min(low, value), max(high, value)  # rounding may cross what is interpolated one by one
        roc = Figure(value, low, high, len(scored), int(scored.table.group_id.nunique()))
    return {
        "wanted": wanted,
        "sensitivity": proportion(called[positive], groups[positive]),
        "specificity": proportion(~called[~positive], groups[~positive]),
        "roc": roc,
    }
