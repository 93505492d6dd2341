"""The Open Inference Protocol, version 2, for clients of KServe, Triton and the like (``/v2``).

Two models: ``cxrflow`` takes files, each in base64; ``cxrflow-prepared`` takes images that the client has prepared as
the bundle's image steps say, one input for each of several. Both score with the same networks.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic.json_schema import models_json_schema
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cxrflow import __version__
from cxrflow.result import Result
from cxrflow.serving.admission import answered_in_time
from cxrflow.serving.request_log import logged
from cxrflow.serving.scoring import of_tensors
from cxrflow.serving.service import Service, asked_of, service_of
from cxrflow.serving.tensors import (
    Failed,
    InferenceRequest,
    InferenceResponse,
    Live,
    ModelMetadata,
    Ready,
    ResponseOutput,
    ResponseParameters,
    ServerMetadata,
    TensorMetadata,
    contents,
    one_of_each,
    parsed,
    pixels,
    wrong,
)
from cxrflow.serving.uploads import read_body

FILES: Literal["cxrflow"] = "cxrflow"
PREPARED: Literal["cxrflow-prepared"] = "cxrflow-prepared"
#: Digits of the bundle's digest that are its version.
_DIGITS = 12
_WHY = {
    400: "The request does not fit the protocol or the model, or an image cannot be used.",
    401: "A bearer token is needed.",
    403: "The request comes from a page of another site.",
    404: "There is no such model or version.",
    408: "The request did not arrive within the time limit.",
    413: "Too many bytes or values.",
    421: "The host name is not one by which the service may be reached.",
    429: "Too many requests at once; see Retry-After.",
    500: "The service failed.",
    503: "There was no answer within the time limit.",
}
Name = Annotated[
    Literal["cxrflow", "cxrflow-prepared"],
    Path(description="cxrflow takes files; cxrflow-prepared takes prepared images."),
]
Version = Annotated[str, Path(description="The first digits of the bundle's digest.")]


def _failures(*statuses: int) -> dict[int | str, dict[str, Any]]:
    every = sorted({*statuses, 403, 421, 500})
    return {status: {"model": Failed, "description": _WHY[status]} for status in every}


router = APIRouter(prefix="/v2", tags=["Open Inference Protocol"])


@router.get("/health/live", responses=_failures())
async def live() -> Live:
    """Whether the server answers."""
    return Live(live=True)


@router.get(
    "/health/ready",
    responses={**_failures(), 503: {"model": Ready, "description": "Not ready yet, or no longer."}},
)
async def ready(request: Request) -> Response:
    """Whether the networks are ready to score."""
    is_ready = service_of(request).scorer.ready
    return JSONResponse(Ready(ready=is_ready).model_dump(exclude_none=True), 200 if is_ready else 503)


@router.get("", responses=_failures(401))
async def server() -> ServerMetadata:
    """Name and version of the server."""
    return ServerMetadata(name="cxrflow", version=__version__, extensions=[])


@router.get("/models/{name}", responses=_failures(401, 404))
@router.get("/models/{name}/versions/{version}", responses=_failures(401, 404))
async def model(request: Request, name: Name, version: Version | None = None) -> ModelMetadata:
    """Inputs and outputs of a model."""
    service = service_of(request)
    _check(service, version)
    return ModelMetadata(
        name=name,
        versions=[_version(service)],
        platform="cxrflow",
        inputs=_inputs(service, name),
        outputs=[TensorMetadata(name=key, datatype=kind, shape=[-1, *more]) for key, kind, more in _outputs(service)],
    )


@router.get("/models/{name}/ready", responses=_failures(401, 404, 503))
@router.get("/models/{name}/versions/{version}/ready", responses=_failures(401, 404, 503))
async def model_ready(request: Request, name: Name, version: Version | None = None) -> Ready:
    """Whether a model can be used."""
    service = service_of(request)
    _check(service, version)
    if not service.scorer.ready:
        raise HTTPException(503, "the networks are not ready; try again in a few seconds")
    return Ready(name=name, ready=True)


#: Schemas of the body of a request, which FastAPI does not know, because the body is read within limits.
SCHEMAS: dict[str, Any] = models_json_schema(
    [(InferenceRequest, "validation")], ref_template="#/components/schemas/{model}"
)[1]["$defs"]
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/InferenceRequest"}}},
    }
}


@router.post("/models/{name}/infer", responses=_failures(400, 401, 404, 408, 413, 429, 503), openapi_extra=_BODY)
@router.post(
    "/models/{name}/versions/{version}/infer",
    responses=_failures(400, 401, 404, 408, 413, 429, 503),
    openapi_extra=_BODY,
)
async def infer(request: Request, name: Name, version: Version | None = None) -> InferenceResponse:
    """Probabilities, in the order of ``classes``; the most probable class; whether positive at each operating
    point; the classes that cannot be ruled out, if the bundle has prediction sets; warnings."""
    service = service_of(request)
    _check(service, version)
    if "inference-header-content-length" in request.headers:
        raise wrong("tensors in binary are not taken; send their data as JSON (binary_data=False)")
    (asked, place), bounds = asked_of(request), service.settings.bounds
    body = await read_body(request, place, bounds)
    async with answered_in_time(bounds):
        async with service.parsing:
            wants, given = await run_in_threadpool(_read, service, name, body)
        if name == FILES:
            results = await service.scorer.results(given, look=False)
        else:
            results = await service.scorer.results_of([of_tensors(each) for each in zip(*given, strict=True)])
    asked.images = logged(results)
    for number, result in enumerate(results, 1):
        if result.left_out is not None:
            raise wrong(f"image {number} cannot be used: {result.left_out}")
    wanted = {each.name for each in wants.outputs or ()}
    kinds = [each for each in _outputs(service) if not wanted or each[0] in wanted]
    outputs = [_output(service, results, *each) for each in kinds]
    return InferenceResponse(
        model_name=name,
        model_version=_version(service),
        id=wants.id,
        parameters=ResponseParameters(purpose=service.about.purpose, drawn=service.predictor.bundle.drawn),
        outputs=outputs,
    )


def _read(service: Service, name: str, body: bytes) -> tuple[InferenceRequest, list[Any]]:
    """A request without its data, and the contents of its files, or for each input uint8 (n, size, size)."""
    expected, most, known = (
        _inputs(service, name),
        service.settings.bounds.files,
        [key for key, *_ in _outputs(service)],
    )
    wants = parsed(body, expected, most)
    if not {each.name for each in wants.outputs or ()} <= set(known):
        raise wrong(f"the outputs of this model are {', '.join(known)}")
    given = one_of_each(wants.inputs, expected, most)
    read = contents(given[0]) if name == FILES else [pixels(each) for each in given]
    return wants.model_copy(update={"inputs": []}), read


def _check(service: Service, version: str | None) -> None:
    """Raise HTTPException 404 if the models have no such version."""
    if version not in (None, _version(service)):
        raise HTTPException(404, f"the version of the models is {_version(service)}")


def _version(service: Service) -> str:
    return service.about.bundle[:_DIGITS]


def _inputs(service: Service, name: str) -> list[TensorMetadata]:
    if name == FILES:
        return [TensorMetadata(name="file", datatype="BYTES", shape=[-1])]
    steps = service.predictor.bundle.steps
    names = ["image"] if len(steps) == 1 else [f"image_{number}" for number in range(1, len(steps) + 1)]
    return [
        TensorMetadata(name=key, datatype="UINT8", shape=[-1, each.size, each.size])
        for key, each in zip(names, steps, strict=True)
    ]


def _outputs(service: Service) -> list[tuple[str, str, list[int]]]:
    """Name, datatype, and shape of one image's, of each output."""
    bundle = service.predictor.bundle
    classes = [len(bundle.task.order)]
    points = [(f"positive_at_{name}", "BOOL", list[int]()) for name in bundle.thresholds]
    sets = [("prediction_set", "BYTES", list[int]())] if bundle.prediction_sets else []
    return [
        ("probabilities", "FP64", classes),
        ("classes", "BYTES", classes),
        ("prediction", "BYTES", []),
        *points,
        *sets,
        ("flags", "BYTES", []),
    ]


def _output(service: Service, results: Sequence[Result], name: str, kind: str, more: list[int]) -> ResponseOutput:
    order = service.predictor.bundle.task.order
    values: list[Any]
    if name == "probabilities":
        values = [result.scores[each] for result in results for each in order]
    elif name == "classes":
        values = [each for _ in results for each in order]
    elif name == "prediction":
        values = [result.prediction for result in results]
    elif name == "prediction_set":
        values = [" ".join(result.prediction_set or ()) for result in results]
    elif name == "flags":
        values = ["; ".join(result.flags) for result in results]
    else:
        values = [result.positive_at[name.removeprefix("positive_at_")] for result in results]
    return ResponseOutput(name=name, shape=[len(results), *more], datatype=kind, data=values)
