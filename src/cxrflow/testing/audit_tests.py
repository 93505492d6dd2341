"""The contract of a test of the audit."""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cxrflow.audit.context import Audited
from cxrflow.audit.verdicts import AuditTest
from cxrflow.audit.words import SIGNS
from cxrflow.params_file import DEFAULTS, load_params
from cxrflow.statistics.figure import Figure, to_json
from cxrflow.task import Task
from cxrflow.testing.broken import keeps, works
from cxrflow.testing.hospital import tiny_network, whole_context

#: The tasks on which a test is tried: of two classes and of four.
TASKS = (
    Task(classes={"clear": ("no finding",), "air": ("pneumothorax",)}, positive="air", names={"air": "collapsed lung"}),
    Task(
        classes={
            "clear": ("no finding",),
            "viral": ("pneumonia/viral",),
            "bacterial": ("pneumonia/bacterial",),
            "air": ("pneumothorax",),
        },
        positive="bacterial",
        names={"air": "collapsed lung"},
    ),
)


def check_audit_test(test: AuditTest, context: Audited | None = None) -> None:
    """Raise Broken unless ``test`` keeps the contract of a test of the audit.

    Its name, question and words are in the project's form, its words use the names that classes are displayed by, its
    figures are ``Figure`` with interval or reason, those that decide the verdict are rows of the plot, and it gives the
    same figures for the same data.

    context  what is audited; by default a tiny hospital with an untrained network, for two and for four classes
    """
    if context is not None:
        _check(test, context)
        return
    for task in TASKS:
        figures = []
        for _ in range(2):
            with tempfile.TemporaryDirectory() as folder, tiny_network():
                figures.append(_check(test, whole_context(load_params(DEFAULTS), Path(folder), task)))
        keeps(figures[0] == figures[1], "A test gives the same figures for the same data; draw with context.seed.")


def _check(test: AuditTest, context: Audited) -> Any:
    """Returns the figures as JSON."""
    keeps(re.fullmatch(r"[a-z_]+", test.name), "A test's name is of lower-case letters and _.", test.name)
    keeps(
        re.fullmatch(r"[A-Z][^?]*\?", test.question), "A test asks one question, from its capital to ?.", test.question
    )
    least = int(test.about != "method")
    claims = test.claims(context.task)
    keeps(claims >= least, "A test says how many figures decide its verdict (claims), at least one.", claims)
    with works("A test runs on a network that has learned nothing; where it cannot tell, it says so."):
        result = test.run(context)
    keeps(result.verdict in SIGNS, f"A verdict is one of {', '.join(SIGNS)}.", result.verdict)
    sentences = re.fullmatch(r"[A-Z].*[.]", result.words) and "  " not in result.words
    keeps(sentences, "The words are whole sentences on one line, with single spaces.", result.words)
    unsaid = [name for name, said in context.task.names.items() if name not in said]
    used = [name for name in unsaid if re.search(rf"\b{name}\b", result.words)]
    keeps(not used, "The words use display names (context.task.names), not keys of classes.", ", ".join(used))
    figures = list(leaves(result.figures))
    strange = [type(figure).__name__ for figure in figures if not isinstance(figure, Figure)]
    keeps(
        not strange, "Every figure is a Figure, with an interval or the reason why there is none.", ", ".join(strange)
    )
    keeps(result.rows, "The figures that decide the verdict are rows of the plot (Result.rows).")
    for rows in result.rows:
        keeps(rows.panel in ("auroc", "change"), "Rows are on the panel auroc or change.", rows.panel)
        shown = set(map(id, rows.figures.values())) <= set(map(id, figures))
        keeps(shown, "What the plot shows is among the test's figures, the same objects.", rows.title)
    return to_json(result.figures)


def leaves(value: Any) -> Iterator[Any]:
    """The figures in dicts and lists; a list has None where there is nothing to measure."""
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from leaves(each)
    elif value is not None:
        yield value
