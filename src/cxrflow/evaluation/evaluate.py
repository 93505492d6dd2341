"""Score a test set once, enter it in the ledger, write the figures and what they were computed from."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cxrflow.engines import Engine
from cxrflow.errors import CxrflowError
from cxrflow.evaluation import curve_plots, ledger, plots
from cxrflow.evaluation.baseline import baseline_probabilities, cross_fitted_baseline, fit_baseline
from cxrflow.evaluation.calibration import abstention, calibration
from cxrflow.evaluation.card import card_section
from cxrflow.evaluation.conformal import set_figures
from cxrflow.evaluation.curves import curves
from cxrflow.evaluation.limits import cannot_tell
from cxrflow.evaluation.metrics import evaluate, macro_auroc
from cxrflow.evaluation.operating import figures_at_points
from cxrflow.evaluation.predictions import write_predictions
from cxrflow.evaluation.seen import leave_out_seen, overlap
from cxrflow.evaluation.subgroups import subgroups
from cxrflow.files import write_json, write_whole
from cxrflow.images.prepare import Store, prepare_images
from cxrflow.metadata import stage
from cxrflow.metadata.build import Built, build_records
from cxrflow.metadata.groups import with_children
from cxrflow.metadata.overlap import overlap as meets
from cxrflow.model_card import CARD, NOT_MEASURED, card_of
from cxrflow.params import Evaluation, Metadata
from cxrflow.predictor import Predictor
from cxrflow.records import CLASSES, write_records
from cxrflow.statistics.intervals import missing

LEDGER = "ledger.csv"


@dataclass(frozen=True)
class Baseline:
    """Pixel-free probabilities (n, 3) of the test rows, or None and the reason; and what they were learned from."""

    probabilities: np.ndarray | None
    reason: str
    learned_from: str


def evaluate_split(
    predictor: Predictor, records: pd.DataFrame, store: Store, params: Evaluation, out: Path
) -> dict[str, Any]:
    """The stage: figures on the rows of split ``test``, the baseline learned from the rows of split ``train``.

    records  kept rows (columns of records.py); store  their prepared images
    """
    usable = records[records.image_id.isin(store.index.image_id[store.index.left_out.isna()])]
    test, train = usable[usable.split == "test"], usable[usable.split == "train"]
    baseline = Baseline(baseline_probabilities(fit_baseline(train), test), "", "the training images' table rows")
    children = with_children(usable)
    # Children whom nothing tests (metadata.paediatric: train) are no other hospital to ask.
    held = usable if (usable.split[children] != "train").any() else usable[~children]
    return _score(predictor, test, held, store, baseline, params, out, out / LEDGER, "the split *test*")


def evaluate_collections(
    predictor: Predictor,
    root: Path,
    metadata: Metadata,
    params: Evaluation,
    engine: Engine,
    out: Path,
    ledger_file: Path,
) -> tuple[dict[str, Any], Built]:
    """The same figures on every kept image of the collections below ``root``, which the bundle must not have seen.

    Images that the bundle was trained or validated on, their near repeats, and other images of the same patients are
    left out, and so are those that could not be prepared. Writes ``records.csv`` and the tables of the metadata stage
    (in ``metadata``) beside the figures; returns the figures and what was built, with every reason for leaving out.
    """
    # Without the files there would be no hashes to tell seen images by, whatever the parameter file says.
    metadata = metadata.model_copy(update={"files": "required"})
    built = build_records(root, None, metadata, engine, out / "fingerprints.sqlite", split=False)
    records = leave_out_seen(built.records, predictor.folder)
    kept = records[records.left_out.isna()]
    write_records(records, out / "records.csv")
    nothing = f"{root}: no image is left to evaluate of {len(records)} rows; {out / 'records.csv'} says why for each."
    if kept.empty:
        raise CxrflowError(nothing)
    store = prepare_images(kept, built.root, predictor.bundle.images, engine, out / "images")
    records.loc[kept.index, "left_out"] = store.index.left_out.to_numpy()
    usable = records[records.left_out.isna()]
    records.loc[records.left_out.notna(), "split"] = None
    write_records(records, out / "records.csv")
    if usable.empty:
        raise CxrflowError(nothing)
    evaluated = replace(built, records=records)
    # Which collection holds which does not change with what a bundle has seen.
    stage.write_tables(evaluated, meets(built.records, built.near), out / "metadata")
    probabilities, reason = cross_fitted_baseline(usable, params.seed)
    baseline = Baseline(probabilities, reason, "the other four fifths of these collections' groups")
    scored = f"the collections in `{root}`"
    return _score(predictor, usable, usable, store, baseline, params, out, ledger_file, scored), evaluated


def _score(
    predictor: Predictor,
    test: pd.DataFrame,
    held: pd.DataFrame,
    store: Store,
    baseline: Baseline,
    params: Evaluation,
    out: Path,
    ledger_file: Path,
    scored: str,
) -> dict[str, Any]:
    test_set = ledger.test_set_hash(test)
    ledger.enter(ledger_file, datetime.now(UTC), predictor.bundle.digests["weights"], test_set)
    probabilities = predictor.stored_scores(store, test.image_id)
    figures = evaluate(test, probabilities, params.bootstrap, params.seed)
    labels, groups = test.label.to_numpy(str), test.group_id.to_numpy(str)
    figures["operating_points"] = figures_at_points(test, probabilities, predictor.bundle, params.prevalence)
    figures["prevalence"] = params.prevalence
    figures["calibration"] = calibration(probabilities, labels, groups, params.bootstrap, params.seed)
    figures["abstention"] = abstention(probabilities, labels, groups)
    figures["prediction_sets"] = set_figures(probabilities, labels, groups, predictor.bundle.prediction_sets)
    figures |= subgroups(test, probabilities, params.bootstrap, params.seed)
    figures["cannot_tell"] = cannot_tell(figures, test, held)
    if baseline.probabilities is None:
        beside: dict[str, Any] = missing(baseline.reason)
    else:
        beside = dict(macro_auroc(test, baseline.probabilities, params.bootstrap, params.seed))
    figures["baseline"] = {"macro_auroc": beside, "learned_from": baseline.learned_from}
    figures["test_set"] = {
        "hash": test_set,
        "bundle": predictor.bundle.digests["weights"],
        "overlap": overlap(predictor.bundle, predictor.folder, test),
    }
    called = [CLASSES[k] for k in probabilities.argmax(axis=1)]
    write_predictions(test, probabilities, out / "predictions.csv", prediction=called)
    aurocs = {name: figures["test"][name]["auroc"] for name in CLASSES}
    shares = {name: float((labels == name).mean()) for name in CLASSES}
    drawn = curves(probabilities, labels, groups, params.bootstrap, params.seed)
    pictures = {
        "confusion": plots.confusion_panels(figures["confusion"]),
        "curves": curve_plots.curve_panels(drawn, aurocs, shares, figures["operating_points"]),
        "calibration": curve_plots.calibration_panels(figures["calibration"], figures["abstention"]),
        "within_sources": plots.within_sources(figures["by_source"], figures["test"]["macro_auroc"], beside),
    }
    for name, picture in pictures.items():
        write_whole(out / "plots" / f"{name}.svg", picture)
    write_json(out / "curves.json", drawn)
    card = card_of(predictor.folder, predictor.bundle).replace(NOT_MEASURED, card_section(figures, scored))
    write_whole(out / CARD, card.encode())
    write_json(out / "metrics.json", figures)
    return figures
