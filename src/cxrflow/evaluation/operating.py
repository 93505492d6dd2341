"""Operating points: thresholds from which an image is called positive, chosen on val and applied to test."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrflow.bundle import Bundle, OperatingPoint
from cxrflow.bundle_files import write_description
from cxrflow.dataset import Dataset
from cxrflow.evaluation.conformal import fit_cross_sets, fit_sets
from cxrflow.evaluation.far import fit_far
from cxrflow.evaluation.ledger import test_set_hash
from cxrflow.evaluation.metrics import macro_auroc
from cxrflow.files import write_json
from cxrflow.folds import NEVER, fold_of
from cxrflow.params import Evaluation
from cxrflow.predictor import Predictor
from cxrflow.statistics.figure import Figure, missing
from cxrflow.statistics.intervals import proportion
from cxrflow.statistics.resampling import Bootstrap
from cxrflow.statistics.scored import Scored
from cxrflow.task import Task

#: Operating points by their names in ``thresholds.json`` and ``metrics.json``.
POINTS = ("argmax", "specificity", "cost_ratio")
_FIGURES = ("sensitivity", "specificity", "ppv", "npv", "ppv_at_prevalence", "npv_at_prevalence")


def point_names(task: Task) -> dict[str, str]:
    """The criterion of each operating point, in words."""
    said = (f"{task.positive_name} has the greatest probability", "a wanted specificity", "the least cost")
    return dict(zip(POINTS, said, strict=True))


def choose_left_out(folder: Path, dataset: Dataset, params: Evaluation, figures: Path | None = None) -> Bundle:
    """Choose operating points and prediction sets, and write them into the bundle in ``folder``: on the split ``val``,
    or, if its networks left out folds, on the images of train and val, each scored by the networks that had left it
    out. Beside them, what is far from the training images (evaluation/far.py).

    figures  file for the macro AUROC of these images (``summary_left_out``); None: write none
    """
    predictor = Predictor(folder)
    scored, fold = score_left_out(predictor, dataset, Bootstrap(params.bootstrap, params.seed))
    if figures:
        write_json(figures, summary_left_out(scored))
    folds, coverage = predictor.bundle.folds, params.set_coverage
    chosen = {
        "thresholds": choose(scored.positive_scores, scored.positive, params),
        "prediction_sets": fit_cross_sets(scored, fold, folds, coverage) if folds else fit_sets(scored, coverage),
        "far": fit_far(dataset.of(predictor.bundle.networks[0].images)),
    }
    bundle = predictor.bundle.model_copy(update=chosen)
    write_description(folder, bundle)
    return bundle


def score_left_out(predictor: Predictor, dataset: Dataset, bootstrap: Bootstrap) -> tuple[Scored, NDArray[np.int64]]:
    """The images that a bundle's networks left out in training, scored by those that did; and the fold of each image.

    What all networks left out, val, is scored as any image (``Bundle.pooled``); the mean of the networks that left out
    a fold is not sharpened, because they are fewer than the bundle's.
    dataset  what the bundle was trained on, with the same splits
    """
    folds = predictor.bundle.folds
    fold = fold_of(dataset, folds) if folds else np.where(dataset.records.split == "val", 0, NEVER)
    used, fold = dataset.where(fold >= 0), fold[fold >= 0]
    probabilities = np.empty((len(used), len(dataset.task.order)))
    for number in range(max(folds, 1)):
        inside = fold == number
        scores = predictor.score_by_fold(used.where(inside), number if folds else None)
        probabilities[inside] = scores.mean(axis=0) if folds else predictor.bundle.pooled(scores)
    return Scored(dataset.task, used.records, probabilities, bootstrap), fold


def summary_left_out(scored: Scored) -> dict[str, float | int | str | None]:
    """``macro_auroc`` with ``macro_auroc_low`` and ``macro_auroc_high``, None if it is missing; ``n``, ``groups``; and
    ``images``, the first 12 digits of ``test_set_hash``, by which two runs know whether they left out the same.

    By these figures runs are ranked. They are optimistic: epoch and temperature were chosen on the same images.
    """
    macro = macro_auroc(scored)
    return {
        "macro_auroc": macro.value if macro.known else None,
        "macro_auroc_low": macro.low if macro.known else None,
        "macro_auroc_high": macro.high if macro.known else None,
        "n": len(scored),
        "groups": len(np.unique(scored.groups)),
        "images": test_set_hash(scored.table)[:12],
    }


def choose(scores: NDArray[Any], positive: NDArray[np.bool_], params: Evaluation) -> dict[str, OperatingPoint]:
    """Choose the operating points that have a threshold, from the probabilities of the positive class on val.

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
    """The lowest threshold with a specificity of at least ``wanted``, halfway between two scores of the set.

    scores  float (n,) in [0, 1]; positive  bool (n,), with both values; wanted  in (0, 1)
    """
    thresholds, _, specificity = _curve(scores, positive)
    return float(thresholds[specificity >= wanted].min())


def threshold_for_cost(scores: NDArray[Any], positive: NDArray[np.bool_], ratio: float, prevalence: float) -> float:
    """The threshold of least expected cost, the lowest one if several tie. At this point the slope of the ROC curve is
    (1 - prevalence) / (prevalence * ratio) (Metz, Semin Nucl Med 1978; 8: 283-298).

    scores, positive  as for ``threshold_for_specificity``
    ratio             cost of a missed case over that of a false alarm, above 0
    prevalence        of the positive class where the network is used, in (0, 1)
    """
    thresholds, sensitivity, specificity = _curve(scores, positive)
    cost = ratio * prevalence * (1 - sensitivity) + (1 - prevalence) * (1 - specificity)
    return float(thresholds[np.isclose(cost, cost.min(), rtol=0, atol=1e-12)].min())


