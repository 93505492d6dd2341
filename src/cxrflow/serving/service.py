"""What the handlers of requests share."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.requests import Request

from cxrflow.predictor import Predictor
from cxrflow.serving.admission import Admission
from cxrflow.serving.answers import About
from cxrflow.serving.metrics import Metrics
from cxrflow.serving.scoring import Scorer
from cxrflow.serving.settings import Settings


@dataclass
class Service:
    """One service, as ``app.state.service``."""

    settings: Settings
    predictor: Predictor
    metrics: Metrics
    admission: Admission
    scorer: Scorer
    about: About

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Scores from the beginning to the end of the block, and finishes what waits."""
        self.scorer.start()
        try:
            yield
        finally:
            self.scorer.stop()


def service_of(request: Request) -> Service:
    """The service that a request is for."""
    service: Service = request.app.state.service
    return service
