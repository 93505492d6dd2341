"""How many requests, and how many of their bytes, are in memory at once, and for how long."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager

from starlette.exceptions import HTTPException

from cxrflow.serving.metrics import Metrics
from cxrflow.serving.settings import Bounds

#: Seconds after which one that is refused may try again.
RETRY = 2


class Place:
    """A request that was let in."""

    def __init__(self, admission: "Admission") -> None:
        self._admission, self.bytes = admission, 0

    def hold(self, count: int) -> None:
        """Hold so many more bytes. Raises HTTPException 413 or 429 if they are too many of the request, or together."""
        bounds, self.bytes = self._admission.bounds, self.bytes + count
        self._admission.held(count)
        if self.bytes > bounds.bytes:
            raise too_large(bounds.bytes)
        if self._admission.bytes > bounds.together:
            raise busy("the service holds as many bytes as it may")

    def hold_answer(self, count: int) -> None:
        """Hold so many more bytes, for an answer that is to be made. Raises HTTPException 429 if they are too many
        together with those of others; a request that is alone is answered."""
        self.bytes += count
        self._admission.held(count)
        if self._admission.bytes > max(self._admission.bounds.together, self.bytes):
            raise busy("the service holds as many bytes as it may")


class Admission:
    """Lets requests in. Used by the event loop alone."""

    def __init__(self, bounds: Bounds, metrics: Metrics) -> None:
        self.bounds, self._metrics = bounds, metrics
        self.requests = self.bytes = 0

    @contextmanager
    def place(self) -> Iterator[Place]:
        """A place for a request, with the bytes that it holds; raises HTTPException 429 if there is none."""
        if self.requests >= self.bounds.queue:
            raise busy(f"{self.bounds.queue} requests wait already")
        place = Place(self)
        self._count(1)
        try:
            yield place
        finally:
            self._count(-1)
            self.held(-place.bytes)

    def held(self, count: int) -> None:
        """So many more bytes are held."""
        self.bytes += count
        self._metrics.held.set(self.bytes)

    def _count(self, more: int) -> None:
        self.requests += more
        self._metrics.queue.set(self.requests)


def busy(why: str) -> HTTPException:
    """The answer to a request for which there is no place."""
    return HTTPException(429, f"{why}; try again in {RETRY} seconds", {"Retry-After": str(RETRY)})


def too_large(most: int) -> HTTPException:
    """The answer to a request with too many bytes."""
    return HTTPException(413, f"the request has more than {most:,} bytes; send fewer files at once")


@asynccontextmanager
async def within(seconds: float, late: HTTPException) -> AsyncIterator[None]:
    """Raises ``late`` if the block takes longer than ``seconds``."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise late from None


def answered_in_time(bounds: Bounds) -> AbstractAsyncContextManager[None]:
    """Context for the work on a request; raises HTTPException 503 if it takes too long."""
    why = f"there was no answer within {bounds.seconds:g} seconds; send fewer files, or try again"
    return within(bounds.seconds, HTTPException(503, why, {"Retry-After": str(RETRY)}))
