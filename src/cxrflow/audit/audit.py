"""The audit: runs every registered test and combines the verdicts."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
from rich.markup import escape

from cxrflow.audit import plots
from cxrflow.audit.context import Audited
from cxrflow.audit.registry import TESTS, tests_of
from cxrflow.audit.verdicts import AuditTest, Result, apart
from cxrflow.audit.words import CLEAR, FOUND, MOOT, SIGNS, UNTOLD, YES, Verdict
from cxrflow.evaluation.learned import not_learned
from cxrflow.evaluation.limits import FEW
from cxrflow.files import write_whole
from cxrflow.state import write_sealed
from cxrflow.statistics.figure import to_json
from cxrflow.task import Task
from cxrflow.terminal import console


@dataclass(frozen=True)
class Summary:
    """The results of all tests.

    tests    the tests, by name
    results  the result of each, by name
    apart    the pairs of classes that share no source in the test set (``verdicts.apart``)
    not_learned  why the test set does not show that the network has learned anything, as a clause; else None
    """

    tests: Mapping[str, AuditTest]
    results: Mapping[str, Result]
    apart: list[tuple[str, str]]
    not_learned: str | None

    @property
    def alarm(self) -> bool:
        """Whether any test found a shortcut."""
        return self.verdicts[FOUND] > 0

    @property
    def verdicts(self) -> dict[Verdict, int]:
        """How many tests have each verdict."""
        given = [result.verdict for result in self.results.values()]
        return {verdict: given.count(verdict) for verdict in SIGNS}

    def to_json(self) -> dict[str, Any]:
        """The contents of ``audit.json``."""
        tests = {
            name: {
                "question": self.tests[name].question,
                "verdict": result.verdict,
                "words": result.words,
                "figures": to_json(result.figures),
            }
            for name, result in self.results.items()
        }
        return {
            "alarm": self.alarm,
            "verdicts": self.verdicts,
            "apart": [list(pair) for pair in self.apart],
            "not_learned": self.not_learned,
            "tests": tests,
        }


def audit(context: Audited) -> Summary:
    """Run every test; write ``audit.json``, ``audit.svg`` (all figures) and ``where.png`` (heat maps).

    All figures are of the test split. The intervals of the figures that decide a verdict hold together with 95 %: the
    probability that any verdict of the audit is wrong is at most 5 %. Raises CxrflowError as ``Audited.check`` and
    ``tests_of``.
    """
    tests = tests_of(context.params.audit.extra)
    context.check()
    context.claims = sum(test.claims(context.task) for test in tests.values() if test.moot(context) is None)
    results = {name: _result(test, context) for name, test in tests.items()}
    network, gain = context.compared["b"], context.compared["difference"]
    test = context.dataset.split("test").records
    summary = conclude(results, test, context.task, not_learned(network, gain), tests)
    write_whole(context.out / "audit.svg", plots.forest(summary.results, network))
    write_whole(context.out / "where.png", plots.panels(context.shown, context.heat))
    weights = {"weights": context.predictor.bundle.digests.get("weights")}
    write_sealed(context.out / "audit.json", summary.to_json() | weights)
    return summary


def _result(test: AuditTest, context: Audited) -> Result:
    """The result of one test; of a test that does not apply, with the reason before its figures."""
    result = test.run(context)
    if why := test.moot(context):
        return replace(result, verdict=MOOT, words=f"It does not apply: {why}. {result.words}", closing={})
    return result


def conclude(
    results: Mapping[str, Result],
    table: pd.DataFrame,
    task: Task,
    nothing: str | None,
    tests: Mapping[str, AuditTest] = TESTS,
) -> Summary:
    """The final verdicts, given which classes share sources and whether the network has learned anything.

    table    label, source and group_id of the test images
    tests    all of them, by name
    nothing  why these images do not show that it has (``evaluation.learned.not_learned``), as a clause; else None

    A network that has learned nothing has no shortcut to find: what clears it becomes "cannot be told", whatever a test
    is about. If any pair of classes shares no source, CLEAR proves nothing, because a test may miss what reveals the
    source: it becomes "cannot be told", while a shortcut that was found remains one. If no pair shares a source, every
    test about the source becomes "cannot be told". Tests of the heat maps do not depend on sources. A result that may
    not stand alone (``Result.alone``) finds a shortcut only if another one does.
    """
    pairs = apart(table, task)
    named = "; ".join(f"{task.names[a]} and {task.names[b]}" for a, b in pairs)
    coincide = f"Class and source coincide for {named}: no source of this test set has {FEW} patients of both classes."
    last: dict[str, Result] = {}
    for name, result in results.items():
        about = tests[name].about
        silent = about == "source" and len(pairs) == len(task.pairs)
        if nothing and result.verdict in (CLEAR, YES):
            why = f"The network is not known to have learned anything that could be looked into: {nothing}."
            result = replace(result, verdict=UNTOLD, words=f"{why} {result.words}")
        elif (silent and result.verdict != MOOT) or (about != "method" and pairs and result.verdict == CLEAR):
            result = replace(result, verdict=UNTOLD, words=f"{coincide} {result.words}")
        last[name] = result
    if not any(result.verdict == FOUND and result.alone for result in last.values()):
        for name, result in last.items():
            if result.verdict == FOUND:
                last[name] = replace(result, verdict=UNTOLD)
    said = {name: " ".join(filter(None, (each.words, each.closing.get(each.verdict)))) for name, each in last.items()}
    return Summary(tests, {name: replace(each, words=said[name]) for name, each in last.items()}, pairs, nothing)


def print_verdicts(summary: Summary) -> None:
    """Print each test's verdict, question and words."""
    for name, result in summary.results.items():
        said = escape(f"{summary.tests[name].question} {result.words}")
        console().print(f"{SIGNS[result.verdict]} [bold]{result.verdict}[/bold]  {said}", soft_wrap=True)
