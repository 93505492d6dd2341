"""The tests of the audit, in the order in which they are run and shown. A new test is one file and one line here."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from cxrflow import plugins
from cxrflow.audit import baseline, gap, letters, retraining, sanity, source_probe, swaps, where
from cxrflow.audit.verdicts import AuditTest
from cxrflow.errors import CxrflowError

TESTS: dict[str, AuditTest] = {
    test.name: test
    for test in (
        source_probe.TEST,
        baseline.TEST,
        retraining.TEST,
        gap.TEST,
        where.TEST,
        swaps.TEST,
        sanity.TEST,
        letters.TEST,
    )
}


def tests_of(extra: Sequence[str]) -> dict[str, AuditTest]:
    """TESTS, and after them those of others (``audit.extra``, plugins.py), by name.

    Raises CxrflowError as ``plugins.find``, and if one is called like another.
    """
    tests = dict(TESTS)
    for name in extra:
        test: AuditTest = plugins.find("audit_tests", name, AuditTest, "audit.extra")
        if test.name in tests:
            raise CxrflowError(
                f"audit.extra: {name} and another test of the audit are both called {test.name}; rename it or leave it "
                "out."
            )
        guarded: dict[str, Any] = {
            part: plugins.guarded("audit_tests", name, getattr(test, part)) for part in ("claims", "run", "moot")
        }
        tests[test.name] = replace(test, **guarded)
    return tests
