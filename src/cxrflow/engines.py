"""Where the work runs: on this machine (local) or on a Spark cluster (spark).

An engine provides a table backend (Ibis, so that the same rules run on DuckDB and on Spark) and a parallel ``map``.
"""

import os
import signal
import sys
import tempfile
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import cv2
from joblib import cpu_count
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.process_executor import TerminatedWorkerError

from cxrflow.errors import CxrflowError
from cxrflow.params import Params

In = TypeVar("In")
Out = TypeVar("Out")

#: Memory of DuckDB.
_TABLE_MEMORY = "1GB"
#: Maximum number of items per task of a local worker process; sending 16 costs hardly more than sending one.
_CHUNK = 16
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
#: Spark: maximum number of items per partition, and of partitions in flight (submitted, results not yet consumed).
#: Together they bound the driver's memory; each result is a whole image.
_PARTITION, _AHEAD = 64, 128


class Engine(Protocol):
    """Interface of every engine."""

    @property
    def backend(self) -> Any:
        """The Ibis backend that holds the tables."""

    def map(self, function: Callable[[In], Out], items: Sequence[In]) -> Iterator[Out]:
        """Results of ``function`` for the items, in their order. Function, items and results are pickled."""


class LocalEngine:
    """DuckDB in memory, and one worker process per core of this machine."""

    @cached_property
    def backend(self) -> Any:
        """As ``Engine.backend``; opened on first use, so that worker processes never import it."""
        import ibis

        # Beyond this memory the tables of millions of rows spill to disk.
        spill = Path(tempfile.gettempdir()) / f"cxrflow-{os.getpid()}"
        return ibis.duckdb.connect(memory_limit=_TABLE_MEMORY, temp_directory=str(spill))

    def map(self, function: Callable[[In], Out], items: Sequence[In]) -> Iterator[Out]:
        """As ``Engine.map``, in worker processes.

        Raises CxrflowError if one of them is killed.
        """
        pool = get_reusable_executor(initializer=_ignore_interrupts, env=_ONE_THREAD)
        ahead: int = 4 * cpu_count()

        def size(left: int) -> int:  # smaller tasks towards the end, so that all processes finish together
            return min(_CHUNK, left // ahead)

        def submit(part: Sequence[In]) -> Future[list[Out]]:
            future: Future[list[Out]] = pool.submit(_partition, function, part)
            return future

        try:
            yield from _in_order(submit, items, size, lambda: ahead)
        except TerminatedWorkerError:
            raise CxrflowError(
                "engine: local failed: a worker process was killed (out of memory, or a decoder crashed); run again "
                "to resume, with more memory or engine: spark."
            ) from None


def _in_order(
    submit: Callable[[Sequence[In]], Future[list[Out]]],
    items: Sequence[In],
    size: Callable[[int], int],
    ahead: Callable[[], int],
) -> Iterator[Out]:
    """Results in the order of the items.

    submit  starts work on a part of the items
    size    number of items left -> number of items in the next part
    ahead   returns the maximum number of parts in flight, which bounds the results in memory (back-pressure)
    """
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
    """Leave Ctrl-C to the parent process; its workers end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _partition(function: Callable[[In], Out], items: Iterable[In]) -> list[Out]:
    """Work of one task in a worker process or Spark executor. OpenCV uses one thread, because every core has its own
    process."""
    cv2.setNumThreads(1)
    return [function(item) for item in items]


class SparkEngine:
    """Tables and ``map`` on a Spark cluster, through one session."""

    def __init__(self, session: Any) -> None:
        import ibis

        self._session = session
        self.backend = ibis.pyspark.connect(session)

    def map(self, function: Callable[[In], Out], items: Sequence[In]) -> Iterator[Out]:
        """As ``Engine.map``, on the executors; results arrive partition by partition.

        Raises CxrflowError if ``function`` fails on an executor, or Spark itself fails.
        """
        # Each partition is a separate job, with twice as many jobs in flight as cores. The alternatives are worse:
        # toLocalIterator runs two jobs at a time on any number of cores, and collect holds all results at once.
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
                with suppress(Exception):  # Spark may no longer run
                    context.cancelJobGroup(group)
            pool.shutdown(cancel_futures=True)


def _on_spark(context: Any, function: Callable[[In], Out], items: Sequence[In]) -> list[Out]:
    results: list[Out] = context.parallelize(items, 1).mapPartitions(partial(_partition, function)).collect()
    return results


def _reason(error: Exception) -> str:
    """The informative line of Spark's error message: the last one before the JVM's stack trace."""
    said = (str(error) or repr(error)).split("\n\tat ")[0].removesuffix("Driver stacktrace:").strip()
    return said.splitlines()[-1].rpartition("Exception: ")[2][:300]


@contextmanager
def open_engine(params: Params) -> Iterator[Engine]:
    """Context manager for the engine named in ``params.engine``.

    Raises CxrflowError if that is ``spark`` and PySpark or Java is missing, or no master answers.
    """
    if params.engine == "local":
        yield LocalEngine()
        return
    # The executors must run this interpreter, not the first "python3" on their PATH.
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
    except Exception as error:  # py4j wraps the JVM's exceptions; a missing JVM raises another class
        raise CxrflowError(
            f"engine: spark could not start at {params.spark.master} ({str(error).splitlines()[0][:200]}); "
            "it needs Java 17 or newer and, at spark://, a running master; or set engine: local."
        ) from None
    try:
        yield SparkEngine(session)
    finally:
        session.stop()
