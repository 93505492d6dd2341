"""The spool: durable before it is acknowledged, bounded, and every study answered whatever step it dies in."""

import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from cxrflow.errors import CxrflowError
from cxrflow.result import Result
from cxrflow.serving.dicom_results import Made
from cxrflow.serving.flow import Flow, Unreachable
from cxrflow.serving.spool import Full, Spool, digest_of

GB = 10**9


def made(objects: Sequence[bytes], left_out: str | None = None, reason: str | None = None) -> Made:
    result = Result(image="file:1", left_out=left_out, bundle="b", cxrflow="0", purpose="tests")
    return Made(result, objects, reason)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def spool(tmp_path: Path, clock: Clock) -> Spool:
    return Spool(tmp_path / "spool", GB, free=0, by="bundle", clock=clock)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_an_image_is_on_the_disk_before_it_is_accepted(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[tuple[str, str]] = []
    synced, replaced = os.fsync, os.replace

    def fsync(handle: int) -> None:
        synced(handle)
        done.append(("fsync", os.readlink(f"/proc/self/fd/{handle}")))

    def replace(before: Path, after: Path) -> None:
        assert Path(before).read_bytes() == b"onetwo"  # whole before it has its name
        replaced(before, after)
        done.append(("replace", str(after)))

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    assert spool.accept("1.2", [b"one", memoryview(b"two")])
    (image,) = spool.images("receiving", digest_of("1.2"))
    assert [what for what, _ in done] == ["fsync", "fsync", "replace", "fsync"]
    assert "incoming" in done[0][1]  # its content
    assert done[1] == ("fsync", str(spool.folder / "receiving"))  # the name of its study
    assert done[2:] == [("replace", str(image)), ("fsync", str(image.parent))]  # its own name


def test_names_and_modes_give_nothing_away(spool: Spool) -> None:
    spool.accept("1.2.3", [b"content"])
    assert stat.S_IMODE(spool.folder.stat().st_mode) == 0o700
    assert "1.2.3" not in "".join(files(spool.folder))


def test_a_full_spool_takes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path / "spool", 10, free=0)
    assert spool.accept("1", [b"12345678"])
    with pytest.raises(Full, match="the spool holds"):
        spool.accept("1", [b"123"])
    assert spool.accept("1", [b"12"])
    assert len(files(spool.folder)) == 2
    with pytest.raises(Full, match="the spool holds"):  # what lies in it counts after a restart, too
        Spool(tmp_path / "spool", 10, free=0).accept("1", [b"1"])
    free = shutil.disk_usage(tmp_path).free
    with pytest.raises(Full, match="of the disk are free"):
        Spool(tmp_path / "other", GB, free=2 * free).accept("1", [b"1"])


def test_a_disk_that_fails_is_a_refusal_and_leaves_nothing(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fails)
        with pytest.raises(Full, match="No space left on device"):
            spool.accept("1", [b"1"])
    assert files(spool.folder) == set()
    assert spool.accept("1", [b"1"])


def test_what_was_being_written_is_removed_at_the_start(spool: Spool) -> None:
    (spool.folder / "incoming" / "half.writing").write_bytes(b"half")
    Spool(spool.folder, GB)
    assert files(spool.folder) == set()


def test_space_is_given_back(spool: Spool, clock: Clock) -> None:
    flow = Flow(spool, lambda images: [made([b"x" * 50]) for _ in images], lambda results: iter(results), 1, clock)
    for number in range(3):
        spool.accept("1.2", [b"%d" % number * 100])
    clock.now = 5
    assert flow.score()
    assert spool._held == 450
    while flow.send():
        pass
    left = sum(path.stat().st_size for path in spool.folder.rglob("*") if path.is_file() and "done" not in path.parts)
    assert left == 0
    assert spool._held == left


def test_a_study_is_complete_after_a_quiet_time(spool: Spool, clock: Clock) -> None:
    spool.accept("1", [b"a"])
    clock.now = 20
    spool.accept("1", [b"b"])
    spool.accept("2", [b"c"])
    clock.now = 30
    spool.accept("2", [b"d"])
    clock.now = 49
    assert spool.complete(30) == []
    clock.now = 50
    assert spool.complete(30) == [digest_of("1")]
    clock.now = 60
    assert spool.complete(30) == [digest_of("2")]
    # After a restart, the quiet time begins anew.
    spool.accept("3", [b"e"])
    clock.now = 1000
    again = Spool(spool.folder, GB, free=0, by="bundle", clock=clock)
    assert again.complete(30) == []
    clock.now = 1030
    assert again.complete(30) == [digest_of("3")]


