"""The audit: runs every registered test and combines the verdicts."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
from rich.markup import escape

from cxrflow.audit import plots
from cxrflow.audit.context import Audited
from cxrflow.audit.registry import TESTS
from cxrflow.audit.verdicts import FOUND, NOT_FOUND, UNTOLD, Result, Verdict, apart
from cxrflow.evaluation.limits import FEW
from cxrflow.evaluation.metrics import macro_auroc
from cxrflow.files import write_whole
from cxrflow.state import write_sealed
from cxrflow.statistics.figure import to_json
from cxrflow.task import Task
from cxrflow.terminal import console


@dataclass(frozen=True)
class Summary:
    """The results of all tests.

    results  the result of each test, by name
    apart    the pairs of classes that share no source in the test set (``verdicts.apart``)
    """

    results: Mapping[str, Result]
    apart: list[tuple[str, str]]

    @property
    def alarm(self) -> bool:
        """Whether any test found a shortcut."""
        return self.verdicts[FOUND] > 0

    @property
    def verdicts(self) -> dict[Verdict, int]:
        """How many tests have each verdict."""
        given = [result.verdict for result in self.results.values()]
        return {verdict: given.count(verdict) for verdict in (FOUND, NOT_FOUND, UNTOLD)}

    def to_json(self) -> dict[str, Any]:
        """The contents of ``audit.json``."""
        tests = {
            name: {
                "question": TESTS[name].question,
                "verdict": result.verdict,
                "words": result.words,
                "figures": to_json(result.figures),
            }
            for name, result in self.results.items()
        }
        said = {"alarm": self.alarm, "verdicts": self.verdicts, "apart": [list(pair) for pair in self.apart]}
        return said | {"tests": tests}


def audit(context: Audited) -> Summary:
    """Run every test; write ``audit.json``, ``audit.svg`` (all figures) and ``where.png`` (heat maps).

    All figures are of the test split. The intervals of the figures that decide a verdict hold together with 95 %: the
    probability that any verdict of the audit is wrong is at most 5 %. Raises CxrflowError as ``Audited.check``.
    """
    context.check()
    context.claims = sum(test.claims(context.task) for test in TESTS.values())
    results = {name: test.run(context) for name, test in TESTS.items()}
    summary = conclude(results, context.dataset.split("test").records, context.task)
    write_whole(context.out / "audit.svg", plots.forest(summary.results, macro_auroc(context.scored)))
    write_whole(context.out / "where.png", plots.panels(context.shown, context.heat))
    write_sealed(context.out / "audit.json", summary.to_json())
    return summary


def conclude(results: Mapping[str, Result], table: pd.DataFrame, task: Task) -> Summary:
    """The final verdicts, given which classes share sources.

    table  label, source and group_id of the test images

    If any pair of classes shares no source, "not found" proves nothing, because a test may miss what reveals the
    source: it becomes "cannot be told", while a shortcut that was found remains one. If no pair shares a source, every
    test about the source becomes "cannot be told". Tests of the heat maps do not depend on sources. A result that may
    not stand alone (``Result.alone``) finds a shortcut only if another one does.
    """
    pairs = apart(table, task)
    named = "; ".join(f"{task.names[a]} and {task.names[b]}" for a, b in pairs)
    why = f"Class and source coincide for {named}: no source of this test set has {FEW} patients of both classes."
    last: dict[str, Result] = {}
    for name, result in results.items():
        about = TESTS[name].about
        silent = about == "source" and len(pairs) == len(task.pairs)
        if silent or (about != "method" and pairs and result.verdict == NOT_FOUND):
            result = replace(result, verdict=UNTOLD, words=f"{why} {result.words}")
        last[name] = result
    if not any(result.verdict == FOUND and result.alone for result in last.values()):
        for name, result in last.items():
            if result.verdict == FOUND:
                last[name] = replace(result, verdict=UNTOLD)
    return Summary(last, pairs)


def print_verdicts(summary: Summary) -> None:
    """Print each test's verdict, question and words."""
    for name, result in summary.results.items():
        said = escape(f"{TESTS[name].question} {result.words}")
        console().print(f"[bold]{result.verdict}[/bold]  {said}", soft_wrap=True)
