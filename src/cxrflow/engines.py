"""Where the work runs: on this machine (local) or on a Spark cluster (spark).

An engine provides a table backend (Ibis, so that the same rules run on DuckDB and on Spark) and a parallel ``map``.
"""

import os
import sys
import tempfile
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache, cached_property, partial
from math import ceil
from pathlib import Path
from typing import Any, Protocol, TypeVar

import cloudpickle

from cxrflow.errors import CxrflowError
from cxrflow.params import Params
from cxrflow.plugins import with_files
from cxrflow.workers import Limits, Lost, Worker, worker_of_thread

__all__ = ["Engine", "Limits", "LocalEngine", "Lost", "SparkEngine", "open_engine"]

In = TypeVar("In")
Out = TypeVar("Out")

#: Memory of DuckDB, and the most threads that it is enough for: each needs 125 MB (DuckDB's guide to performance).
_TABLE_MEMORY, _TABLE_THREADS = "512MB", 4
#: Limits where no parameter file sets others.
LIMITS = Limits(memory_gb=4, seconds=60)
#: Maximum number of items per task of a local worker process; sending 16 costs hardly more than sending one.
_CHUNK = 16
#: For so few items, starting a second worker process would not pay off.
_FEW = 8
#: Spark: maximum number of items per partition, and of partitions in flight (submitted, results not yet consumed).
#: Together they bound the driver's memory; each result is a whole image.
_PARTITION, _AHEAD = 64, 128


class Engine(Protocol):
    """Interface of every engine."""

    @property
    def backend(self) -> Any:
        """The Ibis backend that holds the tables."""

    def map(self, function: Callable[[In], Out], items: Sequence[In]) -> Iterator[Out | Lost]:
        """Results of ``function`` for the items, in their order. Function, items and results are pickled.

        The function runs in worker processes under the engine's limits. An item that ends its process, or exceeds a
        limit, has Lost as its result, with the reason; the other items are not affected.
        """


class LocalEngine:
    """DuckDB in memory, and one worker process per core of this machine."""

    def __init__(self, limits: Limits | None = LIMITS) -> None:
        self._limits = limits

    @cached_property
    def backend(self) -> Any:
        """As ``Engine.backend``; opened on first use, so that worker processes never import it."""
        import ibis

        # Beyond this memory the tables of millions of rows spill to disk.
        spill = Path(tempfile.gettempdir()) / f"cxrflow-{os.getpid()}"
        threads = min(cores(), _TABLE_THREADS)
        return ibis.duckdb.connect(memory_limit=_TABLE_MEMORY, threads=threads, temp_directory=str(spill))

    def start(self) -> None:
        """Start a worker process now, to be ready when it is needed."""
        _threads().submit(lambda: worker_of_thread().start())

    def map(self, function: Callable[[In], Out], items: Sequence[In]) -> Iterator[Out | Lost]:
        """As ``Engine.map``, in worker processes of this machine. Raises CxrflowError if they cannot start."""
        pool, pickled, ahead = _threads(), cloudpickle.dumps(with_files(function)), 4 * cores()
        stopped, running = threading.Event(), set[Worker]()

        def work(part: Sequence[In]) -> list[Out | Lost]:
            worker = worker_of_thread()
            running.add(worker)
            try:
                return worker.run(pickled, part, self._limits, stopped)
            finally:
                running.discard(worker)

        def size(left: int) -> int:  # smaller tasks towards the end, so that all processes finish together
            return _FEW if len(items) <= _FEW else min(_CHUNK, left // ahead)

        try:
            yield from _in_order(lambda part: pool.submit(work, part), items, size, lambda: ahead)
        finally:
            stopped.set()
            for worker in tuple(running):
                worker.kill()


@cache
def _threads() -> ThreadPoolExecutor:
    """One thread per core; each has a worker process, kept for the next ``map``."""
    return ThreadPoolExecutor(cores(), "cxrflow")


def cores() -> int:
    """Number of cores that this process may use, by its affinity and its control group."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):  # "max" where there is no quota
        quota, period = map(int, Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split())
        count = min(count, ceil(quota / period))
    return count


def _in_order(
    submit: Callable[[Sequence[In]], Future[list[Out | Lost]]],
    items: Sequence[In],
    size: Callable[[int], int],
    ahead: Callable[[], int],
) -> Iterator[Out | Lost]:
    """Results in the order of the items.

    submit  starts work on a part of the items
    size    number of items left -> number of items in the next part
    ahead   returns the maximum number of parts in flight, which bounds the results in memory (back-pressure)
    """
    asked: deque[Future[list[Out | Lost]]] = deque()
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


def _partition(function: bytes, limits: Limits | None, items: Iterable[In]) -> list[Any]:
    """Work of one task of a Spark executor, in a worker process of its own."""
    return worker_of_thread().run(function, list(items), limits)


class SparkEngine:
    """Tables and ``map`` on a Spark cluster, through one session."""

    def __init__(self, session: Any, limits: Limits | None = LIMITS) -> None:
        import ibis

        self._session, self._limits = session, limits
        self.backend = ibis.pyspark.connect(session)

    def map(self, function: Callable[[In], Out], items: Sequence[In]) -> Iterator[Out | Lost]:
        """As ``Engine.map``, in worker processes of the executors; results arrive partition by partition.

        Raises CxrflowError if ``function`` fails on an executor, or Spark itself fails.
        """
        # Each partition is a separate job, with twice as many jobs in flight as cores. The alternatives are worse:
        # toLocalIterator runs two jobs at a time on any number of cores, and collect holds all results at once.
        context = self._session.sparkContext
        group = f"cxrflow {uuid.uuid4()}"
        size = min(_PARTITION, len(items) // (4 * context.defaultParallelism))
        pool = ThreadPoolExecutor(_AHEAD, initializer=context.setJobGroup, initargs=(group, "cxrflow", True))

        work = partial(_partition, cloudpickle.dumps(with_files(function)), self._limits)

        def submit(part: Sequence[In]) -> Future[list[Out | Lost]]:
            return pool.submit(_on_spark, context, work, part)

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


def _on_spark(context: Any, work: Callable[[Iterable[In]], list[Out | Lost]], items: Sequence[In]) -> list[Out | Lost]:
    results: list[Out | Lost] = context.parallelize(items, 1).mapPartitions(work).collect()
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
    limits = Limits(**params.reading.model_dump())
    if params.engine == "local":
        yield LocalEngine(limits)
        return
    # The executors must run this interpreter, not the first "python3" on their PATH.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    try:
        from pyspark.sql import SparkSession
    except ImportError:
        raise CxrflowError("engine: spark needs PySpark; install it with `pip install 'cxrflow[spark]'`.") from None
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
        yield SparkEngine(session, limits)
    finally:
        session.stop()
