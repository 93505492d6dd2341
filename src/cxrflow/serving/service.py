"""What the handlers of requests share."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from starlette.requests import Request

from cxrflow.predictor import Predictor
from cxrflow.serving.admission import Place
from cxrflow.serving.answers import About
from cxrflow.serving.gate import Asked
from cxrflow.serving.metrics import Metrics
from cxrflow.serving.scoring import Scorer
from cxrflow.serving.settings import Settings


@dataclass
class Service:
    """One service, as ``app.state.service``.

    parsing  held while a request of numbers is parsed, which takes many times its bytes: one at a time
    """

    settings: Settings
    predictor: Predictor
    metrics: Metrics
    scorer: Scorer
    about: About
    parsing: asyncio.Lock = field(default_factory=asyncio.Lock)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Scores from the beginning to the end of the block, and finishes what waits."""
        self.scorer.start()
        try:
            yield
        finally:
            self.scorer.stop()


def asked_of(request: Request) -> tuple[Asked, Place]:
    """What the gate knows of a request for a prediction, and its place."""
    asked: Asked = request.scope["asked"]
    assert asked.place  # noqa: S101
    return asked, asked.place


def service_of(request: Request) -> Service:
    """The service that a request is for."""
    service: Service = request.app.state.service
    return service
