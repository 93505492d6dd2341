"""The service as an ASGI application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.staticfiles import StaticFiles

from cxrflow import __version__
from cxrflow.predictor import Predictor
from cxrflow.serving import inference, rest
from cxrflow.serving.about import about
from cxrflow.serving.admission import Admission
from cxrflow.serving.gate import Gate, problem
from cxrflow.serving.metrics import Metrics
from cxrflow.serving.request_log import RequestLog
from cxrflow.serving.scoring import Scorer
from cxrflow.serving.service import Service
from cxrflow.serving.settings import Settings
from cxrflow.serving.tensors import in_plain_words
from cxrflow.serving.tokens import read_tokens

_SAID = {404: "there is nothing at this path", 405: "this path has no such method"}


def create_app(predictor: Predictor, settings: Settings) -> FastAPI:
    """The service of a bundle. Raises CxrflowError as ``Settings.check`` and ``about``."""
    metrics, said = Metrics(), about(predictor, settings)
    scorer = Scorer(predictor, settings.bounds.of_worker, metrics, settings.burned_in_text)
    service = Service(settings, predictor, metrics, scorer, said)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service.running():
            yield

    app = FastAPI(
        title="cxrflow",
        version=__version__,
        description=f"Scores of chest radiographs. {predictor.bundle.purpose}",
        docs_url=None,  # would load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.service, app.state.admission = service, Admission(settings.bounds, metrics)
    app.include_router(rest.router)
    app.include_router(inference.router)
    app.mount("/static", StaticFiles(directory=rest.PAGE), name="static")
    _complete(app.openapi())
    app.add_exception_handler(HTTPException, _said)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_middleware(
        Gate,
        settings=settings,
        tokens=read_tokens(settings.tokens) if settings.tokens else None,
        requests=RequestLog(settings.requests) if settings.requests else None,
        admission=app.state.admission,
        metrics=metrics,
        bundle=said.bundle,
    )
    return app


def _complete(document: dict[str, Any]) -> None:
    """Add to the OpenAPI what FastAPI does not know, and remove its own answer to a wrong query, which is ours here."""
    schemas = document["components"]["schemas"]
    schemas.update(inference.SCHEMAS)
    for methods in document["paths"].values():
        for operation in methods.values():
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)


async def _said(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101
    sentence = _SAID.get(error.status_code) if error.detail in ("Not Found", "Method Not Allowed") else None
    return problem(request.scope, error.status_code, sentence or error.detail, error.headers)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    first = error.errors()[0]
    if first["loc"][0] == "path":
        return problem(request.scope, 404, _SAID[404])
    return problem(request.scope, 422, f"{'.'.join(map(str, first['loc']))}: {in_plain_words(first)}")
