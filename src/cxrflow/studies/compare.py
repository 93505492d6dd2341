"""Two bundles on the same images: how far apart they are, and how sure of that one can be."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from cxrflow.bundle import OperatingPoint
from cxrflow.engines import Engine
from cxrflow.errors import CxrflowError
from cxrflow.evaluation import ledger
from cxrflow.evaluation.seen import leave_out_seen, overlap
from cxrflow.files import write_json
from cxrflow.images.prepare import Store, prepare_images, steps_digest
from cxrflow.metadata.build import build_records
from cxrflow.params import Evaluation, Metadata
from cxrflow.predictor import Predictor
from cxrflow.records import CLASSES
from cxrflow.statistics.intervals import Figure, Question, aurocs, missing, proportion, weighted_auroc
from cxrflow.statistics.resampling import effective_groups, group_index, resamples

_COVID = CLASSES.index("covid")
#: Below this many groups that the two bundles treat differently, resamples are not relied on.
_FEW = 4


def compare_stored(
    both: tuple[Predictor, Predictor],
    records: pd.DataFrame,
    root: Path,
    store: Store,
    params: Evaluation,
    engine: Engine,
    out: Path,
    book: Path,
) -> dict[str, Any]:
    """Compare on the images of split ``test`` that neither bundle has seen; writes ``out/comparison.json``.

    records  kept rows, of files below ``root``; book  the ledger
    store    their images, for a bundle of the same image steps; a bundle of others has them prepared by its own, so
             that two sizes can be compared
    Raises CxrflowError where no image is left that neither has seen, or none of these can be prepared.
    """
    test = _unseen(records[records.split == "test"], both)
    stores = [
        store
        if store.steps == steps_digest(predictor.bundle.images)
        else prepare_images(test, root, predictor.bundle.images, engine, out / f"images-{name}")
        for name, predictor in zip("AB", both, strict=True)
    ]
    return _compare(both, test, (stores[0], stores[1]), params, out, book)


def compare_collections(
    both: tuple[Predictor, Predictor],
    root: Path,
    metadata: Metadata,
    params: Evaluation,
    engine: Engine,
    out: Path,
    book: Path,
) -> dict[str, Any]:
    """The same on every kept image of the collections below ``root`` that neither bundle has seen, each bundle with its
    own image steps."""
    metadata = metadata.model_copy(update={"files": "required"})
    built = build_records(root, None, metadata, engine, out / "fingerprints.sqlite", split=False)
    kept = _unseen(built.records, both)
    stores = [
        prepare_images(kept, built.root, predictor.bundle.images, engine, out / f"images-{name}")
        for name, predictor in zip("AB", both, strict=True)
    ]
    return _compare(both, kept, (stores[0], stores[1]), params, out, book)


def differences(
    table: pd.DataFrame,
    first: NDArray[Any],
    second: NDArray[Any],
    points: tuple[OperatingPoint | None, OperatingPoint | None],
    bootstrap: int,
    seed: int,
) -> dict[str, dict[str, Figure]]:
    """``macro_auroc``, ``covid_auroc``, and ``sensitivity`` and ``specificity`` for COVID-19 at the operating point of
    a wanted specificity: each the figures ``a``, ``b`` and ``difference`` (b - a, in [-1, 1]).

    table       label and group_id of each image; first, second  float (n, 3), the probabilities of A and B
    points      of each bundle the operating point of a wanted specificity, or None; of two that want another, the
                figures there are missing

    The difference's interval comes from the same resamples of groups for both (paired bootstrap; Efron and Tibshirani,
    An Introduction to the Bootstrap, 1993, chapter 13), with t for the effective number of groups on the smaller side:
    of the three classes for the macro AUROC, of COVID-19 and the rest for its own.
    Where the two differ in fewer than four groups the resamples cannot tell, and it is that of two independent figures
    (Newcombe, Stat Med 1998; 17: 873-890, method 10), which is too wide.
    """
    labels, groups = table.label.to_numpy(str), table.group_id.to_numpy(str)
    sides = [labels == name for name in CLASSES]
    covid = sides[_COVID]
    auroc = [
        aurocs({n: Question(p[:, c], sides[c], n) for c, n in enumerate(CLASSES)}, groups, bootstrap, seed)
        for p in (first, second)
    ]
    differ = np.unique(groups[(np.abs(first - second) > 1e-9).any(axis=1)])
    out: dict[str, dict[str, Figure]] = {
        "macro_auroc": {"a": auroc[0][1], "b": auroc[1][1]},
        "covid_auroc": {"a": auroc[0][0]["covid"], "b": auroc[1][0]["covid"]},
    }
    asked = {"macro_auroc": (sides, list(range(len(CLASSES)))), "covid_auroc": ([covid, ~covid], [_COVID])}
    for name, (needed, classes) in asked.items():
        error, fewest = None, min(effective_groups(groups[side]) for side in needed)
        if out[name]["a"]["value"] is not None:
            drawn = [
                _auroc_gaps(first, second, [(c, sides[c]) for c in classes], weights)
                for weights in resamples(needed, groups, bootstrap, seed)
            ]
            error = np.concatenate(drawn).std(ddof=1)
        out[name]["difference"] = _difference(out[name], error, fewest, len(differ))
    for name, side in (("sensitivity", covid), ("specificity", ~covid)):
        out[name] = _at_points(first, second, points, side, groups, covid, (bootstrap, seed))
    return out


def _at_points(
    first: NDArray[Any],
    second: NDArray[Any],
    points: tuple[OperatingPoint | None, OperatingPoint | None],
    side: NDArray[np.bool_],
    groups: NDArray[Any],
    covid: NDArray[np.bool_],
    draw: tuple[int, int],
) -> dict[str, Figure]:
    a, b = points
    if a is None or b is None or a.wanted != b.wanted or not side.any():
        why = "a bundle has no operating point"
        if a and b:
            why = f"operating points for different specificities, {a.wanted:g} and {b.wanted:g}"
        reason = missing(why if side.any() else "no image of that kind in the set")
        return {"a": reason, "b": reason, "difference": reason}
    right = [(p[side, _COVID] >= at.threshold) == covid[side] for p, at in ((first, a), (second, b))]
    within = groups[side]
    pair = {name: proportion(each, within) for name, each in zip("ab", right, strict=True)}
    gap = right[1].astype(float) - right[0]
    everyone = [np.ones(len(gap), bool)]
    means = np.concatenate([(weights @ gap) / weights.sum(axis=1) for weights in resamples(everyone, within, *draw)])
    differ = int(np.count_nonzero(np.bincount(group_index(within), weights=np.abs(gap))))
    return pair | {"difference": _difference(pair, means.std(ddof=1), effective_groups(within), differ)}


def _auroc_gaps(
    first: NDArray[Any], second: NDArray[Any], sides: list[tuple[int, NDArray[np.bool_]]], weights: NDArray[Any]
) -> NDArray[np.float64]:
    """In each resample B's mean AUROC of the classes (number, and which images have it) less A's: float (b,)."""
    gaps = [
        weighted_auroc(second[:, c], side, weights) - weighted_auroc(first[:, c], side, weights) for c, side in sides
    ]
    return np.asarray(np.mean(gaps, axis=0))


def _difference(pair: dict[str, Figure], error: float | None, groups: float, differ: int) -> Figure:
    a, b = pair["a"], pair["b"]
    for figure in (a, b):
        if figure["value"] is None:
            return missing(figure["reason"])
    value = b["value"] - a["value"]
    if not error or differ < _FEW or groups < _FEW:
        low = value - np.hypot(b["value"] - b["low"], a["high"] - a["value"])
        high = value + np.hypot(b["high"] - b["value"], a["value"] - a["low"])
    else:
        half = stats.t.ppf(0.975, groups - 1) * error
        low, high = value - half, value + half
    counted = {key: a[key] for key in ("n", "groups")}
    return {"value": value, "low": float(max(low, -1.0)), "high": float(min(high, 1.0)), **counted}


def _unseen(records: pd.DataFrame, both: tuple[Predictor, Predictor]) -> pd.DataFrame:
    for predictor in both:
        records = leave_out_seen(records, predictor.folder)
    kept = records[records.left_out.isna()]
    if kept.empty:
        raise CxrflowError("compare: the bundles have seen every image; name other collections with --sources.")
    return kept


def _compare(
    both: tuple[Predictor, Predictor],
    test: pd.DataFrame,
    stores: tuple[Store, Store],
    params: Evaluation,
    out: Path,
    book: Path,
) -> dict[str, Any]:
    for store in stores:
        test = test[test.image_id.isin(store.index.image_id[store.index.left_out.isna()])]
    if test.empty:
        raise CxrflowError(
            "compare: no image that neither bundle has seen can be prepared for both; are the files there?"
        )
    test_set = ledger.test_set_hash(test)
    scores, bundles = [], {}
    for name, predictor, store in zip("ab", both, stores, strict=True):
        scores.append(predictor.stored_scores(store, test.image_id))
        weights = predictor.bundle.digests["weights"]
        ledger.enter(book, datetime.now(UTC), weights, test_set)
        said = overlap(predictor.bundle, predictor.folder, test)
        bundles[name] = {"folder": str(predictor.folder), "weights": weights, "overlap": said}
    points = both[0].bundle.thresholds.get("specificity"), both[1].bundle.thresholds.get("specificity")
    figures = differences(test, scores[0], scores[1], points, params.bootstrap, params.seed)
    result = {"test_set": test_set, "n": len(test), "groups": int(test.group_id.nunique()), "bundles": bundles}
    result["figures"] = figures
    write_json(out / "comparison.json", result)
    return result
