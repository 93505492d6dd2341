"""Bodies of requests, read into memory and nowhere else, with every limit checked as the bytes arrive.

Starlette's own parser of forms is not used, because it writes large files to disk.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.exceptions import HTTPException
from starlette.requests import Request

from cxrflow.serving.admission import Place, too_large, within
from cxrflow.serving.settings import Bounds

FIELD = "files"
#: Bytes of the header of one part.
_HEADER = 4096


class _Parts:
    """Collects the files of a form; what is called by the parser."""

    def __init__(self, most: int) -> None:
        self.files: list[bytes] = []
        self.ended = False
        self._most, self._name, self._header = most, b"", b""
        self._disposition = b""
        self._content = bytearray()

    @property
    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._field,
            "on_header_value": self._value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._all,
        }

    def _begin(self) -> None:
        if len(self.files) == self._most:
            raise HTTPException(413, f"the request has more than {self._most} files; send fewer at once")
        self._name = self._header = self._disposition = b""
        self._content = bytearray()

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _value(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_end(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = self._header
        self._name = self._header = b""

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        if options.get(b"name") != FIELD.encode():
            raise HTTPException(422, f"the form has another field than {FIELD}; send each radiograph as {FIELD}")

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._content += data[start:end]

    def _end(self) -> None:
        self.files.append(bytes(self._content))
        self._content = bytearray()

    def _all(self) -> None:
        self.ended = True


async def read_files(request: Request, place: Place, bounds: Bounds) -> list[bytes]:
    """The contents of the files in a form, multipart/form-data (RFC 7578); their names are not read.

    Raises HTTPException 400 if the form is cut or damaged, 408 if it takes too long to arrive, 413 if it is too large
    or has too many files, 415 if it is another kind of body, 422 if it has no file or another field, 429 as
    ``Place.hold``.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise HTTPException(415, f"the body is not multipart/form-data; send each radiograph as its field {FIELD}")
    parts = _Parts(bounds.files)
    try:
        parser = MultipartParser(options[b"boundary"], parts.callbacks, max_header_size=_HEADER)
        async with _arriving(bounds):
            async for chunk in _chunks(request, place, bounds):
                parser.write(chunk)
    except FormParserError:
        raise HTTPException(400, "the form is damaged: it is not valid multipart/form-data") from None
    if not parts.ended:
        raise HTTPException(400, "the form is cut short: its last boundary is missing")
    if not parts.files:
        raise HTTPException(422, f"the form holds no file; send each radiograph as {FIELD}")
    return parts.files


async def read_body(request: Request, place: Place, bounds: Bounds) -> bytes:
    """The body of a request. Raises HTTPException 408, 413 and 429 as ``read_files``."""
    async with _arriving(bounds):
        return b"".join([chunk async for chunk in _chunks(request, place, bounds)])


async def _chunks(request: Request, place: Place, bounds: Bounds) -> AsyncIterator[bytes]:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > bounds.bytes:
        raise too_large(bounds.bytes)
    async for chunk in request.stream():
        place.hold(len(chunk))
        yield chunk


def _arriving(bounds: Bounds) -> AbstractAsyncContextManager[None]:
    late = f"the request did not arrive within {bounds.seconds:g} seconds"
    return within(bounds.seconds, HTTPException(408, late))
