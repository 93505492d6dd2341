"""The parts of an audit test: question, limits, verdict and result."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from cxrflow.audit.context import Audited
from cxrflow.evaluation.limits import FEW
from cxrflow.statistics.figure import Figure
from cxrflow.task import Task

Verdict = Literal["shortcut found", "not found", "cannot be told"]
FOUND: Verdict = "shortcut found"
NOT_FOUND: Verdict = "not found"
UNTOLD: Verdict = "cannot be told"


@dataclass(frozen=True)
class Limits:
    """Limits for a figure that grows with the strength of a shortcut.

    Shortcut found: the whole interval lies above ``found``. Not found: the whole interval lies below both ``found`` and
    ``clear``; or it lies below ``clear`` and reaches down to ``none``, the figure's value without a shortcut. Otherwise
    it cannot be told.
    """

    found: float
    clear: float
    none: float

    def judge(self, figure: Figure) -> Verdict:
        """The verdict on a figure; "cannot be told" if the figure is missing."""
        if not figure.known:
            return UNTOLD
        if figure.low > self.found:
            return FOUND
        too_small = figure.high < min(self.found, self.clear)
        return NOT_FOUND if too_small or (figure.high < self.clear and figure.low <= self.none) else UNTOLD


@dataclass(frozen=True)
class Rows:
    """Rows of the forest plot under a title: AUROCs on the panel ``auroc``, shares and changes of a probability on the
    panel ``change``."""

    panel: Literal["auroc", "change"]
    title: str
    figures: Mapping[str, Figure]


@dataclass(frozen=True)
class Result:
    """The result of one test.

    words    the result in full sentences
    figures  every figure, for JSON
    rows     the figures that decide the verdict, for the forest plot
    """

    verdict: Verdict
    words: str
    figures: dict[str, Any]
    rows: tuple[Rows, ...]


@dataclass(frozen=True)
class AuditTest:
    """One test.

    name    its key in audit.json
    limits  limits for its figure
    about   ``source``: whether the source can be recognised; cannot be told if no two classes share a source;
            ``picture``: whether a part of the picture gives the class away;
            ``method``: whether the heat maps can be trusted, whatever the sources are
    """

    name: str
    question: str
    limits: Limits
    about: Literal["source", "picture", "method"]
    run: Callable[[Audited], Result]


def any_found(verdicts: Collection[Verdict]) -> Verdict:
    """The verdict on several figures: found if any is, not found if all are, else cannot be told."""
    return FOUND if FOUND in verdicts else NOT_FOUND if set(verdicts) == {NOT_FOUND} else UNTOLD


def apart(table: pd.DataFrame, task: Task) -> list[tuple[str, str]]:
    """The pairs of classes that share no source, i.e. no source has FEW groups of patients of each class. For them
    class and source coincide, and these images cannot separate the two.

    table  columns source, label, group_id
    """
    groups = table.groupby(["label", "source"]).group_id.nunique()
    there = {name: {source for label, source in groups.index[groups >= FEW] if label == name} for name in task.order}
    return [(a, b) for a, b in task.pairs if not there[a] & there[b]]
