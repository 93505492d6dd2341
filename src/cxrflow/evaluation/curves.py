"""ROC and precision-recall curves of each class against the rest, with confidence bands clustered by group."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from cxrflow.statistics.figure import Figure, missing
from cxrflow.statistics.intervals import wilson
from cxrflow.statistics.resampling import effective_groups, resamples
from cxrflow.statistics.scored import Scored

#: Values of the x axis: 1 - specificity for the ROC curve, sensitivity for the precision-recall curve.
GRID = np.linspace(0, 1, 101)
_Z = float(stats.norm.ppf(0.975))

#: ``x`` (GRID), ``y``, ``low`` and ``high``, 101 floats each.
Curve = dict[str, list[float]]


def curves(scored: Scored) -> dict[str, dict[str, Curve | Figure]]:
    """For each class ``roc`` (sensitivity at each 1 - specificity of GRID) and ``precision_recall`` (PPV at each
    sensitivity of GRID); a missing figure with the reason if the class is absent or the only one.

    The band is a pointwise 95 % Wilson interval on the effective sample size: p (1 - p) over the group-bootstrap
    variance, at most the effective number of groups that the point is computed from. Percentiles of the resamples would
    have no width where the curve is at 0 or 1.
    """
    out: dict[str, dict[str, Curve | Figure]] = {}
    groups = scored.groups
    for c, name in enumerate(scored.task.order):
        positive, said = scored.labels == name, scored.task.names[name]
        if not positive.any() or positive.all():
            reason = missing(f"no {said} image in the set" if not positive.any() else f"every image is {said}")
            out[name] = {"roc": reason, "precision_recall": reason}
            continue
        scores = np.asarray(scored.probabilities[:, c])
        one = np.ones((1, len(scores)))
        sides = [positive, ~positive]
        drawn = [_both(scores, positive, weights) for weights in resamples(sides, groups, scored.bootstrap)]
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

    Between two thresholds the sensitivity is interpolated linearly, as in the area under the curve (ties count half),
    and the PPV is that of the lower threshold.
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
        # At a vertical step interp takes the last point, which is its top.
        roc[row] = np.interp(GRID, np.r_[0.0, x], np.r_[0.0, y])
        reached = np.searchsorted(y, np.minimum(np.maximum(GRID, 1e-9), y[-1]) - 1e-12)
        precision[row] = ppv[row, reached]
    return roc, precision


def _thresholds(scores: NDArray[Any]) -> NDArray[Any]:
    """The threshold that reaches each sensitivity of GRID, float (101,), from the scores (n,) of the class's images."""
    descending = np.sort(scores)[::-1]
    return np.asarray(descending[np.maximum(np.ceil(GRID * len(scores) - 1e-9).astype(int) - 1, 0)])


def _band(curve: NDArray[Any], drawn: NDArray[Any], groups: NDArray[Any]) -> Curve:
    """The curve with its band.

    curve   float (101,)
    drawn   the curve in each resample, float (b, 101)
    groups  effective number of groups that each point is computed from, float (101,)
    """
    groups = np.maximum(groups, 1.0)
    inner = (curve * groups + 0.5) / (groups + 1)  # away from 0 and 1, where no resample varies
    variance = np.maximum(drawn.var(axis=0, ddof=1), 1e-12)
    widen = (stats.t.ppf(0.975, np.maximum(groups - 1, 1)) / _Z) ** 2  # t for the number of groups in place of z
    low, high = wilson(curve, np.clip(inner * (1 - inner) / variance / widen, 1.0, groups))
    low, high = np.clip(np.minimum(low, curve), 0, 1), np.clip(np.maximum(high, curve), 0, 1)
    return {"x": GRID.tolist(), "y": curve.tolist(), "low": low.tolist(), "high": high.tolist()}
