"""Results to a node that stores them, refuses some, or is not there; and how options name nodes."""

import itertools
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pydicom
import pytest

pytest.importorskip("pynetdicom")

from pynetdicom import AE, evt

from cxrflow.errors import CxrflowError
from cxrflow.result import Result
from cxrflow.serving.dicom_results import Made
from cxrflow.serving.flow import Flow, Unreachable
from cxrflow.serving.nodes import Destination, destination, listening
from cxrflow.serving.sending import send
from cxrflow.serving.spool import Spool, digest_of

DIGITAL, COMPUTED = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.1.1"
Serve = Callable[..., Destination]


@pytest.fixture
def files(tmp_path: Path, radiograph) -> list[Path]:
    paths = [tmp_path / f"{number}.dcm" for number in range(3)]
    for number, path in enumerate(paths):
        path.write_bytes(radiograph(1, number, SOPClassUID=COMPUTED if number == 1 else DIGITAL))
    return paths


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a node that answers image n with the n-th status, and takes the SOP classes given."""
    started = []

    def start(*statuses: int, takes: tuple[str, ...] = (DIGITAL, COMPUTED), title: str = "PACS") -> Destination:
        entity = AE(title)
        entity.require_called_aet = True
        for sop_class in takes:
            entity.add_supported_context(sop_class)
        left = iter(statuses)
        server = entity.start_server(
            ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, lambda _: next(left))]
        )
        started.append(entity)
        return Destination("PACS", "127.0.0.1", server.server_address[1])

    yield start
    for entity in started:
        entity.shutdown()


def sent(to: Destination, paths: list[Path]) -> tuple[list[Path], str]:
    """What the node has stored, and the error."""
    stored = []
    try:
        for path in send("CXRFLOW", to, paths):
            stored.append(path)
    except CxrflowError as error:
        return stored, f"{type(error).__name__}: {error}"
    return stored, ""


def test_success_and_warnings_mean_stored(files, serve) -> None:
    assert sent(serve(0x0000, 0xB000, 0xB007), files) == (files, "")


def test_a_refused_object_does_not_hold_up_the_others(files, serve) -> None:
    stored, error = sent(serve(0x0000, 0xA700, 0x0000), files)
    assert stored == [files[0], files[2]]
    assert error.startswith("CxrflowError: PACS@127.0.0.1:")
    assert "status 0xA700" in error
    stored, error = sent(serve(0x0000, 0x0000, takes=(DIGITAL,)), files)
    assert stored == [files[0], files[2]]
    assert "does not take objects of the class Computed Radiography Image Storage" in error


def test_an_object_that_ends_the_association_holds_up_its_own_study_alone(files, tmp_path) -> None:
    """The archive crashes at one object; for everything else it can be reached."""
    entity, fatal = AE("PACS"), pydicom.dcmread(files[0]).SOPInstanceUID
    entity.add_supported_context(DIGITAL)

    def store(event: evt.Event) -> int:
        if event.request.AffectedSOPInstanceUID == fatal:
            event.assoc.abort()
        return 0

    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    to = Destination("PACS", "127.0.0.1", server.server_address[1])
    clock = itertools.count(0, 500)
    spool = Spool(tmp_path / "spool", 10**9, free=0, by="bundle", clock=lambda: next(clock))
    result = Result(image="file:1", bundle="b", cxrflow="0", purpose="tests")

    def answer(images: Sequence[Path]) -> list[Made]:
        return [Made(result, [image.read_bytes()]) for image in images]

    flow = Flow(spool, answer, partial(send, "CXRFLOW", to), 1, lambda: next(clock))
    for study, path in enumerate((files[0], files[2])):
        spool.accept(str(study), [path.read_bytes()])
        flow.score()
    for _ in range(4):
        flow.send()
    entity.shutdown()
    assert spool.studies("sending") == [digest_of("0")]
    assert spool.studies("scoring") == spool.studies("receiving") == []


def test_a_study_of_many_pictures_is_not_held_in_memory(serve, tmp_path, radiograph) -> None:
    paths = [tmp_path / f"large{number}.dcm" for number in range(24)]
    for number, path in enumerate(paths):
        path.write_bytes(radiograph(1, number, Rows=1024, Columns=2048, PixelData=bytes(2 * 1024**2)))
    to = serve(*[0] * len(paths))
    tracemalloc.start()
    try:
        assert sent(to, paths) == (paths, "")
        assert tracemalloc.get_traced_memory()[1] < 24 * 1024**2  # of 48 MiB
    finally:
        tracemalloc.stop()


def test_a_node_that_is_not_there_or_another_is_unreachable(files, serve) -> None:
    to = serve(title="OTHER")
    assert sent(to, files) == ([], f"Unreachable: {to}: it refuses the association")
    nobody = to._replace(port=1)
    assert sent(nobody, files) == ([], f"Unreachable: {nobody}: there is no answer")
    assert issubclass(Unreachable, CxrflowError)


def test_what_is_sent_is_what_the_file_holds(files, serve) -> None:
    received: list[pydicom.Dataset] = []
    entity = AE("PACS")
    entity.add_supported_context(DIGITAL)

    def keep(event: evt.Event) -> int:
        received.append(event.dataset)
        return 0

    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)])
    assert sent(Destination("PACS", "127.0.0.1", server.server_address[1]), files[:1])[0] == files[:1]
    entity.shutdown()
    assert received == [pydicom.dcmread(files[0])]


def test_nodes_are_named_by_title_host_and_port() -> None:
    assert destination("PACS@192.0.2.7:104") == ("PACS", "192.0.2.7", 104)
    assert destination("A.B-1@[2001:db8::1]:11112") == ("A.B-1", "2001:db8::1", 11112)
    assert str(destination("PACS@archive:104")) == "PACS@archive:104"
    for wrong in (
        "PACS",
        "PACS@archive",
        "archive:104",
        "PACS@archive:0",
        "PACS@archive:70000",
        "A B@archive:1",
        "@a:1",
    ):
        with pytest.raises(CxrflowError, match=r"is not AET@HOST:PORT"):
            destination(wrong)
    assert listening("CXRFLOW", "127.0.0.1", 1, ["A"]).calling == ("A",)
    for wrong in ("", "x" * 17, "A B", "A\\B", "Ä"):
        with pytest.raises(CxrflowError, match="is no AE title"):
            listening("CXRFLOW", "127.0.0.1", 1, [wrong])
