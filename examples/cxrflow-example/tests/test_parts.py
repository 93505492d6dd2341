"""The parts keep the contracts of cxrflow, which are functions of cxrflow.testing."""

from pathlib import Path

from cxrflow_example.audit_test import TEST
from cxrflow_example.image_step import sharpen
from cxrflow_example.network import SMALL
from cxrflow_example.output import worklist
from cxrflow_example.source import COLLECTION

from cxrflow.testing import check_audit_test, check_image_step, check_network, check_output, check_source

LISTING = """file,person,report,age,sex,view
a.png,1,clear,61,F,PA
b.png,1,pneumonia,61,F,AP
c.png,,air,,,
d.png,2,not read yet,40,M,PA
"""


def test_the_source(tmp_path: Path) -> None:
    folder = tmp_path / "example-ward-export"
    folder.mkdir()
    (folder / "listing.csv").write_text(LISTING)
    records = check_source(COLLECTION, folder, {"listing.csv": ("file", "person", "report")})
    assert [record.findings for record in records] == [("no finding",), ("pneumonia",), ("pneumothorax",), ()]
    assert [record.left_out is None for record in records] == [True, True, True, False]


def test_the_network() -> None:
    check_network(SMALL)


def test_the_image_step() -> None:
    check_image_step(sharpen)


def test_the_audit_test() -> None:
    check_audit_test(TEST)


def test_the_output() -> None:
    check_output(worklist)
