"""Calibration (is a probability of 0.8 right 8 times in 10?) and abstention (risk if unsure images are deferred)."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrflow.statistics.figure import Figure
from cxrflow.statistics.intervals import clustered_mean, proportion
from cxrflow.statistics.resampling import group_index
from cxrflow.statistics.scored import Scored

_BINS = 10
#: Coverages at which the risk is reported: shares of the images that are answered, the most confident first.
ANSWERED = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)


def calibration(scored: Scored) -> dict[str, Any]:
    """Calibration of the predicted class's probability, which lies in [1/k, 1] for k classes.

    ``bins``      reliability diagram: for each tenth of [1/k, 1] that has images, ``confidence`` (mean probability),
                  and the figure ``right`` (share predicted correctly)
    ``ece``       expected calibration error over these bins (Guo et al. 2017, equation 3, with bins of [0, 1])
    ``ece_if_calibrated``  mean and 95th percentile (``mean``, ``p95``) of the ECE of a perfectly calibrated network on
                  these images, which is not 0 (consistency resampling: Broecker and Smith, Weather Forecast 2007; 22:
                  651-661). The images of a group are drawn as correct or wrong together
    ``brier``     squared distance between probabilities and the true class, in [0, 2] (Brier, Mon Weather Rev 1950; 78:
                  1-3), with a 95 % cluster-robust interval, cut to this range

    The ECE is computed here, because the bins of torchmetrics' ``calibration_error`` span [0, 1], and consistency
    resampling would call it a thousand times. The tests compare with it, and with scikit-learn's ``brier_score_loss``,
    which has no interval.
    """
    sure, right = _sure_and_right(scored)
    groups, index = scored.groups, group_index(scored.groups)
    classes = len(scored.task.order)
    place = np.clip(((sure - 1 / classes) / ((classes - 1) / classes) * _BINS).astype(int), 0, _BINS - 1)
    rng = np.random.default_rng(scored.bootstrap.seed)
    draws = range(scored.bootstrap.count)
    chance = np.array([_ece(sure, rng.random(index.max() + 1)[index] < sure, place) for _ in draws])
    truth = np.eye(classes)[scored.truth]
    return {
        "bins": [
            {"confidence": float(sure[place == b].mean()), "right": proportion(right[place == b], groups[place == b])}
            for b in range(_BINS)
            if (place == b).any()
        ],
        "ece": _ece(sure, right, place),
        "ece_if_calibrated": {"mean": float(chance.mean()), "p95": float(np.quantile(chance, 0.95))},
        "brier": _in_range(clustered_mean(((scored.probabilities - truth) ** 2).sum(axis=1), groups)),
    }


def _in_range(brier: Figure) -> Figure:
    """A Brier score with its interval cut to [0, 2]: few groups make it wider than what is possible."""
    return replace(brier, low=max(brier.low, 0.0), high=min(brier.high, 2.0)) if brier.known else brier


def abstention(scored: Scored) -> list[dict[str, Any]]:
    """Risk-coverage curve (Geifman and El-Yaniv, NeurIPS 2017): for each of ANSWERED, ``answered`` (the coverage),
    ``least`` (the smallest probability answered) and the figure ``risk`` (error rate of the answered images)."""
    sure, right = _sure_and_right(scored)
    groups, descending = scored.groups, np.sort(sure)[::-1]
    rows = []
    for share in ANSWERED:
        least = descending[max(int(np.ceil(share * len(sure) - 1e-9)), 1) - 1]
        answered = sure >= least  # images of equal probability are answered together
        risk = proportion(~right[answered], groups[answered])
        rows.append({"answered": float(answered.mean()), "least": float(least), "risk": risk})
    return rows


def _sure_and_right(scored: Scored) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    return scored.probabilities.max(axis=1), np.asarray(scored.predicted == scored.truth)


def _ece(sure: NDArray[Any], right: NDArray[np.bool_], place: NDArray[np.intp]) -> float:
    gap = np.bincount(place, weights=right - sure, minlength=_BINS)
    return float(np.abs(gap).sum() / len(sure))
