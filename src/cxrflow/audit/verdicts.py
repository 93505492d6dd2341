"""What a test of the audit says: its verdict, in words, with its figures; and when it may say so."""

from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from cxrflow.evaluation.limits import FEW
from cxrflow.records import CLASSES
from cxrflow.statistics.intervals import Figure, group_index, missing

Verdict = Literal["shortcut found", "not found", "cannot be told"]
FOUND: Verdict = "shortcut found"
NOT_FOUND: Verdict = "not found"
UNTOLD: Verdict = "cannot be told"

#: What goes into audit.json for one test: question, verdict, words, figures.
Test = dict[str, Any]
PAIRS = tuple(combinations(CLASSES, 2))
_RARE_GROUPS = 4


@dataclass(frozen=True)
class Limits:
    """When a figure that grows with the shortcut tells: above ``found`` as a whole, interval and all, there is one.
    Below both ``found`` and ``clear`` as a whole, or below ``clear`` with an interval that reaches ``none``, its value
    without any shortcut, there is none worth mention. Else it cannot be told."""

    found: float
    clear: float
    none: float

    def judge(self, figure: Figure) -> Verdict:
        """The verdict on a figure; one without a value cannot be told."""
        if figure["value"] is None:
            return UNTOLD
        if figure["low"] > self.found:
            return FOUND
        too_small = figure["high"] < min(self.found, self.clear)
        return NOT_FOUND if too_small or (figure["high"] < self.clear and figure["low"] <= self.none) else UNTOLD


def result(question: str, verdict: Verdict, words: str, **figures: Any) -> Test:
    """The result of one test, as JSON takes it."""
    return {"question": question, "verdict": verdict, "words": words, "figures": figures}


def apart(table: pd.DataFrame) -> list[tuple[str, str]]:
    """The pairs of classes that meet in no source, none having FEW groups of patients of each: there class and source
    coincide, and these images cannot tell one from the other. Columns source, label, group_id."""
    groups = table.groupby(["label", "source"]).group_id.nunique()
    there = {name: {source for label, source in groups.index[groups >= FEW] if label == name} for name in CLASSES}
    return [(a, b) for a, b in PAIRS if not there[a] & there[b]]


def mean(values: NDArray[np.floating[Any]], groups: NDArray[Any], nothing: str = "no images") -> Figure:
    """The mean of ``values`` (n,) with a 95 % interval over groups (n,); not held to [0, 1].

    The variance is the linearised one between groups, with K/(K-1), and t has K-1 degrees of freedom; K is the
    effective number of groups (as in ``intervals.proportion``). Missing below four groups.
    """
    n = len(values)
    if n == 0:
        return missing(nothing)
    index = group_index(groups)
    sizes = np.bincount(index).astype(float)
    if len(sizes) < _RARE_GROUPS:
        return missing(f"only {len(sizes)} groups of patients")
    value = float(np.mean(values))
    apart = np.bincount(index, weights=np.asarray(values, np.float64) - value)
    effective = max(n**2 / float((sizes**2).sum()), 2.0)
    error = np.sqrt(effective / (effective - 1) * (apart**2).sum()) / n
    half = float(stats.t.ppf(0.975, effective - 1) * error)
    return {"value": value, "low": value - half, "high": value + half, "n": n, "groups": len(sizes)}


def average(figures: list[Figure]) -> Figure:
    """The plain mean of figures of different images, its interval the mean of theirs: the widest, as though all errors
    were alike. Figures without a value do not count; without any the result has the first one's reason."""
    known = [figure for figure in figures if figure["value"] is not None]
    if not known:
        return missing(figures[0]["reason"] if figures else "nothing to compare")
    together: Figure = {key: float(np.mean([figure[key] for figure in known])) for key in ("value", "low", "high")}
    return together | {key: int(sum(figure[key] for figure in known)) for key in ("n", "groups")}


def spoken(figure: Figure) -> str:
    """``0.91 (0.88 to 0.94)``, or ``unknown (why)``."""
    if figure["value"] is None:
        return f"unknown ({figure['reason']})"
    return f"{figure['value']:.2f} ({figure['low']:.2f} to {figure['high']:.2f})"


def percent(figure: Figure) -> str:
    """``12 % (8 to 17)``, or ``unknown (why)``."""
    if figure["value"] is None:
        return f"unknown ({figure['reason']})"
    value, low, high = (f"{100 * figure[key]:.0f}" for key in ("value", "low", "high"))
    return f"{value} % ({low} to {high})"
