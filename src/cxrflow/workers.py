"""Worker processes that read files under a memory limit and a time limit.

A decoder that crashes, hangs or takes too much memory ends its process and costs the one file that it was reading.
Each worker belongs to one thread of this process, hands back result by result, and is replaced when it dies. Workers
import this module, so it imports neither torch nor pandas.
"""

import ctypes
import os
import pickle
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakSet

from cxrflow.errors import CxrflowError

#: A worker that keeps more than this share of its memory limit after an item is replaced.
_KEPT = 0.25
_SERVE = "import sys; from cxrflow.workers import serve; serve(int(sys.argv[1]))"
_ENVIRONMENT = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1") | {
    "RUST_BACKTRACE": "0"
}
_here = threading.local()
_workers: "WeakSet[Worker]" = WeakSet()
_ended = threading.Event()


class Lost(NamedTuple):
    """Stands for the result of an item whose worker died, or ran into a limit; ``reason`` is why."""

    reason: str


class Limits(NamedTuple):
    """Limits of a worker on one item: memory above what the worker takes when idle (GB), and time (seconds).

    Memory is limited on Linux only; other systems do not enforce such a limit.
    """

    memory_gb: float
    seconds: float

    def out_of_memory(self) -> Lost:
        """The result of an item that takes too much memory."""
        return Lost(f"reading it takes more than {self.memory_gb:g} GB of memory (reading.memory_gb)")

    def out_of_time(self) -> Lost:
        """The result of an item that takes too long."""
        return Lost(f"reading it takes longer than {self.seconds:g} s (reading.seconds)")


