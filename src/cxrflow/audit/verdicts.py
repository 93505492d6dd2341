"""The parts of an audit test: question, limits, verdict and result."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pandas as pd
from scipy import stats

from cxrflow.audit.context import Audited
from cxrflow.audit.words import CLEAR, FOUND, UNTOLD, Verdict
from cxrflow.evaluation.limits import FEW
from cxrflow.statistics.figure import Figure
from cxrflow.task import Task


@dataclass(frozen=True)
class Limit:
    """The limit of practical relevance of a figure that grows with the strength of a shortcut.

    Shortcut found: the whole interval lies above it. No shortcut found: the whole interval lies below it. Otherwise it
    cannot be told. These are a test of a minimum effect and a test of equivalence, at once (Goeman, Solari and
    Stijnen, Stat Med 2010; 29: 2117-2125).

    above, below  the verdicts on a figure whose whole interval lies there
    """

    value: float
    above: Verdict = FOUND
    below: Verdict = CLEAR

    def judge(self, figure: Figure) -> Verdict:
        """The verdict on a figure; "cannot be told" if the figure is missing."""
        if not figure.known:
            return UNTOLD
        if figure.low > self.value:
            return self.above
        return self.below if figure.high < self.value else UNTOLD


def simultaneous(figure: Figure, claims: int, least: float = -1.0) -> Figure:
    """The figure with an interval so wide that ``claims`` such intervals hold together with 95 % (Bonferroni).

    figure  with a 95 % interval; a missing figure is returned as it is
    claims  at least 1; the interval's new level is 1 - 0.05 / claims
    least   smallest possible value; the largest is 1
    The distances of both limits from the value grow as Student's t does from the one level to the other, with the
    figure's number of groups minus 1 as degrees of freedom.
    """
    if not figure.known:
        return figure
    freedom = max(figure.groups - 1, 1)
    wider = float(stats.t.ppf(1 - 0.025 / claims, freedom) / stats.t.ppf(0.975, freedom))
    low = figure.value - wider * (figure.value - figure.low)
    high = figure.value + wider * (figure.high - figure.value)
    return replace(figure, low=min(max(low, least), figure.value), high=max(min(high, 1.0), figure.value))


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
    closing  for a verdict, a last sentence on what it means; the audit adds the final verdict's to ``words``
    figures  every figure, for JSON
    rows     the figures that decide the verdict, for the forest plot
    alone    False if something else than a shortcut would give the same figures, so that a shortcut is found only if
             another test finds one, too
    """

    verdict: Verdict
    words: str
    figures: dict[str, Any]
    rows: tuple[Rows, ...]
    alone: bool = True
    closing: Mapping[Verdict, str] = field(default_factory=dict)


@dataclass(frozen=True)
class AuditTest:
    """One test.

    name    its key in audit.json
    limit   limit of its figure
    claims  number of figures that decide its verdict in a task; 0 if it is not about a shortcut
    about   ``source``: whether the source can be recognised; cannot be told if no two classes share a source;
            ``picture``: whether a part of the picture gives the class away;
            ``method``: whether the heat maps can be trusted, whatever the sources are
    moot    why the test does not apply to this network and these images, as a clause; None if it applies
    """

    name: str
    question: str
    limit: Limit
    claims: Callable[[Task], int]
    about: Literal["source", "picture", "method"]
    run: Callable[[Audited], Result]
    moot: Callable[[Audited], str | None] = lambda _: None


def any_found(verdicts: Collection[Verdict]) -> Verdict:
    """The verdict on several figures: found if any is, no shortcut found if all are clear, else cannot be told."""
    return FOUND if FOUND in verdicts else CLEAR if set(verdicts) == {CLEAR} else UNTOLD


def one_source(context: Audited) -> str | None:
    """Why a test that compares sources does not apply, as a clause; None if test images come from several."""
    sources = set(context.dataset.split("test").records.source)
    return f"all test images come from one source, {', '.join(sources)}" if len(sources) == 1 else None


def black_outside(context: Audited) -> str | None:
    """Why a test of what lies outside the lungs does not apply, as a clause; None if a network sees anything there."""
    uses = [steps.lungs_use for steps in context.predictor.bundle.steps if steps.lungs != "none"]
    if len(uses) < len(context.predictor.bundle.steps) or not set(uses) <= {"mask", "both"}:
        return None
    if not all(view.lungs.any(axis=(1, 2)).all() for view in context.views):  # such a picture stays whole
        return None
    return f"everything outside the lungs is black already (images.lungs_use: {', '.join(dict.fromkeys(uses))})"


def apart(table: pd.DataFrame, task: Task) -> list[tuple[str, str]]:
    """The pairs of classes that share no source, i.e. no source has FEW groups of patients of each class. For them
    class and source coincide, and these images cannot separate the two.

    table  columns source, label, group_id
    """
    groups = table.groupby(["label", "source"]).group_id.nunique()
    there = {name: {source for label, source in groups.index[groups >= FEW] if label == name} for name in task.order}
    return [(a, b) for a, b in task.pairs if not there[a] & there[b]]
