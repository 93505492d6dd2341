"""Score a test set once, record the look in the ledger, and write figures, predictions and plots."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cxrflow.dataset import Dataset
from cxrflow.engines import Engine
from cxrflow.errors import CxrflowError
from cxrflow.evaluation import curve_plots, plots
from cxrflow.evaluation.baseline import (
    Baseline,
    baseline_probabilities,
    beside,
    cross_fitted_baseline,
    fit_baseline,
)
from cxrflow.evaluation.calibration import abstention, calibration
from cxrflow.evaluation.card import card_section
from cxrflow.evaluation.conformal import set_figures
from cxrflow.evaluation.curves import curves
from cxrflow.evaluation.far import far_figures
from cxrflow.evaluation.ledger import LEDGER, enter, test_set_hash
from cxrflow.evaluation.limits import cannot_tell
from cxrflow.evaluation.metrics import evaluate
from cxrflow.evaluation.operating import figures_at_points
from cxrflow.evaluation.predictions import write_predictions
from cxrflow.evaluation.seen import leave_out_seen, met_before, patients_meet, seen_before, thumbnails_of
from cxrflow.evaluation.slices import slices
from cxrflow.evaluation.subgroups import subgroups
from cxrflow.files import remove, write_json, write_whole
from cxrflow.images.prepare import prepare_all
from cxrflow.metadata import stage
from cxrflow.metadata.build import FINGERPRINTS, Built, build_records
from cxrflow.metadata.counts import why_left_out
from cxrflow.metadata.groups import with_children
from cxrflow.metadata.overlap import collection_overlap
from cxrflow.model_card import CARD, NOT_MEASURED, card_of, with_starts
from cxrflow.params import Evaluation, Params
from cxrflow.predictor import Predictor
from cxrflow.records import write_records
from cxrflow.state import write_sealed
from cxrflow.statistics.figure import Figure, to_json
from cxrflow.statistics.resampling import Bootstrap
from cxrflow.statistics.scored import Scored


@dataclass(frozen=True)
class _TestSet:
    """A test set to score.

    images      the test images
    held        label, source, group_id and patient_id of all images of the same collections, of all splits
    baseline    of the test images
    said        the test set in words, such as ``the split *test*``
    by_patient  as for ``seen_before``
    """

    images: Dataset
    held: pd.DataFrame
    baseline: Baseline
    said: str
    by_patient: bool = True


def evaluate_split(predictor: Predictor, dataset: Dataset, params: Evaluation, out: Path) -> dict[str, Any]:
    """The evaluation stage: figures on the split ``test``; the baseline is learned from the split ``train``.

    Writes ``metrics.json``, ``summary.json``, ``predictions.csv``, ``curves.json``, the model card and ``plots`` into
    ``out``, and records the look in the ledger there. Returns the contents of ``metrics.json``, with typed figures.
    Raises CxrflowError, before any scoring, if the data set's task is not the bundle's.
    """
    predictor.check_task(dataset.task)
    test, train = dataset.split("test"), dataset.split("train")
    blind = baseline_probabilities(fit_baseline(train.records), test.records, dataset.task)
    held, children = dataset.records, with_children(dataset.records)
    # Children who are used for training only (metadata.paediatric: train) do not count as another hospital.
    if (held.split[children] == "train").all():
        held = held[~children]
    baseline = Baseline(blind, "", "the training images' table rows")
    return _score(predictor, _TestSet(test, held, baseline, "the split *test*"), params, out, out / LEDGER)


def evaluate_collections(
    predictor: Predictor, params: Params, engine: Engine, out: Path, ledger: Path
) -> tuple[dict[str, Any], Built, Dataset]:
    """External validation: the same figures on every kept image of the collections in ``params.sources``, labelled by
    the bundle's task.

    Images that the bundle was trained or validated on, their near repeats, similar images, and other images of the same
    patients (as far as ``patients_meet``) are left out, and so are those that could not be prepared. Writes
    ``records.csv`` and the tables of the metadata stage (in ``metadata``) beside the figures; returns the figures, the
    built records with the reason for each exclusion, and the images that were scored.
    """
    task = predictor.bundle.task
    # Seen images are recognised by hashes of the files, so the files are required whatever the parameters say.
    metadata = params.metadata.model_copy(update={"files": "required"})
    built = build_records(params.sources, metadata, task, engine, out, split=False)
    thumbnails = thumbnails_of(built.records, built.root, engine, out / FINGERPRINTS)
    by_patient = patients_meet(predictor.bundle, built.root)
    records = leave_out_seen(built.records, thumbnails, predictor.folder, by_patient)
    kept = records[records.left_out.isna()]
    write_records(records, out / "records.csv")
    reasons, rows = out / "records.csv", len(records)
    nothing = f"{params.sources.root}: none of {rows} rows is left to evaluate; {reasons} gives each reason."
    if kept.empty:
        raise CxrflowError(f"{nothing} {why_left_out(built.with_records(records))}")
    stores = prepare_all(kept, built.root, predictor.bundle.steps, engine, out / "images")
    dataset = Dataset.join(kept, stores, task)
    unprepared = dataset.left_out.set_index("image_id").left_out
    records["left_out"] = records.left_out.where(records.left_out.notna(), records.image_id.map(unprepared))
    records.loc[records.left_out.notna(), "split"] = None
    write_records(records, out / "records.csv")
    if len(dataset) == 0:
        raise CxrflowError(nothing)
    evaluated = built.with_records(records)
    # The overlap of the collections does not depend on what a bundle has seen.
    stage.write_tables(evaluated, collection_overlap(built.table, built.near), out / "metadata")
    blind, reason = cross_fitted_baseline(dataset.records, task, params.evaluation.seed)
    baseline = Baseline(blind, reason, "the other four fifths of these collections' groups")
    said = f"the kept images of {', '.join(dict.fromkeys(dataset.records.source))}"
    test_set = _TestSet(dataset, dataset.records, baseline, said, by_patient)
    return _score(predictor, test_set, params.evaluation, out, ledger), evaluated, dataset


def _score(predictor: Predictor, test_set: _TestSet, params: Evaluation, out: Path, ledger: Path) -> dict[str, Any]:
    images, bundle, bootstrap = test_set.images, predictor.bundle, Bootstrap(params.bootstrap, params.seed)
    by_fold = predictor.score_by_fold(images)
    scored = Scored(images.task, images.records, bundle.pooled(by_fold), bootstrap)
    test_hash = test_set_hash(images.records)
    enter(ledger, bundle.digests["weights"], test_hash)
    figures = evaluate(scored)
    figures["operating_points"] = figures_at_points(scored, bundle, params.prevalence)
    figures["prevalence"] = params.prevalence
    figures["calibration"] = calibration(scored)
    figures["abstention"] = abstention(scored)
    figures["prediction_sets"] = set_figures(scored, bundle.for_sets(by_fold), bundle.prediction_sets)
    figures["far"] = far_figures(bundle, images)
    figures |= subgroups(scored)
    failed = images.where(scored.predicted != scored.truth)
    figures["slices"] = slices(scored, predictor.features(failed))
    figures["cannot_tell"] = cannot_tell(figures, scored, test_set.held)
    figures["baseline"] = beside(scored, test_set.baseline)
    figures["test_set"] = {
        "hash": test_hash,
        "bundle": bundle.digests["weights"],
        "overlap": seen_before(bundle, predictor.folder, images.records, test_set.by_patient),
    }
    figures["starts"] = [met_before(passport, images.records).to_json() for passport in bundle.starts]
    called = np.array(images.task.order)[scored.predicted]
    write_predictions(images, scored.probabilities, out / "predictions.csv", prediction=called)
    _draw(figures, scored, out)
    card = card_of(predictor.folder, bundle).replace(NOT_MEASURED, card_section(figures, images.task, test_set.said))
    met = [start["words"] for start in figures["starts"]]
    write_whole(out / CARD, with_starts(card, bundle, met).encode())
    write_sealed(out / "metrics.json", to_json(figures))
    write_json(out / "summary.json", summary(figures))
    return figures


def _draw(figures: dict[str, Any], scored: Scored, out: Path) -> None:
    task, drawn = scored.task, curves(scored)
    pooled, beside = figures["test"]["macro_auroc"], figures["baseline"]["macro_auroc"]
    pictures = {f"confusion-{key}": plots.confusion_panel(figures["confusion"], task, key) for key in plots.CONFUSION}
    pictures |= {f"curves-{name}": curve_plots.curve_panel(drawn[name], figures, task, name) for name in task.order}
    pictures |= {
        "reliability": curve_plots.reliability_panel(figures["calibration"], len(task.order)),
        "abstention": curve_plots.abstention_panel(figures["abstention"]),
        "within_sources": plots.within_sources(figures["by_source"], pooled, beside, task),
    }
    for name, picture in pictures.items():
        write_whole(out / "plots" / f"{name}.svg", picture)
    for path in (out / "plots").glob("*.svg"):  # of an earlier evaluation there, of other classes
        if path.stem not in pictures:
            remove(path)
    write_sealed(out / "curves.json", to_json(drawn))


def summary(figures: dict[str, Any]) -> dict[str, float | int | None]:
    """Key figures for ``dvc metrics``, flat; None for a missing one.

    ``positive_sensitivity`` and ``positive_specificity`` use the most probable class as the prediction;
    ``sensitivity_at_specificity`` uses the threshold that gives the wanted specificity on val.
    """
    points, macro = figures["operating_points"], figures["test"]["macro_auroc"]

    def value(figure: Figure) -> float | None:
        return figure.value if figure.known else None

    return {
        "macro_auroc": value(macro),
        "macro_auroc_low": macro.low if macro.known else None,
        "macro_auroc_high": macro.high if macro.known else None,
        "baseline_macro_auroc": value(figures["baseline"]["macro_auroc"]),
        "accuracy": value(figures["test"]["accuracy"]),
        "positive_sensitivity": value(points["argmax"]["sensitivity"]),
        "positive_specificity": value(points["argmax"]["specificity"]),
        "sensitivity_at_specificity": value(points["specificity"]["sensitivity"]),
        "ece": figures["calibration"]["ece"],
        "n": figures["n"],
        "groups": figures["groups"],
    }
