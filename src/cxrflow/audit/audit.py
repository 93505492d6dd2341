"""The audit: seven tests of whether the network sees the disease or the hospital, each with a verdict in words."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cxrflow.audit import plots
from cxrflow.audit.pictures import Pictures, evenly, take
from cxrflow.audit.pooled import baseline, gap
from cxrflow.audit.retrain import retrain, usable
from cxrflow.audit.source_probe import network_features, source_probe
from cxrflow.audit.swaps import swaps
from cxrflow.audit.verdicts import FOUND, NOT_FOUND, PAIRS, UNTOLD, Test, apart
from cxrflow.audit.where import heat_of, sanity, where_it_looks
from cxrflow.evaluation.baseline import baseline_probabilities, fit_baseline
from cxrflow.evaluation.limits import FEW
from cxrflow.explanation.explain import true_opacity
from cxrflow.files import write_json, write_whole
from cxrflow.images.prepare import Store
from cxrflow.params import Params
from cxrflow.predictor import Predictor
from cxrflow.records import CLASSES, NAMES

#: Tests of the source: where class and source coincide altogether no figure of theirs tells anything.
_OF_THE_SOURCE = ("source_probe", "baseline", "gap")
#: Pictures of one split that are probed and swapped at most, evenly spaced.
_MOST = 2000


def audit(
    predictor: Predictor,
    records: pd.DataFrame,
    store: Store,
    predictions: pd.DataFrame,
    evaluated: dict[str, Any],
    root: Path,
    params: Params,
    out: Path,
    book: Path,
) -> dict[str, Any]:
    """Write ``audit.json``, ``audit.svg`` and ``where.png``; trainings of test 3 lie in ``retraining``.

    records      kept rows (columns of records.py)
    predictions  as evaluation wrote them, evaluated its figures
    root         of the collections, which holds the true opacities of demo data
    book         the ledger of looks at test sets: the networks of test 3 look, too
    All figures are of the test split; probes and networks are fitted on train (the epoch is chosen on val).
    """
    rows = usable(records, store)
    bootstrap, seed = params.evaluation.bootstrap, params.evaluation.seed
    size = store.images.shape[-1]
    test = take(evenly(rows[rows.split == "test"], _MOST), store, size)
    train = evenly(rows[rows.split == "train"], _MOST)
    fitted_on = Pictures(
        train.reset_index(drop=True), np.asarray(store.images[store.rows_of(train.image_id)]), np.empty(0)
    )
    features = network_features(predictor, fitted_on.images), network_features(predictor, test.images)
    tests: dict[str, Test] = {"source_probe": source_probe(fitted_on, test, features, bootstrap, seed)}
    scored = predictions[list(CLASSES)].to_numpy()
    without = baseline_probabilities(
        fit_baseline(rows[rows.split == "train"]), rows.set_index("image_id").loc[predictions.image_id]
    )
    tests["baseline"] = baseline(predictions, without, scored, bootstrap, seed)
    (out / "retraining").mkdir(parents=True, exist_ok=True)  # DVC looks for it, trained or not
    small = take(rows, store, min(size, params.audit.retrain_size)) if params.audit.retrain_epochs else test
    tests["retraining"] = retrain(
        small, params.images, params.training, params.audit.retrain_epochs, bootstrap, seed, out / "retraining", book
    )
    tests["gap"] = gap(predictions, scored, bootstrap, seed)
    seen = test.some(params.audit.heat_maps)
    positions = store.rows_of(seen.table.image_id)
    opacities = [true_opacity(root, path, store, int(k)) for path, k in zip(seen.table.path, positions, strict=True)]
    heat = heat_of(predictor, seen, seed)
    tests["sanity"] = sanity(seen, heat)
    tests["where"] = where_it_looks(seen, heat, opacities, tests["sanity"]["verdict"] == NOT_FOUND)
    tests["swaps"] = swaps(test, predictor.scores, seed)
    summary = conclude(tests, rows[rows.split == "test"])
    write_whole(out / "audit.svg", plots.forest(summary["tests"], evaluated["test"]["macro_auroc"]))
    write_whole(out / "where.png", plots.panels(seen, heat))
    write_json(out / "audit.json", summary)
    return summary


def conclude(tests: dict[str, Test], table: pd.DataFrame) -> dict[str, Any]:
    """The tests with their last verdicts, ``alarm`` (whether any found a shortcut), ``verdicts`` (how many tests have
    each) and ``apart``, the pairs of classes that meet in no source of the test set (``verdicts.apart``).

    table  label, source and group_id of the test images
    Where any pair meets in no source, that a test finds no shortcut says nothing: what it looks at may not be where the
    source shows. A shortcut that it finds is one all the same; but where no pair meets in any, tests of the source
    cannot be told at all. Test 7, of the heat maps, knows no source.
    """
    order = ("source_probe", "baseline", "retraining", "gap", "where", "swaps", "sanity")
    pairs = apart(table)
    named = "; ".join(f"{NAMES[a]} and {NAMES[b]}" for a, b in pairs)
    why = f"No source of this test set has {FEW} patients of each of these: {named}. There class and source coincide."
    last: dict[str, Test] = {}
    for name in (name for name in order if name in tests):
        test = tests[name]
        silent = len(pairs) == len(PAIRS) and name in _OF_THE_SOURCE
        if silent or (pairs and test["verdict"] == NOT_FOUND and name != "sanity"):
            test = test | {"verdict": UNTOLD, "words": f"{why} {test['words']}"}
        last[name] = test
    given = [test["verdict"] for test in last.values()]
    counted = {verdict: given.count(verdict) for verdict in (FOUND, NOT_FOUND, UNTOLD)}
    return {"alarm": counted[FOUND] > 0, "verdicts": counted, "apart": [list(pair) for pair in pairs], "tests": last}
