"""What every registered test promises, for two, three and four classes."""

import re
from pathlib import Path

import pytest

from cxrflow.audit.audit import audit
from cxrflow.audit.context import Audited
from cxrflow.audit.registry import TESTS
from cxrflow.audit.words import MOOT, UNTOLD
from cxrflow.params import Params
from cxrflow.state import read_sealed
from cxrflow.testing import check_audit_test
from cxrflow.testing.hospital import whole_context

MINE = """
from cxrflow.audit.verdicts import AuditTest, Limit, Result, Rows
from cxrflow.statistics.figure import missing

def run(context):
    figure = {"it": missing("nothing was measured")}
    return Result("cannot be told", "Nothing was measured.", figure, (Rows("auroc", "mine", figure),))

TEST = AuditTest("mine", "Is it so?", Limit(0.5), lambda task: 17, "picture", run)
"""


@pytest.fixture(params=["two_classes", "task", "four_classes"])
def context(
    request: pytest.FixtureRequest, demo_params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Audited:
    """The hospital with a real network of random weights, on all sides of the split, and a test of a file."""
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    made = whole_context(demo_params, tmp_path, request.getfixturevalue(request.param))
    changed = made.params.audit.model_copy(update={"extra": ("mine.py:TEST",)})
    made.params = made.params.model_copy(update={"audit": changed})
    return made


def test_every_registered_test_keeps_the_contract_and_the_audit_writes_what_they_say(context: Audited) -> None:
    for name, test in TESTS.items():
        assert test.name == name
        check_audit_test(test, context)
    summary = audit(context)
    written = read_sealed(context.out / "audit.json", "run it")
    assert written == summary.to_json() | {"weights": context.predictor.bundle.digests.get("weights")}
    assert set(written) == {"alarm", "verdicts", "apart", "not_learned", "tests", "weights"}
    assert list(written["tests"]) == [*TESTS, "mine"]
    assert (written["tests"]["mine"]["question"], written["tests"]["mine"]["verdict"]) == ("Is it so?", UNTOLD)
    assert sum(written["verdicts"].values()) == len(TESTS) + 1
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
    claims = sum(test.claims(context.task) for test in TESTS.values() if not test.moot(context))
    assert context.claims == claims + 17  # its own figures share the error rate with those of others
    assert written["tests"]["letters"]["verdict"] == MOOT
    assert "text was not looked for" in written["tests"]["letters"]["words"]


def test_the_documents_table_has_each_test_with_its_limits() -> None:
    text = (Path(__file__).parents[2] / "docs" / "audit.md").read_text()
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if re.match(r"\| \d\. ", line)]
    rows = rows[: len(TESTS)]
    assert len(rows) == len(TESTS)
    for row, test in zip(rows, TESTS.values(), strict=True):
        assert float(row[3]) == test.limit.value, row[0]
