"""From uploads to results: files are read in guarded worker processes, and what waits is scored together."""

import asyncio
import hashlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

import cloudpickle
import numpy as np

from cxrflow.engines import cores
from cxrflow.errors import one_line
from cxrflow.images.file import LeftOutFile, PreparedFile, if_lost, try_source
from cxrflow.images.steps import Prepared, Window
from cxrflow.metadata.near_hash import contrast
from cxrflow.plugins import with_files
from cxrflow.predictor import BATCH, Predictor
from cxrflow.result import Result
from cxrflow.serving.metrics import Metrics
from cxrflow.serving.request_log import outcome
from cxrflow.workers import Limits, Lost, worker_of_thread

Out = TypeVar("Out")


class _Job(NamedTuple):
    """The prepared files of one request, which wait to be scored."""

    files: list[PreparedFile | LeftOutFile]
    look: bool
    results: "Future[list[Result]]"


class Scorer:
    """Scores for many requests at once: one thread scores, as many read as there are cores."""

    def __init__(self, predictor: Predictor, limits: Limits, metrics: Metrics, burned_in_text: bool = False) -> None:
        """
        limits          of a worker process for one file
        burned_in_text  whether to look for text burned into the pictures of files, which is flagged
        """
        self.predictor, self._limits, self._metrics = predictor, limits, metrics
        prepare = partial(try_source, predictor.bundle.steps, burned_in_text=burned_in_text)
        self._prepare = cloudpickle.dumps(with_files(prepare))
        self._readers = ThreadPoolExecutor(cores(), "reader", initializer=lambda: worker_of_thread().start())
        self._waiting: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="scorer")
        self._ready = threading.Event()
        #: Why it cannot score at all, in one line: what goes wrong with an empty picture goes wrong with all.
        self.failed: str | None = None

    def start(self) -> None:
        """Start the thread, which first scores an empty picture, so that the first request need not wait for it."""
        self._thread.start()
        self._readers.submit(int)  # starts a reader with its worker process

    def stop(self) -> None:
        """Score what waits, and end."""
        self._waiting.put(None)
        self._thread.join()
        self._readers.shutdown(cancel_futures=True)

    @property
    def ready(self) -> bool:
        """Whether it has scored a first picture, and goes on."""
        return self._ready.is_set() and self._thread.is_alive()

    async def results(self, contents: Sequence[bytes], look: bool) -> list[Result]:
        """The results of files, given their contents, in their order."""
        return await self.results_of(await asyncio.gather(*map(self._prepared, contents)), look)

    async def results_of(self, files: Sequence[PreparedFile | LeftOutFile], look: bool = False) -> list[Result]:
        """The results of files that are prepared, in their order."""
        job = _Job(list(files), look, Future())
        self._waiting.put(job)
        results = await asyncio.wrap_future(job.results)
        for result in results:
            self._metrics.images.labels(outcome(result)).inc()
        return results

    async def work(self, function: Callable[[Any], Out], items: Sequence[Any]) -> list[Out | Lost]:
        """Results of a function for some items, each in a worker process under the limits."""
        pickled = cloudpickle.dumps(with_files(function))
        return list(await asyncio.gather(*(self._in_worker(pickled, item) for item in items)))

    async def _prepared(self, content: bytes) -> PreparedFile | LeftOutFile:
        return if_lost(await self._in_worker(self._prepare, content), content)

    async def _in_worker(self, function: bytes, item: Any) -> Any:
        def run() -> Any:
            (result,) = worker_of_thread().run(function, [item], self._limits)
            return result

        return await asyncio.get_running_loop().run_in_executor(self._readers, run)

    def _run(self) -> None:
        try:
            self._warm_up()
        except Exception as error:
            self.failed = f"{type(error).__name__}: {one_line(str(error))}"
            while (job := self._waiting.get()) is not None:
                if job.results.set_running_or_notify_cancel():
                    job.results.set_exception(error)
            return
        self._ready.set()
        while (job := self._waiting.get()) is not None:
            jobs, images = [job], len(job.files)
            while images < BATCH:
                try:
                    job = self._waiting.get_nowait()
                except Empty:
                    break
                if job is None:
                    self._waiting.put(None)  # after these
                    break
                jobs.append(job)
                images += len(job.files)
            self._score([job for job in jobs if not job.look], look=False)
            self._score([job for job in jobs if job.look], look=True)

    def _warm_up(self) -> None:
        empty = [np.zeros((steps.size, steps.size), np.uint8) for steps in self.predictor.bundle.steps]
        list(self.predictor.results_of([("", of_tensors(empty))], look=True))

    def _score(self, jobs: Sequence[_Job], look: bool) -> None:
        jobs = [job for job in jobs if job.results.set_running_or_notify_cancel()]  # without those given up
        if not jobs:
            return
        self._metrics.batch.observe(sum(len(job.files) for job in jobs))
        try:
            results = self.predictor.results_of([("", file) for job in jobs for file in job.files], look)
            for job in jobs:
                job.results.set_result([next(results) for _ in job.files])
        except Exception as error:
            for job in jobs:
                if not job.results.done():
                    job.results.set_exception(error)


def of_tensors(images: Sequence[np.ndarray]) -> PreparedFile:
    """Prepared images that a client has made itself, as a prepared file.

    images  uint8 (size, size), one for each of the bundle's image steps
    """
    sides = [image.shape[0] for image in images]
    views = tuple(
        Prepared(image, None, Window(0, 0, side, side, side)) for image, side in zip(images, sides, strict=True)
    )
    sha256 = hashlib.sha256(b"".join(image.tobytes() for image in images)).hexdigest()
    return PreparedFile(views, 1.0, False, (sides[0], sides[0]), None, None, sha256, contrast(images[0]))
