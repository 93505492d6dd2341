"""A decoder that crashes, hangs or takes too much memory costs the one file that it was reading."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cloudpickle
import pytest

from cxrflow.engines import Limits, LocalEngine, Lost, cores
from cxrflow.workers import Worker

LIMITS = Limits(memory_gb=0.5, seconds=1)


def misbehave(what: str) -> str | int:
    if what == "crash":
        ctypes.string_at(0)
    elif what == "exit":
        os._exit(3)
    elif what == "hang":
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # as stuck as C code can be
        time.sleep(100)
    elif what == "memory":
        return len(bytearray(700_000_000))
    elif what == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "stopped":
        os.kill(os.getpid(), signal.SIGTERM)
    elif what == "killed once" and not Path("killed once").exists():
        Path("killed once").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "keep":
        globals()["kept"] = bytearray(300_000_000)
    elif what == "fail":
        raise ValueError("an error of the function's own")
    return os.getpid() if what == "who" else what


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("crash", "the decoder crashed (SIGSEGV)"),
        ("exit", "the decoder crashed (exit status 3)"),
        ("hang", "reading it takes longer than 1 s (reading.seconds)"),
        ("memory", "reading it takes more than 0.5 GB of memory (reading.memory_gb)"),
        ("killed", "the process that read it was killed twice; there may be too little memory for reading.memory_gb"),
    ],
)
def test_one_item_is_lost_with_its_reason_and_no_other(what: str, reason: str) -> None:
    items = [*"abc", what, *"defghijklmnopqrstuvwxyz"]
    expected = [Lost(reason) if item == what else item for item in items]
    assert list(LocalEngine(LIMITS).map(misbehave, items)) == expected


def test_a_worker_that_another_killed_works_on(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    worker = Worker()
    assert worker.run(pickled(misbehave), ["a", "killed once", "b"], LIMITS) == ["a", "killed once", "b"]
    (idle,) = worker.run(pickled(misbehave), ["who"], LIMITS)
    os.kill(int(idle), signal.SIGKILL)
    assert worker.run(pickled(misbehave), ["a"], LIMITS) == ["a"]
    worker.kill()


def test_the_stop_of_a_service_takes_no_file_from_a_worker() -> None:
    """systemd sends SIGTERM to every process of a service; what its workers then lost would count as unreadable."""
    assert Worker().run(cloudpickle.dumps(misbehave), ["stopped"], LIMITS) == ["stopped"]


def test_a_worker_that_keeps_memory_is_replaced() -> None:
    worker = Worker()
    first, again, kept, then = worker.run(pickled(misbehave), ["who", "who", "keep", "who"], LIMITS)
    assert kept == "keep"
    assert first == again != then
    worker.kill()


def test_an_error_of_the_function_itself_is_raised_with_its_traceback() -> None:
    with pytest.raises(ValueError, match="the function's own") as raised:
        list(LocalEngine(LIMITS).map(misbehave, ["a", "fail"]))
    assert "in misbehave" in raised.value.__notes__[0]
    assert list(LocalEngine(LIMITS).map(misbehave, ["a"])) == ["a"]


@pytest.mark.parametrize("what", ["result", "error"])
def test_what_cannot_be_sent_is_no_crash_of_a_decoder(what: str) -> None:
    class Unsendable(Exception):
        def __reduce__(self):
            raise TypeError("not to be pickled")

    def function(item: str) -> object:
        if item == "error":
            raise Unsendable
        return Unsendable() if item == "result" else item

    with pytest.raises(TypeError, match="a worker's result cannot be sent"):
        list(LocalEngine(LIMITS).map(function, ["a", what]))


def test_who_takes_no_more_results_stops_the_work_at_once() -> None:
    results = LocalEngine(limits=None).map(time.sleep, [0, *[100] * 8])
    next(results)
    started = time.monotonic()
    results.close()
    assert list(LocalEngine().map(abs, range(-40, 0))) == list(range(40, 0, -1))
    assert time.monotonic() - started < 30


KILLED = """
import sys, time
from cxrflow.engines import LocalEngine
sys.path.insert(0, sys.argv[1])
from test_workers import hang_and_say
list(LocalEngine().map(hang_and_say, range(40)))
"""


def hang_and_say(_: int) -> None:
    print(os.getpid(), flush=True)
    time.sleep(100)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a worker ends when its item does")
@pytest.mark.parametrize(("how", "status"), [(signal.SIGKILL, -9), (signal.SIGTERM, -15), (signal.SIGINT, 1)])
def test_workers_end_with_their_parent(how: signal.Signals, status: int) -> None:
    command = [sys.executable, "-c", KILLED, str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as parent:
        assert parent.stdout is not None
        workers = [int(parent.stdout.readline()) for _ in range(min(2, cores()))]
        parent.send_signal(how)
        assert parent.wait(10) in (status, -how)
        deadline = time.monotonic() + 5
        while any(Path(f"/proc/{pid}/stat").exists() for pid in workers):
            assert time.monotonic() < deadline
            time.sleep(0.02)


def pickled(function: object) -> bytes:
    import cloudpickle

    return cloudpickle.dumps(function)


def test_a_worker_is_not_led_into_a_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As OpenCV's folder, which holds a ``typing`` and is in ``sys.path`` while another thread imports it."""
    package = tmp_path / "vision"
    (package / "typing").mkdir(parents=True)
    for place in (package, package / "typing"):
        (place / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(package))
    worker = Worker()
    assert worker.run(cloudpickle.dumps(abs), [-2], None) == [2]
    worker.kill()
