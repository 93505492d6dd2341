"""Compares two bundles on the same images: differences of their figures, with intervals."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import stats

from cxrflow.bundle import OperatingPoint
from cxrflow.dataset import Dataset
from cxrflow.engines import Engine
from cxrflow.errors import CxrflowError
from cxrflow.evaluation.ledger import enter, test_set_hash
from cxrflow.evaluation.metrics import one_against_rest
from cxrflow.evaluation.seen import leave_out_seen, seen_before
from cxrflow.files import write_json
from cxrflow.images.prepare import prepare_images, steps_digest
from cxrflow.metadata.build import build_records
from cxrflow.params import Evaluation, Metadata, Sources
from cxrflow.predictor import Predictor
from cxrflow.statistics.figure import Figure, in_words, missing, to_json
from cxrflow.statistics.intervals import proportion, weighted_auroc
from cxrflow.statistics.resampling import LEAST_GROUPS, Bootstrap, effective_groups, group_index, resamples
from cxrflow.statistics.scored import Scored
from cxrflow.task import Task

Points = tuple[OperatingPoint | None, OperatingPoint | None]


@dataclass(frozen=True)
class Comparison:
    """Two bundles to compare, and where to write.

    a, b    the bundles; differences are b - a. Raises CxrflowError if their tasks differ.
    out     folder for ``comparison.json`` and for images that have to be prepared for a bundle
    ledger  file that counts looks at test sets; each bundle's look is recorded
    """

    a: Predictor
    b: Predictor
    params: Evaluation
    engine: Engine
    out: Path
    ledger: Path

    def __post_init__(self) -> None:
        self.b.check_task(self.a.bundle.task)

    @property
    def both(self) -> dict[str, Predictor]:
        """``a`` and ``b``, in this order."""
        return {"a": self.a, "b": self.b}


def compare_stored(comparison: Comparison, dataset: Dataset, root: Path) -> dict[str, Any]:
    """Compare on the images of split ``test`` that neither bundle has seen; writes ``comparison.json``.

    dataset  has the bundles' task; for a bundle with other image steps, the same images are prepared by its steps
    root     folder that the records' paths are relative to
    Returns ``test_set`` (hash), ``n``, ``groups``, ``bundles`` (for ``a`` and ``b``: folder, weights, overlap) and
    ``figures`` (``differences``).
    Raises CxrflowError if the data set has another task, or if no image remains that neither bundle has seen and that
    can be prepared for both.
    """
    comparison.a.check_task(dataset.task)
    test = dataset.split("test")
    test = test.where(_unseen(test.records, comparison))
    first, second = (
        test
        if test.store.steps == steps_digest(predictor.bundle.images)
        else _prepared(comparison, name, test.records, root, test.task)
        for name, predictor in comparison.both.items()
    )
    return _compare(comparison, first, second)


def compare_collections(comparison: Comparison, sources: Sources, metadata: Metadata) -> dict[str, Any]:
    """Compare on every kept image of other collections that neither bundle has seen, each bundle with its own image
    steps; the task of bundle A gives the labels.

    Returns, writes and raises as ``compare_stored``.
    """
    metadata = metadata.model_copy(update={"files": "required"})
    task = comparison.a.bundle.task
    built = build_records(sources, metadata, task, comparison.engine, comparison.out, split=False)
    kept = built.records[_unseen(built.records, comparison)]
    first, second = (_prepared(comparison, name, kept, built.root, task) for name in comparison.both)
    return _compare(comparison, first, second)


def differences(first: Scored, second: Scored, points: Points) -> dict[str, dict[str, Figure]]:
    """``macro_auroc``, ``positive_auroc``, and ``sensitivity`` and ``specificity`` at the operating point for a wanted
    specificity: for each the figures ``a``, ``b`` and ``difference`` (b - a, in [-1, 1]).

    first, second  the same images, scored by A and by B
    points         each bundle's operating point for a wanted specificity, or None; sensitivity and specificity are
                   missing if one is None, or if the wanted specificities differ

    The difference's interval is value +- t times the standard error of a paired bootstrap: the same resamples of groups
    for both (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13), with t for the smallest
    effective number of groups: among all classes for the macro AUROC, among the positive class and the rest for the
    positive class's AUROC. If the two bundles differ in fewer than four groups, the interval is that of two independent
    figures (Newcombe, Stat Med 1998; 17: 873-890, method 10), which is conservative.
    """
    task, groups, pair = first.task, first.groups, (first, second)
    sides = [first.labels == name for name in task.order]
    auroc = [one_against_rest(scored) for scored in pair]
    differ = len(np.unique(groups[(np.abs(first.probabilities - second.probabilities) > 1e-9).any(axis=1)]))
    figures = {
        "macro_auroc": {"a": auroc[0][1], "b": auroc[1][1]},
        "positive_auroc": {"a": auroc[0][0][task.positive], "b": auroc[1][0][task.positive]},
    }
    asked = {
        "macro_auroc": (sides, list(range(len(task.order)))),
        "positive_auroc": ([first.positive, ~first.positive], [task.positive_column]),
    }
    for name, (needed, columns) in asked.items():
        error, fewest = 0.0, min(effective_groups(groups[side]) for side in needed)
        if figures[name]["a"].known:
            drawn = [
                _auroc_gaps(pair, [(c, sides[c]) for c in columns], weights)
                for weights in resamples(needed, groups, first.bootstrap)
            ]
            error = float(np.concatenate(drawn).std(ddof=1))
        figures[name]["difference"] = _difference(figures[name]["a"], figures[name]["b"], error, fewest, differ)
    for name, side in (("sensitivity", first.positive), ("specificity", ~first.positive)):
        figures[name] = _at_points(pair, points, side)
    return figures


def print_comparison(result: dict[str, Any], task: Task) -> None:
    """Print the result of ``compare_stored`` or ``compare_collections``."""
    table = Table("", "A", "B", "B - A")
    table.title = f"{result['n']:,} images of {result['groups']:,} groups, 95 % intervals"
    names = {
        "macro_auroc": "macro AUROC",
        "positive_auroc": f"{task.positive_name} AUROC",
        "sensitivity": f"{task.positive_name} sensitivity at the wanted specificity",
        "specificity": f"{task.positive_name} specificity there",
    }
    for name, said in names.items():
        table.add_row(said, *(in_words(result["figures"][name][which], 3) for which in ("a", "b", "difference")))
    console = Console()
    console.print(table)
    for name, bundle in result["bundles"].items():
        about = f" Overlap with training: {bundle['overlap']}" if bundle["overlap"] else ""
        console.print(f"{name.upper()}: {bundle['folder']}{about}", markup=False, soft_wrap=True)


def _at_points(pair: tuple[Scored, Scored], points: Points, side: NDArray[np.bool_]) -> dict[str, Figure]:
    """Share of the images of ``side``, bool (n,), that each bundle calls correctly at its operating point."""
    a, b = points
    if a is None or b is None or a.wanted != b.wanted or not side.any():
        why = "a bundle has no operating point"
        if a and b:
            why = f"operating points for different specificities, {a.wanted:g} and {b.wanted:g}"
        reason = missing(why if side.any() else "no image of that kind in the set")
        return {"a": reason, "b": reason, "difference": reason}
    right = [
        (scored.positive_scores[side] >= at.threshold) == scored.positive[side]
        for scored, at in zip(pair, (a, b), strict=True)
    ]
    within, bootstrap = pair[0].groups[side], pair[0].bootstrap
    first, second = (proportion(each, within) for each in right)
    gap = right[1].astype(float) - right[0]
    everyone = [np.ones(len(gap), bool)]
    means = np.concatenate(
        [(weights @ gap) / weights.sum(axis=1) for weights in resamples(everyone, within, bootstrap)]
    )
    differ = int(np.count_nonzero(np.bincount(group_index(within), weights=np.abs(gap))))
    difference = _difference(first, second, float(means.std(ddof=1)), effective_groups(within), differ)
    return {"a": first, "b": second, "difference": difference}


def _auroc_gaps(
    pair: tuple[Scored, Scored], sides: list[tuple[int, NDArray[np.bool_]]], weights: NDArray[Any]
) -> NDArray[np.float64]:
    """In each resample, B's mean AUROC over the classes (column, and its images) minus A's: float64 (b,)."""
    first, second = (scored.probabilities for scored in pair)
    gaps = [
        weighted_auroc(second[:, c], side, weights) - weighted_auroc(first[:, c], side, weights) for c, side in sides
    ]
    return np.asarray(np.mean(gaps, axis=0))


def _difference(a: Figure, b: Figure, error: float, groups: float, differ: int) -> Figure:
    """b - a with its interval, from the bootstrap's standard ``error``. If the error is 0, or if there are fewer than
    LEAST_GROUPS effective ``groups`` or groups in which the bundles ``differ``, it comes from the two intervals."""
    for figure in (a, b):
        if not figure.known:
            return figure
    value = b.value - a.value
    if error == 0 or min(differ, groups) < LEAST_GROUPS:
        low = value - np.hypot(b.value - b.low, a.high - a.value)
        high = value + np.hypot(b.high - b.value, a.value - a.low)
    else:
        half = stats.t.ppf(0.975, groups - 1) * error
        low, high = value - half, value + half
    return Figure(value, float(max(low, -1.0)), float(min(high, 1.0)), a.n, a.groups)


def _unseen(records: pd.DataFrame, comparison: Comparison) -> pd.Series:
    """Whether a record is kept and neither bundle has seen it, bool, indexed as ``records``."""
    for predictor in comparison.both.values():
        records = leave_out_seen(records, predictor.folder)
    unseen = records.left_out.isna()
    if not unseen.any():
        raise CxrflowError("compare: the bundles have seen every image; name other collections with --sources.")
    return unseen


def _prepared(comparison: Comparison, name: str, records: pd.DataFrame, root: Path, task: Task) -> Dataset:
    """The images of ``records``, prepared by the image steps of bundle ``name`` (a or b)."""
    steps, out = comparison.both[name].bundle.images, comparison.out / f"images-{name.upper()}"
    store = prepare_images(records, root, steps, comparison.engine, out)
    return Dataset.join(records, store, task)


def _compare(comparison: Comparison, first: Dataset, second: Dataset) -> dict[str, Any]:
    """Compare on the images that both data sets hold."""
    shared = set(first.records.image_id) & set(second.records.image_id)
    if not shared:
        raise CxrflowError(
            "compare: none of the images that neither bundle has seen can be prepared for both; are the files there?"
        )
    sets = [dataset.where(dataset.records.image_id.isin(shared)) for dataset in (first, second)]
    test, params = sets[0].records, comparison.params
    test_set, bootstrap = test_set_hash(test), Bootstrap(params.bootstrap, params.seed)
    scored, bundles = [], {}
    for (name, predictor), dataset in zip(comparison.both.items(), sets, strict=True):
        scored.append(Scored(dataset.task, test, predictor.score(dataset), bootstrap))
        weights = predictor.bundle.digests["weights"]
        enter(comparison.ledger, weights, test_set)
        overlap = seen_before(predictor.bundle, predictor.folder, test)
        bundles[name] = {"folder": str(predictor.folder), "weights": weights, "overlap": overlap}
    points = comparison.a.bundle.thresholds.get("specificity"), comparison.b.bundle.thresholds.get("specificity")
    result = {
        "test_set": test_set,
        "n": len(test),
        "groups": int(test.group_id.nunique()),
        "bundles": bundles,
        "figures": differences(scored[0], scored[1], points),
    }
    write_json(comparison.out / "comparison.json", to_json(result))
    return result
