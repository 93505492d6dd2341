"""The page's and the programs' interface: ``POST /predict``, ``GET /about``, samples and metrics."""

import math
import re
import secrets
from collections.abc import Sequence
from functools import partial
from pathlib import Path as File
from typing import Annotated, Any, Literal
from urllib.request import parse_http_list

from fastapi import APIRouter, Path, Query
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import AfterValidator
from pydantic_core import PydanticCustomError
from python_multipart.multipart import parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from cxrflow.errors import CxrflowError
from cxrflow.outputs.dicom import KINDS, Kind, check_extra
from cxrflow.outputs.dicom_files import dicom_files
from cxrflow.reading import is_dicom
from cxrflow.result import Result
from cxrflow.serving.admission import answered_in_time
from cxrflow.serving.answers import About, Answers, Problem, answer
from cxrflow.serving.request_log import logged
from cxrflow.serving.samples import jobs, sample
from cxrflow.serving.service import Service, asked_of, service_of
from cxrflow.serving.uploads import FIELD, read_files
from cxrflow.serving.work import Pictures, bytes_of_pictures, draw_look

PAGE = File(__file__).parent / "page"
_DICOM = "application/dicom"
_KINDS = f"^(?:{'|'.join(KINDS)})(?:,(?:{'|'.join(KINDS)}))*$"
#: Of an object of each kind.
_BYTES_OF_PIXEL: dict[Kind, int] = {"sr": 0, "sc": 3, "map": 4}
_WHY = {
    400: "The form is damaged or cut short.",
    401: "A bearer token is needed.",
    403: "The request comes from a page of another site.",
    408: "The request did not arrive within the time limit.",
    413: "Too many files or bytes.",
    415: "The body is not multipart/form-data, or DICOM was asked for and a file is not DICOM.",
    421: "The host name is not one by which the service may be reached.",
    429: "Too many requests at once; see Retry-After.",
    500: "The service failed.",
    501: "DICOM was asked for, and the extra pacs is not installed.",
    503: "There was no answer within the time limit.",
}


