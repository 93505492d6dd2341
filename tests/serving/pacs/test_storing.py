"""What the node takes, and how it refuses the rest: asked by dcmtk's echoscu and storescu, and by raw bytes."""

import logging
import re
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom
import pytest
from pydicom import Dataset
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless, RLELossless

pytest.importorskip("pynetdicom")

from cxrflow.serving import storing
from cxrflow.serving.nodes import Listening
from cxrflow.serving.spool import Spool, digest_of

ROOT = "1.2.826.0.1.3680043.8.498"
ACKNOWLEDGED = "Received Store Response (Success)"
#: Transfer syntaxes, and dcmtk's options that propose them.
COMPRESSED = (
    (JPEGBaseline8Bit, "-xy"),
    (JPEGLosslessSV1, "-xs"),
    (JPEGLSLossless, "-xt"),
    (JPEG2000Lossless, "-xv"),
    (RLELossless, "-xr"),
)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", 10**9, free=0)


@pytest.fixture
def listening(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[..., int]]:
    """Listens, with titles that may call; the port."""
    caplog.set_level(logging.INFO)
    started = []

    def start(spool: Spool, *calling: str) -> int:
        entity, port = storing.listen(Listening("CXRFLOW", "127.0.0.1", 0, calling), spool)
        started.append(entity)
        return port

    yield start
    for entity in started:
        entity.shutdown()


def held(spool: Spool) -> list[Path]:
    return sorted(spool.folder.rglob("*.dcm"))


def test_an_image_is_kept_as_it_came(spool, listening, store, echo, radiograph, caplog) -> None:
    port = listening(spool)
    assert echo("CXRFLOW", port) == 0
    content = radiograph(1)
    assert ACKNOWLEDGED in store(port, content)
    (path,) = held(spool)
    assert path.parent.name == digest_of(f"{ROOT}.1")
    kept, sent = pydicom.dcmread(path), pydicom.dcmread(pydicom.filebase.DicomBytesIO(content))
    assert kept.file_meta.TransferSyntaxUID == sent.file_meta.TransferSyntaxUID
    assert {element.tag: element.value for element in kept} == {element.tag: element.value for element in sent}
    assert ACKNOWLEDGED in store(port, content)
    assert held(spool) == [path]
    assert "an image came again" in caplog.text


def test_every_transfer_syntax_that_can_be_decoded(spool, listening, store, radiograph) -> None:
    port = listening(spool)
    for number, (syntax, option) in enumerate(COMPRESSED):
        assert ACKNOWLEDGED in store(port, radiograph(number, syntax=syntax), options=[option]), option
    found = {pydicom.dcmread(path).file_meta.TransferSyntaxUID for path in held(spool)}
    assert found == {syntax for syntax, _ in COMPRESSED}
    assert not [syntax for syntax in storing.transfer_syntaxes() if syntax.is_deflated]


def test_only_those_may_call_who_are_named(spool, listening, store, echo, radiograph, caplog) -> None:
    port = listening(spool, "MODALITY")
    assert echo("CXRFLOW", port, "STRANGER") != 0
    assert echo("OTHER", port, "MODALITY") != 0
    assert echo("CXRFLOW", port, "MODALITY") == 0
    assert ACKNOWLEDGED not in store(port, radiograph(1), options=["-aet", "STRANGER"])
    assert "STRANGER called CXRFLOW" in caplog.text
    assert held(spool) == []


def test_other_objects_and_headers_without_uids_are_refused(spool, listening, store, radiograph, caplog) -> None:
    port = listening(spool)
    assert "No presentation context" in store(port, radiograph(1, SOPClassUID="1.2.840.10008.5.1.4.1.1.2"))
    for wrong in ({"StudyInstanceUID": None}, {"StudyInstanceUID": "of^Jane"}, {"StudyInstanceUID": "1" * 65}):
        said = store(port, radiograph(1, **wrong))
        assert re.search(r"Received Store Response \(.*(CannotUnderstand|0xC000)", said), said
    logged = "".join(each.getMessage() for each in caplog.records if each.name.startswith("cxrflow"))
    assert "Jane" not in logged
    assert logged.count("its StudyInstanceUID is malformed") == 2
    assert "its StudyInstanceUID is absent" in logged
    assert held(spool) == []


def nested(deep: int) -> list[Dataset]:
    """A sequence in a sequence, so deep."""
    items: list[Dataset] = []
    for _ in range(deep):
        item = Dataset()
        item.ReferencedSeriesSequence = items
        items = [item]
    return items


def test_hostile_headers_are_refused_or_kept_but_stop_nothing(spool, listening, store, radiograph) -> None:
    port = listening(spool)
    hostile = [
        radiograph(1, AnatomicRegionSequence=nested(150)),  # before the UID of the study
        radiograph(2, PatientName="A" * 60_000),
        radiograph(3, DeviceSerialNumber="x" * storing._HEAD),
    ]
    said = store(port, *hostile)
    assert said.count("Received Store Response") == 3
    assert ACKNOWLEDGED in store(port, radiograph(4))


def test_our_own_results_are_acknowledged_and_dropped(spool, listening, store, radiograph, caplog) -> None:
    port = listening(spool)
    report = "1.2.840.10008.5.1.4.1.1.88.34"
    assert ACKNOWLEDGED in store(port, radiograph(1, Manufacturer="cxrflow"))
    assert ACKNOWLEDGED in store(port, radiograph(1, Manufacturer="cxrflow", SOPClassUID=report), options=["-R"])
    assert held(spool) == []
    assert ACKNOWLEDGED not in store(port, radiograph(1, Manufacturer="another", SOPClassUID=report), options=["-R"])
    assert held(spool) == []
    assert "a result of cxrflow came back" in caplog.text


def test_a_full_spool_and_a_large_image_are_refused(
    tmp_path, listening, store, radiograph, monkeypatch, caplog
) -> None:
    small = Spool(tmp_path / "small", 40_000, free=0)
    said = store(listening(small), radiograph(1), radiograph(2), radiograph(3))
    assert said.count(ACKNOWLEDGED) == 2
    assert "Refused" in said
    assert "the spool holds" in caplog.text
    monkeypatch.setattr(storing, "LARGEST", 10_000)
    large = Spool(tmp_path / "large", 10**9, free=0)
    said = store(listening(large), radiograph(1), radiograph(2, DeviceSerialNumber="x" * 10**6))
    assert said.count("Refused") == 2
    assert ACKNOWLEDGED not in said
    assert held(large) == []
    assert "it has more than" in caplog.text


def test_a_pdu_that_says_it_has_gigabytes_is_not_read(spool, listening, echo) -> None:
    port = listening(spool)
    for kind in (1, 4):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(struct.pack(">BBL", kind, 0, 2**32 - 1) + b"x" * 100)
            try:
                answer = connection.recv(100)
            except ConnectionResetError:
                answer = b""
            assert answer == b"" or answer[0] == 7  # closed, or aborted
    assert echo("CXRFLOW", port) == 0


def test_more_associations_than_its_limit_are_refused(spool, listening, echo, monkeypatch, until) -> None:
    from pynetdicom import AE

    monkeypatch.setattr(storing, "ASSOCIATIONS", 2)
    port = listening(spool)
    caller = AE()
    caller.add_requested_context("1.2.840.10008.1.1")
    open_ones = [caller.associate("127.0.0.1", port, ae_title="CXRFLOW") for _ in range(2)]
    assert all(each.is_established for each in open_ones)
    assert echo("CXRFLOW", port) != 0
    for each in open_ones:
        each.release()
    until(lambda: echo("CXRFLOW", port) == 0)
