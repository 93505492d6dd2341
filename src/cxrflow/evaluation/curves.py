"""ROC and precision-recall curves of each class against the rest, with bands that count groups."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from cxrflow.records import CLASSES
from cxrflow.statistics.intervals import missing
from cxrflow.statistics.resampling import effective_groups, resamples

#: Where the curves are read: at these shares of false alarms (ROC), at these sensitivities (precision-recall).
GRID = np.linspace(0, 1, 101)
_Z = float(stats.norm.ppf(0.975))

Curve = dict[str, Any]


def curves(
    probabilities: NDArray[Any], labels: NDArray[Any], groups: NDArray[Any], bootstrap: int, seed: int
) -> dict[str, dict[str, Curve]]:
    """For each class ``roc`` (sensitivity at each 1 - specificity of GRID) and ``precision_recall`` (PPV at each
    sensitivity of GRID): lists ``x``, ``y``, ``low``, ``high``; or value None and the reason where one side is absent.

    probabilities  float (n, 3) in the order of CLASSES; labels  str (n,); groups  (n,)

    The band is pointwise, 95 %, from resamples of groups: their variance at each place says how many independent images
    the place is worth, never more than the groups there, and Wilson's interval of so many is the band. Percentiles of
    the resamples would have no width where the curve is at 0 or 1.
    """
    out: dict[str, dict[str, Curve]] = {}
    for c, name in enumerate(CLASSES):
        positive = labels == name
        if not positive.any() or positive.all():
            reason = missing(f"no {name} image in the set" if not positive.any() else f"every image is {name}")
            out[name] = {"roc": reason, "precision_recall": reason}
            continue
        scores = probabilities[:, c]
        one = np.ones((1, len(scores)))
        drawn = [
            _both(scores, positive, weights) for weights in resamples([positive, ~positive], groups, bootstrap, seed)
        ]
        roc, precision = (part[0] for part in _both(scores, positive, one))
        few = np.full(len(GRID), effective_groups(groups[positive]))
        called = [effective_groups(groups[scores >= at]) for at in _thresholds(scores[positive])]
        out[name] = {
            "roc": _band(roc, np.concatenate([both[0] for both in drawn]), few),
            "precision_recall": _band(precision, np.concatenate([both[1] for both in drawn]), np.array(called)),
        }
    return out


def _both(
    scores: NDArray[Any], positive: NDArray[np.bool_], weights: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sensitivity at each 1 - specificity of GRID, and PPV at each sensitivity of GRID, float (b, 101) each.

    A place between two thresholds takes the lower threshold's PPV and a straight line of sensitivities, as the area
    under the curve does (ties count half).
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.flatnonzero(np.r_[ranked[1:] != ranked[:-1], True])
    ordered = np.asarray(weights, np.float64)[:, order]
    found = np.cumsum(ordered * positive[order], axis=1)[:, ends]
    false = np.cumsum(ordered * ~positive[order], axis=1)[:, ends]
    ppv = found / np.maximum(found + false, 1e-12)
    roc, precision = np.empty((len(weights), len(GRID))), np.empty((len(weights), len(GRID)))
    for row in range(len(weights)):
        x, y = false[row] / false[row, -1], found[row] / found[row, -1]
        # Of several places with the same 1 - specificity, interp takes the last, the top of the step.
        roc[row] = np.interp(GRID, np.r_[0.0, x], np.r_[0.0, y])
        reached = np.searchsorted(y, np.minimum(np.maximum(GRID, 1e-9), y[-1]) - 1e-12)
        precision[row] = ppv[row, reached]
    return roc, precision


def _thresholds(scores: NDArray[Any]) -> NDArray[Any]:
    """The score from which on each sensitivity of GRID is reached, float (101,); scores: of the class, (n,)."""
    descending = np.sort(scores)[::-1]
    return descending[np.maximum(np.ceil(GRID * len(scores) - 1e-9).astype(int) - 1, 0)]


def _band(curve: NDArray[Any], drawn: NDArray[Any], groups: NDArray[Any]) -> Curve:
    groups = np.maximum(groups, 1.0)
    inner = (curve * groups + 0.5) / (groups + 1)  # away from 0 and 1, where no resample varies
    variance = np.maximum(drawn.var(axis=0, ddof=1), 1e-12)
    widen = (stats.t.ppf(0.975, np.maximum(groups - 1, 1)) / _Z) ** 2
    worth = np.clip(inner * (1 - inner) / variance / widen, 1.0, groups)
    centre = (curve + _Z**2 / (2 * worth)) / (1 + _Z**2 / worth)
    half = _Z / (1 + _Z**2 / worth) * np.sqrt(curve * (1 - curve) / worth + _Z**2 / (4 * worth**2))
    low, high = np.clip(np.minimum(centre - half, curve), 0, 1), np.clip(np.maximum(centre + half, curve), 0, 1)
    return {"x": GRID.tolist(), "y": curve.tolist(), "low": low.tolist(), "high": high.tolist()}