def _check_kinds(kinds: str) -> str:
    if not re.fullmatch(_KINDS, kinds):  # match would let a line break through at the end
        raise PydanticCustomError("kinds", f"name one or several of {', '.join(KINDS)}, with commas between them")
    return kinds


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The answers that every path may give, and those with these statuses, for OpenAPI."""
    every = sorted({*statuses, 401, 403, 421, 500})
    return {status: {"model": Problem, "description": _WHY[status]} for status in every}


router = APIRouter()


@router.get("/", include_in_schema=False)
async def page() -> FileResponse:
    """The page."""
    return FileResponse(PAGE / "index.html")


@router.get("/about", responses=problems())
async def about(request: Request) -> About:
    """The bundle: its classes, operating points, model card and audit verdicts; limits of a request; samples."""
    return service_of(request).about


@router.get(
    "/samples/{number}.png",
    summary="Sample",
    response_class=Response,
    responses={
        200: {"content": {"image/png": {}}, "description": "A PNG, 8-bit grey."},
        404: {"model": Problem, "description": "There is no such sample."},
        **problems(),
    },
)
async def drawn(number: Annotated[int, Path(ge=0)]) -> Response:
    """A synthetic radiograph to try: drawn, of no person."""
    if number >= len(jobs()):
        raise HTTPException(404, f"there are the samples 0 to {len(jobs()) - 1}")
    return Response(await run_in_threadpool(sample, number), media_type="image/png")


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "Prometheus's text format."}, **problems()},
)
async def metrics(request: Request) -> Response:
    """Metrics of the service, for Prometheus."""
    return Response(service_of(request).metrics.text(), media_type=CONTENT_TYPE_LATEST)


_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": [FIELD],
                "additionalProperties": False,
                "properties": {
                    FIELD: {
                        "type": "array",
                        "minItems": 1,
                        "items": {"type": "string", "contentMediaType": "application/octet-stream"},
                    }
                },
            }
        }
    },
}


@router.post(
    "/predict",
    response_model=Answers,
    openapi_extra={"requestBody": _BODY},
    responses={
        200: {
            "content": {"multipart/related": {"schema": {"type": "string", "contentMediaType": _DICOM}}},
            "description": "A result for each file, in their order; or DICOM objects, one part each.",
        },
        422: {
            "model": Answers | Problem,
            "description": "No file can be used (each result says why), the form has no file, or a parameter is wrong.",
        },
        **problems(400, 408, 413, 415, 429, 501, 503),
    },
)
async def predict(
    request: Request,
    look: Annotated[bool, Query(description="Also give the Grad-CAM heat map and the lung mask, as PNGs.")] = False,
    format: Annotated[
        Literal["json", "dicom"] | None, Query(description="Of the answer; overrides the Accept header.")
    ] = None,
    kinds: Annotated[
        str,
        AfterValidator(_check_kinds),
        Query(
            max_length=40,
            json_schema_extra={"pattern": _KINDS},
            description="DICOM objects to make, with commas: sr (structured report), sc (Secondary Capture with the "
            "heat map over the image), map (parametric map of the heat).",
        ),
    ] = "sr",
) -> Response:
    """Score radiographs (PNG, JPEG, TIFF, BMP, WebP, DICOM). Research software: not for diagnosis."""
    service = service_of(request)
    as_dicom = _prefers_dicom(request.headers.get("accept", "")) if format is None else format == "dicom"
    wanted = [kind for kind in KINDS if kind in kinds.split(",")]
    if as_dicom:
        _check_dicom()
    asked, place = asked_of(request)
    contents = await read_files(request, place, service.settings.bounds)
    if as_dicom and (number := next((n for n, each in enumerate(contents, 1) if not is_dicom(each)), None)):
        raise HTTPException(415, f"file {number} is no DICOM file, so its result cannot be one; ask for JSON")
    async with answered_in_time(service.settings.bounds):
        results = await service.scorer.results(contents, look if not as_dicom else wanted != ["sr"])
        asked.images = logged(results)
        looks = [result.look for result in results if result.look]
        if as_dicom:
            pixel = sum(_BYTES_OF_PIXEL[kind] for kind in wanted)
            place.hold_answer(sum(math.prod(each.shape) for each in looks) * pixel)
            return await _as_dicom(service, contents, results, wanted)
        place.hold_answer(sum(map(bytes_of_pictures, looks)))
        pictures = await _pictures(service, contents, results) if look else [None] * len(results)
    bundle = service.predictor.bundle
    answers = [answer(result, bundle, drawn) for result, drawn in zip(results, pictures, strict=True)]
    body = Answers(request=asked.id, results=answers).model_dump_json()
    none = all(result.left_out is not None for result in results)
    return Response(body, 422 if none else 200, media_type="application/json")


def _prefers_dicom(accept: str) -> bool:
    """Whether an Accept header (RFC 9110, 12.5.1) names DICOM, alone or in multipart/related, and JSON not rather."""
    weights = {b"application/dicom": 0.0, b"application/json": 0.0}
    for each in parse_http_list(accept):
        kind, options = parse_options_header(each)
        named = options.get(b"type", b"").lower() if kind == b"multipart/related" else kind
        try:
            weight = float(options.get(b"q", b"1"))
        except ValueError:
            continue
        if named in weights:
            weights[named] = max(weights[named], weight)
    dicom, json = weights.values()
    return dicom > 0 and dicom >= json


def _check_dicom() -> None:
    try:
        check_extra()
    except CxrflowError as error:
        raise HTTPException(501, str(error)) from None


async def _pictures(service: Service, contents: Sequence[bytes], results: Sequence[Result]) -> list[Pictures | None]:
    looks = [(content, result.look) for content, result in zip(contents, results, strict=True) if result.look]
    made = iter(await service.scorer.work(draw_look, looks))
    found = [next(made) if result.look else None for result in results]
    return [each if isinstance(each, Pictures) else None for each in found]


async def _as_dicom(
    service: Service, contents: Sequence[bytes], results: Sequence[Result], kinds: Sequence[Kind]
) -> Response:
    """The objects as multipart/related (RFC 2387), as DICOMweb has it (PS3.18, 8.6.1.2.1)."""
    work = partial(dicom_files, service.predictor.bundle, kinds)
    objects: list[bytes] = []
    for number, made in enumerate(await service.scorer.work(work, list(zip(contents, results, strict=True))), 1):
        if not isinstance(made, list):
            why = made if isinstance(made, str) else made.reason
            raise HTTPException(422, f"file {number}: its result cannot be made a DICOM object: {why}")
        objects += made
    boundary = secrets.token_hex(16)
    parts = [f"--{boundary}\r\nContent-Type: {_DICOM}\r\n\r\n".encode() + each + b"\r\n" for each in objects]
    body = b"".join([*parts, f"--{boundary}--\r\n".encode()])
    return Response(body, media_type=f'multipart/related; type="{_DICOM}"; boundary={boundary}')