class Worker:
    """A process that works for one thread of this process."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Any = None
        _workers.add(self)

    def start(self) -> None:
        """Start the process if it does not run; returns before it is ready.

        Raises CxrflowError on Windows, where a process inherits no file descriptor.
        """
        if self._process is not None and self._process.poll() is None:
            return
        if os.name == "nt":
            raise CxrflowError("radiographs cannot be read on Windows: use Linux, for example within Windows (WSL 2).")
        ours, theirs = Pipe()
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path if not _is_package(path))
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-P", "-c", _SERVE, str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            env=os.environ | _ENVIRONMENT | {"PYTHONPATH": paths},
        )
        theirs.close()
        self._pipe = ours

    def run(
        self, function: bytes, items: Sequence[Any], limits: Limits | None, stopped: threading.Event | None = None
    ) -> list[Any]:
        """Results of the pickled ``function`` for the items, each a value or Lost.

        stopped  whoever sets this and then calls ``kill`` gets fewer results
        Raises what the function raises, and CxrflowError if the process cannot start.
        """
        results: list[Any] = []
        stopped, killed = stopped or threading.Event(), False
        while len(results) < len(items) and self._hand_over(function, items[len(results) :], limits, stopped):
            try:
                while len(results) < len(items):
                    if limits and not self._pipe.poll(limits.seconds):
                        self._end(kill=True)
                        results.append(limits.out_of_time())
                        break
                    failed, value, leaving = self._pipe.recv()
                    if failed:
                        raise value
                    results.append(value)
                    killed = False
                    if leaving:
                        self._end()
                        break
            except (EOFError, ConnectionError):
                code = self._end()
                # A kernel that runs out of memory kills any process, so the item gets a second try.
                killed = code == -signal.SIGKILL and not killed
                if not killed and not stopped.is_set():
                    results.append(Lost(_said(code)))
        return results

    def kill(self) -> None:
        """Kill the process; for other threads than that of ``run``."""
        if (process := self._process) is not None:
            process.kill()

    def _hand_over(
        self, function: bytes, items: Sequence[Any], limits: Limits | None, stopped: threading.Event
    ) -> bool:
        """Send the items to the process and wait until it begins, which takes no time from the items.

        Returns whether it began; False if ``stopped`` is set.
        """
        for _ in range(2):  # a process that was idle may have been killed
            if stopped.is_set() or _ended.is_set():
                return False
            self.start()
            with suppress(EOFError, ConnectionError):
                self._pipe.send((function, items, limits))
                self._pipe.recv()
                return True
            code = self._end()
        if stopped.is_set() or _ended.is_set():
            return False
        raise CxrflowError(f"a worker process could not start: {_said(code)}; see the messages above.")

    def _end(self, *, kill: bool = False) -> int:
        """Wait for the process to end, or kill it; returns its exit status."""
        assert self._process is not None  # noqa: S101
        if not kill:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
        self._process.kill()
        code = self._process.wait()
        self._pipe.close()
        self._process = None
        return code


def end_all() -> None:
    """Kill all workers and start no more, so that this process can end at once."""
    _ended.set()
    for worker in list(_workers):
        worker.kill()


def worker_of_thread() -> Worker:
    """The worker of this thread. Where the thread ends, so does the process (Linux)."""
    if not hasattr(_here, "worker"):
        _here.worker = Worker()
    worker: Worker = _here.worker
    return worker


def serve(descriptor: int) -> None:
    """The work of a worker process: results of what comes through the pipe, until the other end is closed."""
    pipe = Connection(descriptor)
    for number in (signal.SIGINT, signal.SIGTERM):  # Ctrl-C, or the stop of a service, is the parent's
        signal.signal(number, signal.SIG_IGN)  # its workers end with it; until then, none of their files is lost
    _die_with_parent()
    import cv2
    import onnxruntime  # noqa: F401  before the memory is measured

    import cxrflow.images.file  # noqa: F401  what most functions need

    cv2.setNumThreads(1)  # every core has a process
    idle = _memory()
    with suppress(EOFError, ConnectionError):
        while True:
            pickled, items, limits = pipe.recv()
            function = pickle.loads(pickled)  # noqa: S301  from the parent
            _limit_memory(None if limits is None else idle + int(limits.memory_gb * 1e9))
            pipe.send(None)
            for item in items:
                failed, value = _outcome(function, item, limits)
                leaving = limits is not None and _memory() - idle > _KEPT * limits.memory_gb * 1e9
                _send(pipe, failed, value, leaving)
                if leaving:
                    return
                if failed:
                    break


def _send(pipe: Connection, failed: bool, value: Any, leaving: bool) -> None:
    """Send a result. One that cannot be pickled is a mistake of the function, not of the file that it read."""
    try:
        pipe.send((failed, value, leaving))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        pipe.send((True, TypeError(f"a worker's result cannot be sent: {error}"), leaving))


def _outcome(function: Any, item: Any, limits: Limits | None) -> tuple[bool, Any]:
    """Whether the function failed, and its result or what it raised, which carries its traceback as a note."""
    try:
        return False, function(item)
    except MemoryError as error:
        return (True, error) if limits is None else (False, limits.out_of_memory())
    except Exception as error:
        error.add_note(f"In a worker process:\n{traceback.format_exc()}")
        return True, error


def _said(code: int) -> str:
    """What became of a process, by its exit status."""
    if code == -signal.SIGKILL:
        return "the process that read it was killed twice; there may be too little memory for reading.memory_gb"
    return f"the decoder crashed ({signal.Signals(-code).name if code < 0 else f'exit status {code}'})"


def _memory() -> int:
    """Private writable memory of this process (bytes), which RLIMIT_DATA limits; 0 where Linux does not say."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def _limit_memory(most: int | None) -> None:
    if sys.platform == "linux":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        most = hard if most is None else most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def _die_with_parent() -> None:
    """Have Linux kill this process when the thread that started it ends, though it be stuck in a decoder."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _is_package(path: str) -> bool:
    """Whether an entry of ``sys.path`` is itself a package. OpenCV puts its own folder there while it is imported, by
    another thread perhaps, and its ``typing`` would stand in for Python's in a process that is started then."""
    return os.path.exists(os.path.join(path, "__init__.py"))
