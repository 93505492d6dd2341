"""Whether a probability of 0.8 is right 8 times in 10, and what is gained by leaving the unsure images to people."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from cxrflow.records import CLASSES
from cxrflow.statistics.intervals import Figure, missing, proportion
from cxrflow.statistics.resampling import group_index

_BINS = 10
#: Shares of the images that are answered, the surest first, at which the risk is given.
ANSWERED = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)


def calibration(
    probabilities: NDArray[Any], labels: NDArray[Any], groups: NDArray[Any], bootstrap: int, seed: int
) -> dict[str, Any]:
    """Calibration of the predicted class's probability.

    probabilities  float (n, 3) in the order of CLASSES; labels  str (n,); groups  (n,)

    ``bins``      reliability diagram: for each tenth of [1/3, 1] that has images, ``confidence`` (their mean), and the
                  figure ``right`` (share of them predicted rightly)
    ``ece``       expected calibration error over these bins (Guo et al. 2017, equation 3, theirs are of [0, 1])
    ``ece_if_calibrated``  mean and 95th percentile (``mean``, ``p95``) of the same error if every probability were
                  exactly right: it is never 0 (consistency resampling: Broecker and Smith, Weather Forecast 2007; 22:
                  651-661); the images of a group are taken to be right or wrong together
    ``brier``     squared distance between probabilities and the true class, in [0, 2] (Brier, Mon Weather Rev 1950; 78:
                  1-3), with a 95 % interval from the variance between groups
    """
    sure, right = _sure_and_right(probabilities, labels)
    index = group_index(groups)
    place = np.clip(((sure - 1 / 3) / (2 / 3) * _BINS).astype(int), 0, _BINS - 1)
    rng = np.random.default_rng(seed)
    chance = np.array([_ece(sure, rng.random(index.max() + 1)[index] < sure, place) for _ in range(bootstrap)])
    truth = np.eye(len(CLASSES))[[CLASSES.index(label) for label in labels]]
    return {
        "bins": [
            {"confidence": float(sure[place == b].mean()), "right": proportion(right[place == b], groups[place == b])}
            for b in range(_BINS)
            if (place == b).any()
        ],
        "ece": _ece(sure, right, place),
        "ece_if_calibrated": {"mean": float(chance.mean()), "p95": float(np.quantile(chance, 0.95))},
        "brier": mean_figure(((probabilities - truth) ** 2).sum(axis=1), index),
    }


def abstention(probabilities: NDArray[Any], labels: NDArray[Any], groups: NDArray[Any]) -> list[dict[str, Any]]:
    """Risk against coverage (Geifman and El-Yaniv, NeurIPS 2017): for each of ANSWERED ``answered``, ``least`` (the
    smallest probability that is answered) and the figure ``risk`` (share of the answered images that are wrong)."""
    sure, right = _sure_and_right(probabilities, labels)
    descending = np.sort(sure)[::-1]
    rows = []
    for share in ANSWERED:
        least = descending[max(int(np.ceil(share * len(sure) - 1e-9)), 1) - 1]
        answered = sure >= least  # equals are answered together
        risk = proportion(~right[answered], groups[answered])
        rows.append({"answered": float(answered.mean()), "least": float(least), "risk": risk})
    return rows


def mean_figure(values: NDArray[Any], index: NDArray[np.intp]) -> Figure:
    """Mean of values (n,) of groups numbered from 0, with the linearised between-group variance and t for the effective
    number of groups (as ``intervals.proportion``); missing where that is below 2."""
    n, mean = len(values), float(values.mean())
    sizes = np.bincount(index).astype(float)
    residuals = np.bincount(index, weights=values - mean)
    effective = n**2 / (sizes**2).sum()
    if effective < 2:
        return missing("too few groups")
    error = np.sqrt(effective / (effective - 1) * (residuals**2).sum()) / n
    half = float(stats.t.ppf(0.975, effective - 1) * error)
    return {"value": mean, "low": mean - half, "high": mean + half, "n": n, "groups": len(sizes)}


def _sure_and_right(probabilities: NDArray[Any], labels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    predicted = np.array(CLASSES)[probabilities.argmax(axis=1)]
    return probabilities.max(axis=1), predicted == labels


def _ece(sure: NDArray[Any], right: NDArray[np.bool_], place: NDArray[np.intp]) -> float:
    gap = np.bincount(place, weights=right - sure, minlength=_BINS)
    return float(np.abs(gap).sum() / len(sure))
