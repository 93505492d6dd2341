"""The contracts of the parts, as functions for the tests of whoever brings one; cxrflow's own parts are tested by them.

Each function raises ``Broken``, an AssertionError, whose message names the contract that a part breaks and what to do.
They need no test runner.
"""

from cxrflow.testing.audit_tests import check_audit_test
from cxrflow.testing.broken import Broken
from cxrflow.testing.image_steps import check_image_step
from cxrflow.testing.networks import check_network
from cxrflow.testing.outputs import check_output
from cxrflow.testing.sources import check_source, check_stops

__all__ = [
    "Broken",
    "check_audit_test",
    "check_image_step",
    "check_network",
    "check_output",
    "check_source",
    "check_stops",
]
