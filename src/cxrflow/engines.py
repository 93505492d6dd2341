"""Where the work is done: in this process and its children (local), or on a Spark cluster (spark).

An engine offers a table backend (Ibis, so that one set of rules runs on DuckDB and on Spark) and ``map``.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Protocol, TypeVar

import cv2
from joblib import Parallel, cpu_count, delayed

from cxrflow.errors import CxrflowError
from cxrflow.params import Params

# Handing over one item costs about as much as a tenth of decoding a radiograph; sixteen cost hardly more than one.
_BATCH = 16
In = TypeVar("In")
Out = TypeVar("Out")


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
        """As ``Engine.map``, by processes of this machine, each given a few items at a time."""
        each = max(1, min(_BATCH, len(items) // (4 * cpu_count())))
        pool = Parallel(n_jobs=-1, return_as="generator", batch_size=each)
        yield from pool(delayed(_alone)(function, item) for item in items)


def _alone(function: Callable[[In], Out], item: In) -> Out:
    """One process per core is enough: OpenCV's own threads would fight over them."""
    cv2.setNumThreads(1)
    return function(item)


class SparkEngine:
    """Tables and work on a Spark cluster, through one session."""

    def __init__(self, session: Any) -> None:
        import ibis

        self._session = session
        self.backend = ibis.pyspark.connect(session)

    def map(self, function: Callable[[In], Out], items: Sequence[In]) -> Iterator[Out]:
        """As ``Engine.map``, by the executors; results arrive partition by partition."""
        if items:
            context = self._session.sparkContext
            slices = min(len(items), 4 * context.defaultParallelism)
            yield from context.parallelize(items, slices).map(function).toLocalIterator(prefetchPartitions=True)


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
            "it needs Java 17 or newer, or set engine: local."
        ) from None
    try:
        yield SparkEngine(session)
    finally:
        session.stop()