def test_late_images_are_answered_and_repeated_ones_are_not(spool: Spool, clock: Clock) -> None:
    asked: list[int] = []
    reach = [False]

    def answer(images: Sequence[Path]) -> list[Made]:
        asked.append(len(images))
        return [made([image.read_bytes()]) for image in images]

    def send(results: Sequence[Path]) -> Iterator[Path]:
        if not reach[0]:
            raise Unreachable("it is down")
        yield from results

    def turn() -> None:
        clock.now += 1000
        flow.score()
        flow.send()

    flow = Flow(spool, answer, send, 10, clock)
    assert spool.accept("1", [b"first"])
    turn()
    assert not spool.accept("1", [b"first"])  # its result waits for the destination
    assert spool.accept("1", [b"late"])
    turn()
    assert asked == [1]  # the late one waits for the first
    reach[0] = True
    turn()
    turn()
    assert asked == [1, 1]
    assert not spool.accept("1", [b"first"])
    assert not spool.accept("1", [b"late"])
    assert spool.accept("2", [b"late"])  # of another study
    turn()
    assert asked == [1, 1, 1]
    assert Spool(spool.folder, GB, free=0, by="another bundle").accept("1", [b"first"])


def test_what_cannot_be_answered_is_set_aside_with_the_reason(spool: Spool, clock: Clock) -> None:
    def answer(images: Sequence[Path]) -> list[Made]:
        return [
            made([], reason="no UIDs") if image.read_bytes() == b"bad" else made([b"SR"], left_out="no pixels")
            for image in images
        ]

    flow = Flow(spool, answer, iter, 1, clock)
    spool.accept("1", [b"bad"])
    spool.accept("1", [b"good"])
    clock.now = 10
    assert flow.score()
    assert flow.send()
    assert {path.suffix: path.read_bytes() for path in (spool.folder / "aside").rglob("*.*")} == {
        ".dcm": b"bad",
        ".txt": b"no UIDs\n",
    }
    assert not spool.accept("1", [b"bad"])


def test_records_are_forgotten_after_a_while_and_a_damaged_one_is_no_obstacle(spool: Spool, clock: Clock) -> None:
    flow = Flow(spool, lambda images: [made([b"x"]) for _ in images], iter, 1, clock)
    spool.accept("1", [b"one"])
    clock.now = 10
    flow.score()
    flow.send()
    (record,) = (spool.folder / "done").iterdir()
    content = record.read_text()
    assert digest_of("1") in record.name
    for damaged in ("", "[]", '{"answered": 3}', content[:30]):
        record.write_text(damaged)
        assert not spool._has(digest_of("1"), "one.dcm")
    record.write_text(content)
    spool.forget()
    assert record.exists()
    os.utime(record, (0, 0))
    spool.forget()
    assert not record.exists()


def test_a_failure_of_one_study_does_not_hold_up_others(spool: Spool, clock: Clock) -> None:
    sent: list[bytes] = []

    def answer(images: Sequence[Path]) -> Iterator[Made]:
        for image in images:
            if image.read_bytes() == b"cursed":
                raise RuntimeError("patient DOE^JANE")
            yield made([image.read_bytes()])

    def send(results: Sequence[Path]) -> Iterator[Path]:
        for result in results:
            if result.read_bytes() == b"refused":
                raise CxrflowError("it answered 0xA900")
            sent.append(result.read_bytes())
            yield result

    flow = Flow(spool, answer, send, 1, clock)
    for number, content in enumerate((b"cursed", b"refused", b"a", b"b")):
        spool.accept(str(number), [content])
    for _ in range(12):
        clock.now += 500
        flow.score()
        flow.send()
    assert sorted(sent) == [b"a", b"b"]
    assert [spool.studies("scoring"), spool.studies("sending")] == [[digest_of("0")], [digest_of("1")]]


