"""Messages of the Open Inference Protocol (version 2, HTTP/REST), and the tensors in them.

Source: https://github.com/kserve/open-inference-protocol, specification/protocol/inference_rest.md.
"""

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, ValidationError
from starlette.exceptions import HTTPException

from cxrflow.errors import one_line

#: Objects, and other values beside the data, of a request, at most.
_MORE = 1000
Parameters = Annotated[dict[str, str | float | bool], Field(max_length=64)]
_Size = Annotated[int, Field(ge=0, le=2**63 - 1)]
_Row = Annotated[list[StrictInt], Field(fail_fast=True)]
_Image = Annotated[list[_Row], Field(fail_fast=True)]
#: Whole numbers, flat or nested to the rank of a tensor of images; or texts.
_Data = Annotated[
    _Row | Annotated[list[StrictStr], Field(fail_fast=True)] | _Image | Annotated[list[_Image], Field(fail_fast=True)],
    Field(union_mode="left_to_right"),
]


class Failed(BaseModel):
    """Why there is no answer, in one sentence."""

    error: str


class Live(BaseModel):
    """Whether the server answers."""

    live: bool


class Ready(BaseModel):
    """Whether the server, or a model, can be used."""

    ready: bool
    name: str | None = None


class ServerMetadata(BaseModel):
    """The server."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(BaseModel):
    """A tensor; -1 in its shape is a variable size."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """A model."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class RequestInput(BaseModel):
    """An input tensor; its data flat in row-major order, or nested as its shape."""

    name: str
    shape: Annotated[list[_Size], Field(max_length=8)]
    datatype: str
    parameters: Parameters = {}
    data: _Data


class RequestOutput(BaseModel):
    """An output that is wanted."""

    name: str
    parameters: Parameters = {}


class InferenceRequest(BaseModel):
    """A request for an inference."""

    id: str | None = None
    parameters: Parameters = {}
    inputs: Annotated[list[RequestInput], Field(max_length=64)]
    outputs: Annotated[list[RequestOutput], Field(max_length=256)] | None = None


class ResponseOutput(BaseModel):
    """An output tensor, its data flat in row-major order."""

    name: str
    shape: list[int]
    datatype: str
    data: list[float | bool | str]


class ResponseParameters(BaseModel):
    """What goes with every answer: what it is for, and whether the bundle was trained on drawings."""

    purpose: str
    drawn: bool


class InferenceResponse(BaseModel):
    """The outputs of an inference."""

    model_config = ConfigDict(protected_namespaces=())

    model_name: str
    model_version: str
    id: str | None = None
    parameters: ResponseParameters
    outputs: list[ResponseOutput]


def wrong(sentence: str) -> HTTPException:
    """The answer to a request that the protocol, or the model, does not allow."""
    return HTTPException(400, sentence)


def in_plain_words(problem: Mapping[str, Any]) -> str:
    """What pydantic found wrong with a value, without its own jargon."""
    if problem["type"] == "missing":
        return "required, but not given"
    return one_line(str(problem["msg"]).removeprefix("Value error, "))


def parsed(body: bytes, expected: Sequence[TensorMetadata], most: int) -> InferenceRequest:
    """A request for an inference.

    expected  the model's inputs
    most      images at once
    Raises HTTPException 413 if it holds more values than so many images need, which is counted before it is parsed,
    because a value takes many times its bytes in memory; 400 if it is no request.
    """
    images = [tensor.shape[1:] for tensor in expected]
    values = most * sum(math.prod(shape) for shape in images)
    lists = most * sum(1 + sum(shape[:-1]) for shape in images)
    if body.count(b",") > values + _MORE or body.count(b"[") > lists + _MORE or body.count(b"{") > _MORE:
        raise HTTPException(413, f"the request has more values than {most} images of this model; send fewer at once")
    try:
        return InferenceRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
    if first["loc"][0:1] == ("inputs",) and first["loc"][2:3] == ("data",):
        where, why = first["loc"][:3], "whole numbers from 0 to 255, or files in base64, flat or nested as the shape"
    else:
        where, why = first["loc"], in_plain_words(first)
    raise wrong(f"{one_line('.'.join(map(str, where))) or 'the body'}: {one_line(why)}")


def one_of_each(inputs: Sequence[RequestInput], expected: Sequence[TensorMetadata], most: int) -> list[RequestInput]:
    """The inputs of a request in the model's order.

    most  images at once
    Raises HTTPException 400 unless they are those of the model, by name, datatype and shape, of equally many images.
    """
    named = {each.name: each for each in inputs}
    if len(inputs) != len(expected) or set(named) != {each.name for each in expected}:
        raise wrong(f"the inputs of this model are {', '.join(each.name for each in expected)}, each once")
    found = [named[each.name] for each in expected]
    for given, wanted in zip(found, expected, strict=True):
        if given.datatype != wanted.datatype:
            raise wrong(f"input {wanted.name}: datatype is {wanted.datatype}, not another")
        sizes = ", ".join(map(str, wanted.shape))
        if len(given.shape) != len(wanted.shape) or given.shape[1:] != wanted.shape[1:]:
            raise wrong(f"input {wanted.name}: the shape is [{sizes}] with the number of images for -1")
        if given.shape[0] != found[0].shape[0] or not 1 <= given.shape[0] <= most:
            raise wrong(f"input {wanted.name}: all inputs hold the same number of images, 1 to {most}")
    return found


def pixels(given: RequestInput) -> NDArray[np.uint8]:
    """The data of a UINT8 tensor in its shape. Raises HTTPException 400 if it is of another size or kind."""
    try:
        values = np.asarray(given.data)
    except ValueError:  # nested lists of unequal lengths
        values = np.empty(0)
    if values.size != np.prod(given.shape, dtype=object) or values.ndim not in (1, len(given.shape)):
        raise wrong(f"input {given.name}: the data is not of the shape {given.shape}")
    if values.dtype.kind != "i" or values.min() < 0 or values.max() > 255:
        raise wrong(f"input {given.name}: the data is no whole numbers from 0 to 255 (UINT8)")
    if values.ndim > 1 and list(values.shape) != given.shape:
        raise wrong(f"input {given.name}: the data is nested otherwise than its shape {given.shape}")
    return np.asarray(values.reshape(given.shape), np.uint8)


def contents(given: RequestInput) -> list[bytes]:
    """The data of a BYTES tensor of files: each file in base64 (RFC 4648). Raises HTTPException 400 if it is not."""
    texts = [each for each in given.data if isinstance(each, str)]
    if len(texts) != given.shape[0]:
        raise wrong(f"input {given.name}: the data is not of the shape {given.shape}, each element a text")
    try:
        return [base64.b64decode(each, validate=True) for each in texts]
    except (binascii.Error, ValueError):
        raise wrong(f"input {given.name}: each element is a file in base64") from None
