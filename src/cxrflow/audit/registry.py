"""The tests of the audit, in the order in which they are run and shown. A new test is one file and one line here."""

from cxrflow.audit import baseline, gap, letters, retraining, sanity, source_probe, swaps, where
from cxrflow.audit.verdicts import AuditTest

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
