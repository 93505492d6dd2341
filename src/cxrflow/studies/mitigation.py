"""What is said to help against shortcuts, measured: pooled, within sources, and on sources never seen."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from cxrflow.engines import Engine
from cxrflow.evaluation.tables import as_text
from cxrflow.files import write_json
from cxrflow.images.prepare import prepare_images
from cxrflow.params import Evaluation, Images, Training
from cxrflow.records import CLASSES
from cxrflow.statistics.within import PAIRS, within_sources
from cxrflow.studies.cross_validate import cross_validate
from cxrflow.studies.leave_one_out import leave_one_out

#: Each on its own, against ``none``: what it changes in the sections images and training.
MITIGATIONS: dict[str, dict[str, dict[str, Any]]] = {
    "none": {},
    "lungs alone": {"images": {"lungs": "learned", "lungs_use": "mask"}},
    "cropped to the lungs": {"images": {"lungs": "learned", "lungs_use": "crop"}},
    "harmonised": {"images": {"harmonise": "percentiles"}},
    "balanced by source and class": {"training": {"balance": "source_and_class", "sample_weight_covid": None}},
    "group DRO": {"training": {"robust": "group_dro"}},
}
#: What every row starts from, so that a row differs from ``none`` by its mitigation alone.
_PLAIN_IMAGES = {"lungs": "none", "harmonise": "none"}
_PLAIN_TRAINING = {"balance": "covid_share", "robust": "none"}


def mitigation(
    records: pd.DataFrame,
    root: Path,
    images: Images,
    training: Training,
    evaluation: Evaluation,
    engine: Engine,
    out: Path,
    *,
    folds: int = 3,
    names: Sequence[str] = tuple(MITIGATIONS),
    only_training: pd.Series | None = None,
) -> dict[str, Any]:
    """Cross-validate and leave each source out under each mitigation of ``names``.

    records  kept rows (columns of records.py); root  the folder that their paths start at
    only_training  rows that cross-validation learns from and scores nowhere, and leaving one out does without: bool,
             index of ``records``
    out      a folder for each: its images where it prepares them otherwise, ``cross-validation`` and ``leave-one-out``,
             each a set of trainings that go on where they were interrupted and are not done twice; a ledger of looks;
             ``metrics.json``, written after each mitigation
    Returns for each name ``pooled`` (macro AUROC out of fold, all images together as ``cross_validate`` has it), and
    ``within`` and ``left_out``, each with a figure for each of PAIRS ``<a>_vs_<b>``: within sources and folds, and
    within sources from networks that have not seen the source.
    """
    found: dict[str, Any] = {}
    tested = records if only_training is None else records[~only_training]
    for number, name in enumerate(names, start=1):
        Console().print(f"[bold]Mitigation {number} of {len(names)}:[/bold] {name}")
        steps, recipe = with_mitigation(images, training, name)
        place = out / name.replace(" ", "-")
        prepared = place / "images" if "images" in MITIGATIONS[name] else out / "none" / "images"
        store = prepare_images(records, root, steps, engine, prepared)
        pooled = cross_validate(
            records, store, steps, recipe, evaluation, folds, place / "cross-validation", out / "ledger.csv",
            only_training,
        )  # fmt: skip
        scores = pd.read_csv(place / "cross-validation" / "predictions.csv")
        values = scores[list(CLASSES)].to_numpy(dtype=np.float64)
        # Networks of two folds need not agree on how sure they are: images are compared within a fold, too.
        strata = scores.assign(source=[f"{row.source}, fold {row.fold}" for row in scores.itertuples()])
        left_out = leave_one_out(tested, store, steps, recipe, evaluation, place / "leave-one-out", out / "ledger.csv")
        found[name] = {
            "pooled": pooled["test"]["macro_auroc"],
            "within": {
                f"{a}_vs_{b}": within_sources(strata, values, (a, b), evaluation.bootstrap, evaluation.seed)
                for a, b in PAIRS
            },
            "left_out": left_out["all"],
        }
        write_json(out / "metrics.json", found)
    return found


def with_mitigation(images: Images, training: Training, name: str) -> tuple[Images, Training]:
    """The image steps and the training recipe with one mitigation alone, checked as params are."""
    change = MITIGATIONS[name]
    steps = images.model_dump() | _PLAIN_IMAGES | change.get("images", {})
    recipe = training.model_dump() | _PLAIN_TRAINING | change.get("training", {})
    return Images.model_validate(steps), Training.model_validate(recipe)


def print_mitigation(found: dict[str, Any]) -> None:
    """Print what ``mitigation`` gave: a table for each pair of classes."""
    for a, b in PAIRS:
        pair = f"{a}_vs_{b}"
        title = f"{a} against {b}: AUROC, 95 % intervals by group"
        table = Table("mitigation", "macro AUROC, pooled", "within sources", "sources left out", title=title)
        for name, figures in found.items():
            shown = figures["pooled"], figures["within"][pair], figures["left_out"][pair]
            table.add_row(name, *map(as_text, shown))
        Console().print(table)