def test_the_log_quotes_no_error_of_others(
    spool: Spool, clock: Clock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(images: Sequence[Path]) -> list[Made]:
        raise ValueError("value DOE^JANE of PatientName")

    spool.accept("1.2.3", [b"a"])
    clock.now = 10
    Flow(spool, answer, iter, 1, clock).score()
    assert "ValueError, test_spool.py line" in caplog.text
    assert digest_of("1.2.3")[:12] in caplog.text
    assert "DOE" not in caplog.text
    assert "1.2.3" not in caplog.text


class Killed(BaseException):
    """Stands for kill -9 between two operations on files."""


#: Operations on files; between any two of them, the node may be killed.
OPERATIONS = (
    *((os, name) for name in ("fsync", "replace", "rename", "unlink", "mkdir", "rmdir")),
    *((Path, name) for name in ("unlink", "mkdir")),
    (shutil, "rmtree"),
)


#: After how many of them; None for never.
KILLED = st.none() | st.integers(0, 25)


class Nodes(RuleBasedStateMachine):
    """Nodes that one after the other use one spool, each killed before any operation on files.

    However they end: what was acknowledged is answered, each image by the results of one attempt alone, none is left.
    """

    @initialize()
    def start(self) -> None:
        self.patch = pytest.MonkeyPatch()
        self.folder = Path(os.environ["PYTEST_SPOOL"]) / os.urandom(8).hex()
        self.clock, self.left = Clock(), 10**9
        self.acknowledged: set[tuple[str, bytes]] = set()
        self.offered: set[tuple[str, bytes]] = set()
        self.attempts, self.reachable = 0, True
        self.received: dict[bytes, set[bytes]] = {}
        for where, name in OPERATIONS:
            self.patch.setattr(where, name, self.counted(getattr(where, name)))
        self.restart()

    def counted(self, operation):
        def instead(*arguments, **options):
            self.left -= 1
            if self.left < 0:
                raise Killed
            return operation(*arguments, **options)

        return instead

    def restart(self) -> None:
        """A node that is killed while it starts is started again."""
        while True:
            try:
                self.spool = Spool(self.folder, GB, free=0, by="b", clock=self.clock)
                break
            except Killed:
                self.left = 10**9
        self.flow = Flow(self.spool, self.answer, self.send, 10, self.clock)

    def answer(self, images: Sequence[Path]) -> Iterator[Made]:
        self.attempts += 1
        for image in images:
            content = image.read_bytes()
            if content.startswith(b"bad"):
                yield made([], reason="bad")
            else:
                yield made([b"%s %d %d" % (content, self.attempts, kind) for kind in range(2)])

    def send(self, results: Sequence[Path]) -> Iterator[Path]:
        if not self.reachable:
            raise Unreachable("down")
        for result in results:
            content, *which = result.read_bytes().split(b" ")
            self.received.setdefault(content, set()).add(b" ".join(which))
            yield result

    def alive(self, step, operations: int | None) -> bool:
        """Whether a step ends before the node is killed, which is after so many operations on files."""
        self.left = 10**9 if operations is None else operations
        try:
            step()
            return True
        except Killed:
            self.left = 10**9
            self.restart()
            return False
        finally:
            self.left = 10**9

    @rule(study=st.sampled_from("12"), image=st.sampled_from([b"a", b"b", b"bad"]), killed=KILLED)
    def store(self, study: str, image: bytes, killed: int | None) -> None:
        content = image + study.encode()
        self.offered.add((study, content))
        if self.alive(lambda: self.spool.accept(study, [content]), killed):
            self.acknowledged.add((study, content))

    @rule(seconds=st.sampled_from([1000, 20, 1]), killed=KILLED)
    def score(self, seconds: int, killed: int | None) -> None:
        self.clock.now += seconds
        self.alive(self.flow.score, killed)

    @rule(seconds=st.sampled_from([1000, 1]), killed=KILLED, reachable=st.sampled_from([True, True, False]))
    def send_one(self, seconds: int, killed: int | None, reachable: bool) -> None:
        self.clock.now += seconds
        self.reachable = reachable
        self.alive(self.flow.send, killed)

    def teardown(self) -> None:
        if not hasattr(self, "patch"):
            return
        try:
            self.left, self.reachable = 10**9, True
            self.restart()
            for _ in range(20):
                self.clock.now += 1000
                self.flow.score()
                self.flow.send()
            bad = {content for _, content in self.acknowledged if content.startswith(b"bad")}
            good = {content for _, content in self.acknowledged} - bad
            assert good <= set(self.received)
            assert set(self.received) <= {content for _, content in self.offered}
            for which in self.received.values():  # both kinds, of one attempt
                assert sorted(each.split()[1] for each in which) == [b"0", b"1"]
                assert len({each.split()[0] for each in which}) == 1
            aside = {path.read_bytes() for path in (self.folder / "aside").rglob("*.dcm")}
            assert bad <= aside
            assert {path.with_suffix(".txt").exists() for path in (self.folder / "aside").rglob("*.dcm")} <= {True}
            left = {name.split("/")[0] for name in files(self.folder)}
            assert left <= {"done", "aside"}
            size = sum((self.folder / name).stat().st_size for name in files(self.folder))
            records = sum(path.stat().st_size for path in (self.folder / "done").iterdir())
            assert size - records <= self.spool._held <= size
            for study, content in self.acknowledged:
                assert not self.spool.accept(study, [content])
        finally:
            self.patch.undo()


Nodes.TestCase.settings = settings(max_examples=150, stateful_step_count=20, deadline=None)


class TestNodes(Nodes.TestCase):
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PYTEST_SPOOL", str(tmp_path))
