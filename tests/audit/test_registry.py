"""What every registered test promises, for two, three and four classes."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrflow.audit.audit import audit
from cxrflow.audit.context import Audited
from cxrflow.audit.registry import TESTS
from cxrflow.audit.verdicts import AuditTest
from cxrflow.audit.words import MOOT, SIGNS
from cxrflow.predictor import Predictor
from cxrflow.state import read_sealed
from cxrflow.statistics.figure import Figure
from cxrflow.task import Task


@pytest.fixture(params=["two_classes", "task", "four_classes"])
def context(request: pytest.FixtureRequest, hospital: Callable[..., Audited], untrained: Callable) -> Audited:
    """The hospital with a real network of random weights, on all sides of the split."""
    task: Task = request.getfixturevalue(request.param)
    n = 48 * len(task.order)
    labels = np.arange(n) // 2 % len(task.order)
    split = np.array(["train", "val", "test"])[np.arange(n) // 2 // len(task.order) % 3]
    made = hospital(labels, task=task, split=split)
    predictor: Predictor = untrained(task)
    probabilities = predictor.score(made.dataset.split("test"))
    made.predictions[list(task.order)] = probabilities
    made.predictions["prediction"] = [task.order[k] for k in probabilities.argmax(axis=1)]
    made.predictor = predictor
    made.params = made.params.model_copy(
        update={"audit": made.params.audit.model_copy(update={"heat_maps": 6, "retrain_epochs": 1})}
    )
    return made


def leaves(value: Any) -> Iterator[Any]:
    """The figures in dicts and lists; a list has None where there is nothing to measure."""
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from leaves(each)
    elif value is not None:
        yield value


def check(test: AuditTest, context: Audited) -> None:
    """What a test must do to stand in the registry."""
    assert TESTS[test.name] is test
    assert re.fullmatch(r"[a-z_]+", test.name)
    assert re.fullmatch(r"[A-Z][^?]*\?", test.question)
    assert test.claims(context.task) >= (test.about != "method")
    result = test.run(context)
    assert result.verdict in SIGNS
    assert re.fullmatch(r"[A-Z].*[.]", result.words)
    assert "  " not in result.words
    unsaid = [name for name, said in context.task.names.items() if name not in said]
    assert not any(re.search(rf"\b{name}\b", result.words) for name in unsaid)
    assert all(isinstance(figure, Figure) for figure in leaves(result.figures))
    assert result.rows
    for rows in result.rows:
        assert rows.panel in ("auroc", "change")
        assert set(map(id, rows.figures.values())) <= set(map(id, leaves(result.figures)))


def test_every_registered_test_keeps_the_contract_and_the_audit_writes_what_they_say(context: Audited) -> None:
    for test in TESTS.values():
        check(test, context)
    summary = audit(context)
    written = read_sealed(context.out / "audit.json", "run it")
    assert written == summary.to_json() | {"weights": context.predictor.bundle.digests.get("weights")}
    assert set(written) == {"alarm", "verdicts", "apart", "not_learned", "tests", "weights"}
    assert list(written["tests"]) == list(TESTS)
    assert sum(written["verdicts"].values()) == len(TESTS)
    assert all(set(test) == {"question", "verdict", "words", "figures"} for test in written["tests"].values())
    svg = (context.out / "audit.svg").read_text()
    assert all(
        rows.title in svg for result in summary.results.values() for rows in result.rows if "'" not in rows.title
    )
    assert (context.out / "where.png").read_bytes().startswith(b"\x89PNG")
    pairs = {f"{a}_vs_{b}" for a, b in context.task.pairs}
    assert set(written["tests"]["gap"]["figures"]["pairs"]) == pairs
    told = written["tests"]["source_probe"]["figures"]["source"]
    assert set(told) == {"features", "untrained", "learned", "small picture"}
    assert all(set(parts) == {"overall", *context.task.order, "within a class"} for parts in told.values())
    assert context.claims == sum(test.claims(context.task) for test in TESTS.values() if not test.moot(context))
    assert written["tests"]["letters"]["verdict"] == MOOT
    assert "text was not looked for" in written["tests"]["letters"]["words"]


def test_the_documents_table_has_each_test_with_its_limits() -> None:
    text = (Path(__file__).parents[2] / "docs" / "audit.md").read_text()
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if re.match(r"\| \d\. ", line)]
    rows = rows[: len(TESTS)]
    assert len(rows) == len(TESTS)
    for row, test in zip(rows, TESTS.values(), strict=True):
        assert float(row[3]) == test.limit.value, row[0]
