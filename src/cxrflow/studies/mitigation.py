"""Measures common mitigations of shortcuts: pooled, within sources, and on unseen sources."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from cxrflow.dataset import Dataset
from cxrflow.engines import Engine
from cxrflow.errors import CxrflowError, nearest
from cxrflow.evaluation.predictions import read_predictions
from cxrflow.files import write_json
from cxrflow.images.prepare import prepare_images
from cxrflow.params import Images, Params, Training, first_member, problems_in
from cxrflow.statistics.figure import in_words, to_json
from cxrflow.statistics.resampling import Bootstrap
from cxrflow.statistics.scored import Scored
from cxrflow.statistics.within import within_sources
from cxrflow.studies.cross_validate import cross_validate
from cxrflow.studies.folds import kept_records, reading_all
from cxrflow.studies.leave_one_out import leave_one_out
from cxrflow.task import Task
from cxrflow.terminal import print_fitting, remark

#: What each mitigation changes in the sections images and training; each is compared with ``none``.
MITIGATIONS: dict[str, dict[str, dict[str, Any]]] = {
    "none": {},
    "lungs alone": {"images": {"lungs": "learned", "lungs_use": "mask"}},
    "cropped to the lungs": {"images": {"lungs": "learned", "lungs_use": "crop"}},
    "harmonised": {"images": {"harmonise": "percentiles"}},
    "balanced by source and class": {"training": {"balance": "source_and_class", "positive_share": None}},
    "group DRO": {"training": {"robust": "group_dro"}},
}
#: Settings that every mitigation starts from, so that it alone differs from ``none``.
_PLAIN_IMAGES = {"lungs": "none", "harmonise": "none"}
_PLAIN_TRAINING = {"balance": "positive_share", "robust": "none"}


def mitigation(
    sources: Path, params: Params, engine: Engine, folds: int, names: Sequence[str], out: Path
) -> dict[str, Any]:
    """Cross-validate and leave each source out under each mitigation of ``names`` (of MITIGATIONS).

    sources  folder of collections
    out      fingerprints; a folder for each mitigation with its images, if it prepares them differently,
             ``cross-validation`` and ``leave-one-out``, whose trainings are resumed if interrupted and kept once
             finished; a ledger; ``metrics.json``, written after each mitigation
    Returns for each name ``pooled`` (macro AUROC out of fold, all images together), and ``within`` and ``left_out``,
    each with a figure for each pair ``<a>_vs_<b>``: ``within`` compares within sources and folds, ``left_out`` within
    sources, scored by networks that have not seen the source.
    Raises CxrflowError for an unknown name, and as ``build_records`` and ``train``.
    """
    if unknown := [name for name in names if name not in MITIGATIONS]:
        near = nearest(unknown[0], MITIGATIONS)
        raise CxrflowError(
            f"mitigation: unknown name {unknown[0]}; the names are: {', '.join(MITIGATIONS)}{near or '.'}"
        )
    params = reading_all(sources, params)
    each = {name: with_mitigation(params, name) for name in names}  # first: one that cannot be stops before any work
    records, root = kept_records(params, engine, out)
    found: dict[str, Any] = {}
    held = records.source.nunique()
    for number, (name, changed) in enumerate(each.items(), start=1):
        remark(f"Mitigation {number} of {len(names)}: {name}")
        place, features = out / name.replace(" ", "-"), out / "features"
        prepared = place / "images" if "images" in MITIGATIONS[name] else out / "none" / "images"
        dataset = Dataset.join(records, prepare_images(records, root, changed.images, engine, prepared), params.task)
        after = (len(names) - number) * (folds + held)
        first, second, ledger = place / "cross-validation", place / "leave-one-out", out / "ledger.csv"
        pooled = cross_validate(dataset, changed, folds, first, ledger, features, held + after)
        left_out = leave_one_out(dataset, changed, second, ledger, features, after)
        scored = _by_source_and_fold(first / "predictions.csv", changed)
        found[name] = {
            "pooled": pooled["test"]["macro_auroc"],
            "within": {f"{a}_vs_{b}": within_sources(scored, (a, b)) for a, b in params.task.pairs},
            "left_out": left_out["all"],
        }
        write_json(out / "metrics.json", to_json(found))
    return found


def with_mitigation(params: Params, name: str) -> Params:
    """The parameters with this mitigation only, of the first of several members, validated.

    Raises CxrflowError if they do not fit together.
    """
    params, change = first_member(params), MITIGATIONS[name]
    images = params.images.model_dump() | _PLAIN_IMAGES | change.get("images", {})
    training = params.training.model_dump() | _PLAIN_TRAINING | change.get("training", {})
    try:
        update = {"images": Images.model_validate(images), "training": Training.model_validate(training)}
    except ValidationError as error:
        raise CxrflowError(f"mitigation: {name} cannot be: {problems_in(error)}; leave it out by --only.") from None
    return params.model_copy(update=update)


def print_mitigation(found: dict[str, Any], task: Task) -> None:
    """Print the result of ``mitigation``, a table for each pair of classes."""
    for a, b in task.pairs:
        pair = f"{a}_vs_{b}"
        title = f"{task.names[a]} against {task.names[b]}: AUROC, 95 % intervals by group"
        rows = []
        for name, figures in found.items():
            shown = figures["pooled"], figures["within"][pair], figures["left_out"][pair]
            rows.append(([name], [in_words(figure, 3) for figure in shown]))
        print_fitting(title, ["mitigation"], ["macro AUROC, pooled", "within sources", "sources left out"], rows)


def _by_source_and_fold(predictions: Path, params: Params) -> Scored:
    """The predictions of cross-validation, with the fold as part of the source's name: images are compared only within
    a source and fold, since the networks of two folds may be calibrated differently."""
    table = read_predictions(predictions, params.task)
    table["source"] = [f"{row.source}, fold {row.fold}" for row in table.itertuples()]
    probabilities = table[list(params.task.order)].to_numpy(dtype=np.float64)
    return Scored(params.task, table, probabilities, Bootstrap(params.evaluation.bootstrap, params.evaluation.seed))
