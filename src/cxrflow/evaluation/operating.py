"""Operating points: from which probability on an image is called COVID-19. Chosen on val, applied to test."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrflow.bundle import Bundle, OperatingPoint, write_description
from cxrflow.evaluation.conformal import fit_sets
from cxrflow.images.prepare import Store
from cxrflow.params import Evaluation
from cxrflow.predictor import Predictor
from cxrflow.records import CLASSES
from cxrflow.statistics.intervals import Figure, missing, proportion

#: What each operating point is, by its name in ``bundle.json`` and ``metrics.json``.
POINTS = {
    "argmax": "COVID-19 has the greatest probability",
    "specificity": "a wanted specificity",
    "cost_ratio": "the least cost",
}
_COVID = CLASSES.index("covid")


def choose_on_val(folder: Path, records: pd.DataFrame, store: Store, params: Evaluation) -> Bundle:
    """Choose operating points and prediction sets on the rows of split ``val`` and write them into the bundle there.

    records  kept rows (columns of records.py); store  their prepared images
    """
    predictor = Predictor(folder)
    usable = records.image_id.isin(store.index.image_id[store.index.left_out.isna()])
    val = records[usable & (records.split == "val")]
    scores, labels = predictor.stored_scores(store, val.image_id), val.label.to_numpy(str)
    chosen = {
        "thresholds": choose(scores[:, _COVID], labels == "covid", params),
        "prediction_sets": fit_sets(scores, labels, val.group_id.to_numpy(str), params.set_coverage),
    }
    bundle = predictor.bundle.model_copy(update=chosen)
    write_description(folder, bundle)
    return bundle


def choose(scores: NDArray[Any], positive: NDArray[np.bool_], params: Evaluation) -> dict[str, OperatingPoint]:
    """The operating points of POINTS that are thresholds, for probabilities of COVID-19 on val.

    scores  float (n,) in [0, 1]; positive  bool (n,), with both values
    """
    wanted = {"specificity": params.specificity, "cost_ratio": params.cost_ratio}
    chosen = {
        "specificity": threshold_for_specificity(scores, positive, params.specificity),
        "cost_ratio": threshold_for_cost(scores, positive, params.cost_ratio, params.prevalence),
    }
    return {
        name: OperatingPoint(
            wanted=wanted[name],
            prevalence=params.prevalence if name == "cost_ratio" else None,
            threshold=threshold,
            sensitivity=float((scores[positive] >= threshold).mean()),
            specificity=float((scores[~positive] < threshold).mean()),
        )
        for name, threshold in chosen.items()
    }


def threshold_for_specificity(scores: NDArray[Any], positive: NDArray[np.bool_], wanted: float) -> float:
    """The lowest threshold at which the specificity is at least ``wanted``: halfway between two scores of the set.

    scores  float (n,) in [0, 1]; positive  bool (n,), with both values; wanted  in (0, 1)
    """
    thresholds, _, specificity = _curve(scores, positive)
    return float(thresholds[specificity >= wanted].min())


def threshold_for_cost(scores: NDArray[Any], positive: NDArray[np.bool_], ratio: float, prevalence: float) -> float:
    """The threshold of the least expected cost, the lowest of equals: Metz, Semin Nucl Med 1978; 8: 283-298, for whom
    the best point of a ROC curve has the slope (1 - prevalence) / (prevalence * ratio).

    scores, positive  as for ``threshold_for_specificity``
    ratio             cost of a missed case over that of a false alarm, above 0
    prevalence        of COVID-19 where it is used, in (0, 1)
    """
    thresholds, sensitivity, specificity = _curve(scores, positive)
    cost = ratio * prevalence * (1 - sensitivity) + (1 - prevalence) * (1 - specificity)
    return float(thresholds[np.isclose(cost, cost.min(), rtol=0, atol=1e-12)].min())


def figures_at_points(
    table: pd.DataFrame, probabilities: NDArray[Any], bundle: Bundle, prevalence: float
) -> dict[str, dict[str, Any]]:
    """For each of POINTS the figures of COVID-19 against the rest: threshold, wanted, ``prevalence`` (that it was
    chosen for, or None), ``on_val`` (what it reached there), sensitivity, specificity, ppv, npv, and
    ``ppv_at_prevalence`` and ``npv_at_prevalence``.

    table          label and group_id of each image; probabilities  float (n, 3) in the order of CLASSES
    Where the bundle has no such operating point the figures are missing, with that reason.
    """
    scores, positive = probabilities[:, _COVID], (table.label == "covid").to_numpy()
    groups = table.group_id.to_numpy(str)
    out: dict[str, dict[str, Any]] = {}
    for name in POINTS:
        point = bundle.thresholds.get(name)
        if name == "argmax":
            called = probabilities.argmax(axis=1) == _COVID
        elif point is not None:
            called = scores >= point.threshold
        else:
            out[name] = _unknown(f"the bundle has no operating point {name}: train it again")
            continue
        out[name] = {
            "threshold": point and point.threshold,
            "wanted": point and point.wanted,
            "prevalence": point and point.prevalence,
            "on_val": point and {"sensitivity": point.sensitivity, "specificity": point.specificity},
            **_figures(called, positive, groups, prevalence),
        }
    return out


def at_prevalence(sensitivity: Figure, specificity: Figure, prevalence: float) -> tuple[Figure, Figure]:
    """PPV and NPV at a prevalence in (0, 1), by Bayes, with 95 % intervals.

    Post-test odds are those before times a likelihood ratio (Altman and Bland, BMJ 1994; 309: 102), whose interval
    comes from those of sensitivity and specificity, of different patients (``ratio_interval``).
    Simulated coverage (1,000 draws; 15 to 100 patients with COVID-19 and three times as many others, of 1 to 8 images,
    intra-class correlation 0 to 0.6): 0.92 to 0.98.
    """
    if sensitivity["value"] is None or specificity["value"] is None:
        reason = missing(sensitivity.get("reason") or specificity["reason"])
        return reason, reason
    found, false = sensitivity, _complement(specificity)
    ppv = _posterior(found, false, prevalence, "no image was called covid")
    missed = _posterior(_complement(sensitivity), specificity, prevalence, "every image was called covid")
    return ppv, missed if missed["value"] is None else _complement(missed)


def ratio_interval(above: Figure, below: Figure) -> tuple[float, float]:
    """Interval of the ratio of two independent proportions from their own: MOVER-R (Donner and Zou, Stat Methods Med
    Res 2012; 21: 347-359, equation 9). The upper limit is infinite where ``below`` may be 0."""
    product = above["value"] * below["value"]

    def limit(over: float, under: float, sign: int) -> float:
        last = under * (2 * below["value"] - under)
        inside = product**2 - over * (2 * above["value"] - over) * last
        if last == 0:
            return float("inf")
        return float((product + sign * np.sqrt(max(inside, 0.0))) / last)

    return max(limit(above["low"], below["high"], -1), 0.0), limit(above["high"], below["low"], 1)


def _curve(scores: NDArray[Any], positive: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """All thresholds that tell scores apart, halfway between neighbours, with sensitivity and specificity, float (k,).
    The lowest calls every image, the highest none."""
    values = np.unique(scores)
    between = (values[1:] + values[:-1]) / 2
    thresholds: NDArray[Any] = np.r_[values[0], between, np.nextafter(values[-1], 2)]
    yes, no = np.sort(scores[positive]), np.sort(scores[~positive])
    sensitivity = 1 - np.searchsorted(yes, thresholds) / len(yes)
    specificity = np.searchsorted(no, thresholds) / len(no)
    return thresholds, sensitivity, specificity


def _figures(
    called: NDArray[np.bool_], positive: NDArray[np.bool_], groups: NDArray[Any], prevalence: float
) -> dict[str, Figure]:
    sensitivity = proportion(called[positive], groups[positive], "no covid image in the set")
    specificity = proportion(~called[~positive], groups[~positive], "every image in the set is covid")
    ppv, npv = at_prevalence(sensitivity, specificity, prevalence)
    return {
        "sensitivity": sensitivity,
        "specificity": specificity,
        "ppv": proportion(positive[called], groups[called], "no image was called covid"),
        "npv": proportion(~positive[~called], groups[~called], "every image was called covid"),
        "ppv_at_prevalence": ppv,
        "npv_at_prevalence": npv,
    }


def _unknown(reason: str) -> dict[str, Any]:
    names = ("sensitivity", "specificity", "ppv", "npv", "ppv_at_prevalence", "npv_at_prevalence")
    return dict.fromkeys(("threshold", "wanted", "prevalence", "on_val")) | {name: missing(reason) for name in names}


def _complement(figure: Figure) -> Figure:
    return figure | {"value": 1 - figure["value"], "low": 1 - figure["high"], "high": 1 - figure["low"]}


def _posterior(above: Figure, below: Figure, prevalence: float, nothing: str) -> Figure:
    """The share of COVID-19 among those of whom something is seen, in ``above`` of COVID-19, ``below`` of others."""
    if above["value"] == below["value"] == 0:
        return missing(nothing)
    odds = prevalence / (1 - prevalence)
    value = odds * above["value"] / (odds * above["value"] + below["value"])
    low, high = (
        1.0 if np.isinf(ratio) else odds * ratio / (odds * ratio + 1) for ratio in ratio_interval(above, below)
    )
    return {"value": value, "low": min(low, value), "high": max(high, value), "n": above["n"] + below["n"],
            "groups": above["groups"] + below["groups"]}  # fmt: skip