def figures_at_points(scored: Scored, bundle: Bundle, prevalence: float) -> dict[str, dict[str, Any]]:
    """For each of POINTS, the figures of the positive class against the rest: ``threshold``, ``wanted``, ``prevalence``
    (for which the threshold was chosen, or None), ``on_val`` (sensitivity and specificity on val), ``sensitivity``,
    ``specificity``, ``ppv``, ``npv``, ``ppv_at_prevalence`` and ``npv_at_prevalence``.

    If the bundle lacks an operating point, its figures are missing, with this as the reason.
    """
    out: dict[str, dict[str, Any]] = {}
    for name in POINTS:
        point = bundle.thresholds.get(name)
        if name == "argmax":
            called = scored.predicted == scored.task.positive_column
        elif point is not None:
            called = scored.positive_scores >= point.threshold
        else:
            out[name] = _unknown(f"the bundle has no operating point {name}: train it again")
            continue
        out[name] = {
            "threshold": point and point.threshold,
            "wanted": point and point.wanted,
            "prevalence": point and point.prevalence,
            "on_val": point and {"sensitivity": point.sensitivity, "specificity": point.specificity},
            **_figures(scored, np.asarray(called), prevalence),
        }
    return out


def at_prevalence(
    sensitivity: Figure, specificity: Figure, prevalence: float, positive_name: str
) -> tuple[Figure, Figure]:
    """PPV and NPV at a prevalence in (0, 1), by Bayes' theorem, with 95 % intervals.

    Post-test odds are pre-test odds times a likelihood ratio (Altman and Bland, BMJ 1994; 309: 102). The likelihood
    ratio's interval comes from those of sensitivity and specificity, which are independent, as they are computed from
    different patients (``ratio_interval``). Simulated coverage (1,000 draws; 15 to 100 positive patients and three
    times as many others, of 1 to 8 images, intra-class correlation 0 to 0.6): 0.92 to 0.98.
    """
    for figure in (sensitivity, specificity):
        if not figure.known:
            return missing(figure.reason), missing(figure.reason)
    ppv = _posterior(sensitivity, _complement(specificity), prevalence)
    missed = _posterior(_complement(sensitivity), specificity, prevalence)
    return (
        missing(f"no image was called {positive_name}") if ppv is None else ppv,
        missing(f"every image was called {positive_name}") if missed is None else _complement(missed),
    )


def ratio_interval(above: Figure, below: Figure) -> tuple[float, float]:
    """Interval of the ratio of two independent proportions from their own intervals: MOVER-R (Donner and Zou, Stat
    Methods Med Res 2012; 21: 347-359, equation 9). The upper limit is infinite where ``below`` may be 0."""
    product = above.value * below.value

    def limit(over: float, under: float, sign: int) -> float:
        last = under * (2 * below.value - under)
        inside = product**2 - over * (2 * above.value - over) * last
        if last == 0:
            return float("inf")
        return float((product + sign * np.sqrt(max(inside, 0.0))) / last)

    return max(limit(above.low, below.high, -1), 0.0), limit(above.high, below.low, 1)


def _curve(scores: NDArray[Any], positive: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """All thresholds that separate scores, halfway between neighbours, with sensitivity and specificity, float (k,).
    The lowest calls every image positive, the highest none."""
    values = np.unique(scores)
    between = (values[1:] + values[:-1]) / 2
    thresholds: NDArray[Any] = np.r_[values[0], between, np.nextafter(values[-1], 2)]
    yes, no = np.sort(scores[positive]), np.sort(scores[~positive])
    sensitivity = 1 - np.searchsorted(yes, thresholds) / len(yes)
    specificity = np.searchsorted(no, thresholds) / len(no)
    return thresholds, sensitivity, specificity


def _figures(scored: Scored, called: NDArray[np.bool_], prevalence: float) -> dict[str, Figure]:
    positive, groups, name = scored.positive, scored.groups, scored.task.positive_name
    sensitivity = proportion(called[positive], groups[positive], f"no {name} image in the set")
    specificity = proportion(~called[~positive], groups[~positive], f"every image in the set is {name}")
    ppv = proportion(positive[called], groups[called], f"no image was called {name}")
    npv = proportion(~positive[~called], groups[~called], f"every image was called {name}")
    figures = (sensitivity, specificity, ppv, npv, *at_prevalence(sensitivity, specificity, prevalence, name))
    return dict(zip(_FIGURES, figures, strict=True))


def _unknown(reason: str) -> dict[str, Any]:
    nothing: dict[str, Any] = dict.fromkeys(("threshold", "wanted", "prevalence", "on_val"))
    return nothing | dict.fromkeys(_FIGURES, missing(reason))


def _complement(figure: Figure) -> Figure:
    return replace(figure, value=1 - figure.value, low=1 - figure.high, high=1 - figure.low)


def _posterior(above: Figure, below: Figure, prevalence: float) -> Figure | None:
    """Post-test probability of the positive class, given a result that the share ``above`` of the positives and the
    share ``below`` of the others have; None if the result never occurs."""
    if above.value == below.value == 0:
        return None
    odds = prevalence / (1 - prevalence)
    value = odds * above.value / (odds * above.value + below.value)
    low, high = (
        1.0 if np.isinf(ratio) else odds * ratio / (odds * ratio + 1) for ratio in ratio_interval(above, below)
    )
    return Figure(value, min(low, value), max(high, value), above.n + below.n, above.groups + below.groups)
