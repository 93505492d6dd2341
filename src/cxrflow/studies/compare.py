"""Compares two bundles on the same images: differences of their figures, with intervals."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from cxrflow.dataset import Dataset
from cxrflow.engines import Engine
from cxrflow.errors import CxrflowError
from cxrflow.evaluation.differences import SAME_WEIGHTS, differences
from cxrflow.evaluation.ledger import enter, test_set_hash
from cxrflow.evaluation.seen import leave_out_seen, patients_meet, seen_before, thumbnails_of
from cxrflow.files import Root, write_json
from cxrflow.images.prepare import prepare_all, steps_digest
from cxrflow.metadata.build import FINGERPRINTS, build_records
from cxrflow.params import Evaluation, Metadata, Sources
from cxrflow.predictor import Predictor
from cxrflow.statistics.figure import in_words, to_json
from cxrflow.statistics.resampling import Bootstrap
from cxrflow.statistics.scored import Scored
from cxrflow.task import Task
from cxrflow.terminal import print_fitting, say
from cxrflow.text import number_of


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


def compare_stored(comparison: Comparison, dataset: Dataset, root: Root) -> dict[str, Any]:
    """Compare on the images of split ``test`` that neither bundle has seen; writes ``comparison.json``.

    dataset  has the bundles' task; for a bundle with other image steps, the same images are prepared by its steps
    root     where the records' paths lead
    Returns ``test_set`` (hash), ``n``, ``groups``, ``bundles`` (for ``a`` and ``b``: folder, weights, overlap) and
    ``figures`` (``differences``).
    Raises CxrflowError if the data set has another task, or if no image remains that neither bundle has seen and that
    can be prepared for both.
    """
    comparison.a.check_task(dataset.task)
    test = dataset.split("test")
    test = test.where(_unseen(test.records, comparison, root))
    first, second = (
        test
        if {store.steps for store in test.stores}.issuperset(map(steps_digest, predictor.bundle.steps))
        else _prepared(comparison, name, test.records, root, test.task)
        for name, predictor in comparison.both.items()
    )
    return _compare(comparison, first, second, root)


def compare_collections(comparison: Comparison, sources: Sources, metadata: Metadata) -> dict[str, Any]:
    """Compare on every kept image of other collections that neither bundle has seen, each bundle with its own image
    steps; the task of bundle A gives the labels.

    Returns, writes and raises as ``compare_stored``.
    """
    metadata = metadata.model_copy(update={"files": "required"})
    task = comparison.a.bundle.task
    built = build_records(sources, metadata, task, comparison.engine, comparison.out, split=False)
    kept = built.records[_unseen(built.records, comparison, built.root)]
    first, second = (_prepared(comparison, name, kept, built.root, task) for name in comparison.both)
    return _compare(comparison, first, second, built.root)


def print_comparison(result: dict[str, Any], task: Task) -> None:
    """Print the result of ``compare_stored`` or ``compare_collections``."""
    title = f"{number_of(result['n'], 'image')} of {number_of(result['groups'], 'group')}, 95 % intervals"
    names = {
        "macro_auroc": "macro AUROC",
        "positive_auroc": f"{task.positive_name} AUROC",
        "sensitivity": f"{task.positive_name} sensitivity at the wanted specificity",
        "specificity": f"{task.positive_name} specificity there",
    }
    rows = [
        ([said], [in_words(result["figures"][name][which], 3) for which in ("a", "b", "difference")])
        for name, said in names.items()
    ]
    print_fitting(title, [""], ["A", "B", "B - A"], rows)
    if len({bundle["weights"] for bundle in result["bundles"].values()}) == 1:
        say(SAME_WEIGHTS)
    for name, bundle in result["bundles"].items():
        about = f" Overlap with training: {bundle['overlap']}" if bundle["overlap"] else ""
        say(f"{name.upper()}: {bundle['folder']}{about}")


def _unseen(records: pd.DataFrame, comparison: Comparison, root: Root) -> pd.Series:
    """Whether a record is kept and neither bundle has seen it, bool, indexed as ``records``."""
    thumbnails = thumbnails_of(records, root, comparison.engine, comparison.out / FINGERPRINTS)
    for predictor in comparison.both.values():
        records = leave_out_seen(records, thumbnails, predictor.folder, patients_meet(predictor.bundle, root))
    unseen = records.left_out.isna()
    if not unseen.any():
        raise CxrflowError("compare: the bundles have seen every image; name other collections with --sources.")
    return unseen


def _prepared(comparison: Comparison, name: str, records: pd.DataFrame, root: Root, task: Task) -> Dataset:
    """The images of ``records``, prepared by the image steps of bundle ``name`` (a or b)."""
    steps, out = comparison.both[name].bundle.steps, comparison.out / f"images-{name.upper()}"
    return Dataset.join(records, prepare_all(records, root, steps, comparison.engine, out), task)


def _compare(comparison: Comparison, first: Dataset, second: Dataset, root: Root) -> dict[str, Any]:
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
        overlap = seen_before(predictor.bundle, predictor.folder, test, patients_meet(predictor.bundle, root))
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
