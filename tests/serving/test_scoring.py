"""Requests that wait are scored together, each with its own answer; what is given up is not scored."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor  # in this thread, tests of pages may have left a running loop
from typing import Any

import pytest
from fastapi.testclient import TestClient

from cxrflow.images.file import LeftOutFile, PreparedFile, try_source
from cxrflow.predictor import Predictor
from cxrflow.result import Result
from cxrflow.serving.metrics import Metrics
from cxrflow.serving.scoring import Scorer
from cxrflow.workers import Limits

Given = list[PreparedFile | LeftOutFile]


class Watched:
    """A predictor that says what it is asked, and waits with its first answer until it may."""

    def __init__(self, predictor: Predictor) -> None:
        self.bundle, self._predictor = predictor.bundle, predictor
        self.batches: list[tuple[int, bool]] = []
        self.may, self.began = threading.Event(), threading.Event()

    def results_of(self, prepared: Any, look: bool = False) -> Iterator[Result]:
        files = list(prepared)
        self.batches.append((len(files), look))
        if len(self.batches) == 2:  # the first one is the warm-up
            self.began.set()
            assert self.may.wait(30)
        return self._predictor.results_of(files, look)


@pytest.fixture
def prepared(predictor: Predictor, pictures: list[bytes]) -> Given:
    return [try_source(predictor.bundle.steps, each) for each in pictures]


def scored(predictor: Predictor, ask: Callable[[Scorer, Watched], Awaitable[Any]]) -> tuple[Any, Watched, Metrics]:
    """What ``ask`` returns, once a first request is being scored; the predictor and the counters after it."""
    watched, metrics = Watched(predictor), Metrics()
    scorer = Scorer(watched, Limits(1, 30), metrics)  # type: ignore[arg-type]

    async def run() -> Any:
        return await ask(scorer, watched)

    scorer.start()
    try:
        return ThreadPoolExecutor(1).submit(asyncio.run, run()).result(), watched, metrics
    finally:
        watched.may.set()
        scorer.stop()


async def _begun(watched: Watched) -> None:
    await asyncio.to_thread(watched.began.wait, 30)


def test_what_waits_is_scored_together_with_the_scores_of_each_alone(predictor: Predictor, prepared: Given) -> None:
    async def ask(scorer: Scorer, watched: Watched) -> list[list[Result]]:
        first = asyncio.create_task(scorer.results_of(prepared[:1]))
        await _begun(watched)
        more = [
            asyncio.create_task(scorer.results_of(files, look))
            for files, look in ((prepared[1:3], False), ([prepared[3], LeftOutFile("no", "0" * 64)], False),
                                (prepared[:1], True))
        ]  # fmt: skip
        await asyncio.sleep(0)
        watched.may.set()
        return [await task for task in (first, *more)]

    (first, second, third, fourth), watched, metrics = scored(predictor, ask)
    assert watched.batches == [(1, True), (1, False), (4, False), (1, True)]
    alone = list(predictor.results_of([("", file) for file in prepared]))
    for result, expected in zip([*first, *second, third[0]], alone, strict=True):
        assert result.image == expected.image
        assert result.scores == pytest.approx(expected.scores, abs=1e-6)
        assert result.look is None
    assert third[1].left_out == "no"
    assert fourth[0].look is not None
    assert metrics.registry.get_sample_value("cxrflow_batch_images_sum") == 6
    assert metrics.registry.get_sample_value("cxrflow_batch_images_count") == 3
    assert metrics.registry.get_sample_value("cxrflow_images_total", {"outcome": "scored"}) == 5
    assert metrics.registry.get_sample_value("cxrflow_images_total", {"outcome": "left out"}) == 1


def test_what_is_given_up_is_not_scored(predictor: Predictor, prepared: Given) -> None:
    async def ask(scorer: Scorer, watched: Watched) -> None:
        first = asyncio.create_task(scorer.results_of(prepared[:1]))
        await _begun(watched)
        given_up, other = (asyncio.create_task(scorer.results_of(prepared[1:2])) for _ in range(2))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        watched.may.set()
        await asyncio.gather(first, other)

    _, watched, _ = scored(predictor, ask)
    assert watched.batches == [(1, True), (1, False), (1, False)]


def test_a_failure_is_that_of_its_batch_alone(predictor: Predictor, prepared: Given) -> None:
    async def ask(scorer: Scorer, watched: Watched) -> tuple[Any, list[Result]]:
        watched.may.set()
        failed = await asyncio.gather(scorer.results_of([None]), return_exceptions=True)  # type: ignore[list-item]
        return failed, await scorer.results_of(prepared[:1])

    (failed, after), _, _ = scored(predictor, ask)
    assert isinstance(failed[0], Exception)
    assert after[0].left_out is None


def test_a_warm_up_that_fails_fails_what_waits_and_says_why(predictor: Predictor, prepared: Given) -> None:
    class Broken(Watched):
        def results_of(self, prepared: Any, look: bool = False) -> Iterator[Result]:
            raise RuntimeError("no\nmemory")

    scorer = Scorer(Broken(predictor), Limits(1, 30), Metrics())  # type: ignore[arg-type]

    async def ask() -> None:
        async with asyncio.timeout(30):
            await scorer.results_of(prepared[:1])

    scorer.start()
    try:
        with pytest.raises(RuntimeError, match="memory"):
            ThreadPoolExecutor(1).submit(asyncio.run, ask()).result()
        assert (scorer.ready, scorer.failed) == (False, "RuntimeError: no memory")
    finally:
        scorer.stop()


def test_two_concurrent_requests_make_one_batch(client: TestClient, pictures: list[bytes], ask: Any) -> None:
    """Through the interface: while the scorer is kept busy, two requests arrive."""
    scorer, registry = client.app.state.service.scorer, client.app.state.service.metrics.registry
    alone = [ask(client, each).json()["results"][0]["scores"] for each in pictures[:2]]
    batches = registry.get_sample_value("cxrflow_batch_images_count")
    original = scorer.predictor
    scorer.predictor = Watched(original)
    scorer.predictor.batches = [(0, False)]
    answers: dict[int, Any] = {}

    def post(number: int) -> None:
        answers[number] = ask(client, pictures[number])

    threads = [threading.Thread(target=post, args=(number,)) for number in (2, 0, 1)]
    threads[0].start()
    assert scorer.predictor.began.wait(30)
    for thread in threads[1:]:
        thread.start()
    end = time.monotonic() + 60
    while scorer._waiting.qsize() < 2:
        assert time.monotonic() < end
        time.sleep(0.01)
    scorer.predictor.may.set()
    for thread in threads:
        thread.join()
    assert scorer.predictor.batches == [(0, False), (1, False), (2, False)]
    scorer.predictor = original
    assert registry.get_sample_value("cxrflow_batch_images_count") == batches + 2
    for number in (0, 1):
        assert answers[number].json()["results"][0]["scores"] == pytest.approx(alone[number], abs=1e-6)
