"""Where the work is done: in this process and its children (local), or on a Spark cluster (spark).

An engine offers a table backend (Ibis, so that one set of rules runs on DuckDB and on Spark) and ``map``.
"""

import os
import signal
import sys
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cached_property, partial
from typing import Any, Protocol, TypeVar

import cv2
from joblib import cpu_count
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.process_executor import TerminatedWorkerError

from cxrflow.errors import CxrflowError
from cxrflow.params import Params

In = TypeVar("In")
Out = TypeVar("Out")

#: Items that a process of this machine is handed at once, at most: handing over many costs hardly more than one.
_CHUNK = 16
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
#: Spark: at most this many items in a partition, and this many partitions asked for and not yet taken. Together they
#: bound what the driver holds; each result is a whole picture.
_PARTITION, _AHEAD = 64, 128


class Engine(Protocol):
    """What a stage may ask of an engine."""

    @property
    def backend(self) -> Any:
        """The Ibis backend that tables live on."""

    def map(self, function: Callable[[In], Out], items: Sequence[In]) -> Iterator[Out]:
        """``function`` of each item, in the order of the items; function and items are sent to other processes."""


class LocalEngine:
    """DuckDB in memory, and all cores of this machine."""

    @cached_property
    def backend(self) -> Any:
        """As ``Engine.backend``; loaded when it is first asked for, which worker processes never do."""
        import ibis

        return ibis.duckdb.connect()

    def map(self, function: Callable[[In], Out], items: Sequence[In]) -> Iterator[Out]:
        """As ``Engine.map``, by processes of this machine.

        Raises CxrflowError where one of them is killed.
        """
        pool = get_reusable_executor(initializer=_ignore_interrupts, env=_ONE_THREAD)
        ahead = 4 * cpu_count()

        def size(left: int) -> int:  # less and less at the end, so that no process is idle while another has many
            return min(_CHUNK, left // ahead)

        def submit(part: Sequence[In]) -> Future[list[Out]]:
            return pool.submit(_partition, function, part)

        try:
            yield from _in_order(submit, items, size, lambda: ahead)
        except TerminatedWorkerError:
            raise CxrflowError(
                "engine: local failed: a worker process was killed, by a lack of memory or a fault in a decoder; run "
                "again to go on, with more memory or engine: spark."
            ) from None


def _in_order(
    submit: Callable[[Sequence[In]], Future[list[Out]]],
    items: Sequence[In],
    size: Callable[[int], int],
    ahead: Callable[[], int],
) -> Iterator[Out]:
    """Results in the order of the items, which are handed over in parts of ``size(number left)``; no more than
    ``ahead()`` parts are asked for and not yet taken, so that a slow taker never has all of them in memory."""
    asked: deque[Future[list[Out]]] = deque()
    start = 0
    try:
        while start < len(items):
            end = start + max(1, size(len(items) - start))
            asked.append(submit(list(items[start:end])))
            start = end
            while len(asked) >= ahead():
                yield from asked.popleft().result()
        while asked:
            yield from asked.popleft().result()
    finally:
        for part in asked:
            part.cancel()


def _ignore_interrupts() -> None:
    """An interruption is for the process that asked; workers end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _partition(function: Callable[[In], Out], items: Iterable[In]) -> list[Out]:
    """What a process of this machine or an executor of Spark does, handed some items at a time. One process per core is
    enough: OpenCV's own threads would fight over them."""
    cv2.setNumThreads(1)
    return [function(item) for item in items]


class SparkEngine:
    """Tables and work on a Spark cluster, through one session."""

    def __init__(self, session: Any) -> None:
        import ibis

        self._session = session
        self.backend = ibis.pyspark.connect(session)

    def map(self, function: Callable[[In], Out], items: Sequence[In]) -> Iterator[Out]:
        """As ``Engine.map``, by the executors; results arrive partition by partition.

        Raises CxrflowError where ``function`` fails on an executor or Spark itself does.
        """
        # Every partition is a job of its own, and twice as many are asked for as there are cores: toLocalIterator
        # runs no more than two at a time however many cores there are, collect holds every result at once.
        context = self._session.sparkContext
        group = f"cxrflow {uuid.uuid4()}"
        size = min(_PARTITION, len(items) // (4 * context.defaultParallelism))
        pool = ThreadPoolExecutor(_AHEAD, initializer=context.setJobGroup, initargs=(group, "cxrflow", True))

        def submit(part: Sequence[In]) -> Future[list[Out]]:
            return pool.submit(_on_spark, context, function, part)

        finished = False
        try:
            yield from _in_order(submit, items, lambda left: size, lambda: min(_AHEAD, 2 * context.defaultParallelism))
            finished = True
        except Exception as error:
            raise CxrflowError(f"engine: spark failed ({_reason(error)}).") from error
        finally:
            if not finished:
                with suppress(Exception):  # Spark may be what has gone
                    context.cancelJobGroup(group)
            pool.shutdown(cancel_futures=True)


def _on_spark(context: Any, function: Callable[[In], Out], items: Sequence[In]) -> list[Out]:
    return context.parallelize(items, 1).mapPartitions(partial(_partition, function)).collect()


def _reason(error: Exception) -> str:
    """The line of Spark's error that says what happened: the last one before the JVM's stack."""
    said = (str(error) or repr(error)).split("\n\tat ")[0].removesuffix("Driver stacktrace:").strip()
    return said.splitlines()[-1].rpartition("Exception: ")[2][:300]


@contextmanager
def open_engine(params: Params) -> Iterator[Engine]:
    """The engine that ``engine`` names, closed at the end.

    Raises CxrflowError where Spark is asked for and PySpark or Java is not there.
    """
    if params.engine == "local":
        yield LocalEngine()
        return
    # The executors must run this interpreter, not whatever "python3" is there.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    try:
        from pyspark.sql import SparkSession
    except ImportError:
        raise CxrflowError("engine: spark needs PySpark; install it with `pip install cxrflow[spark]`.") from None
    try:
        session = (
            SparkSession.builder.master(params.spark.master)
            .appName("cxrflow")
            .config("spark.ui.enabled", "false")
            .config("spark.ui.showConsoleProgress", "false")
            .config("spark.sql.session.timeZone", "UTC")
            .getOrCreate()
        )
    except Exception as error:  # py4j wraps whatever the JVM says, and a missing JVM has its own class
        raise CxrflowError(
            f"engine: spark could not start at {params.spark.master} ({str(error).splitlines()[0][:200]}); "
            "it needs Java 17 or newer and, at spark://, a running master; or set engine: local."
        ) from None
    try:
        yield SparkEngine(session)
    finally:
        session.stop()
