"""What every request passes: who may ask, and from where; its id, its headers, its line in the log, its time.

An ASGI middleware rather than several, because a request that is refused needs the same headers, log and counters as
one that is answered.
"""

import asyncio
import ipaddress
import logging
import re
import secrets
import time
import traceback
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cxrflow.serving.admission import Admission, Place
from cxrflow.serving.metrics import Metrics
from cxrflow.serving.request_log import RequestLog
from cxrflow.serving.settings import Settings
from cxrflow.serving.tokens import Tokens

log = logging.getLogger("cxrflow.serving")
#: Everybody may read these: the program's own files, drawings, and whether the service works.
_OPEN = re.compile(r"/|/static/.*|/samples/.*|/v2/health/(?:live|ready)")
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_PATHS = {
    **{path: re.compile(re.escape(path)) for path in ("/", "/about", "/predict", "/metrics", "/openapi.json")},
    "/static": re.compile("/static/.*", re.S),
    "/samples": re.compile("/samples/.*", re.S),
    "/v2/health": re.compile("/v2/health/.*", re.S),
    "/v2/infer": re.compile("/v2/models/.*/infer", re.S),
    "/v2": re.compile("/v2(?:/.*)?", re.S),
}
_PREDICTIONS = ("/predict", "/v2/infer")
#: Bytes that are given to the server at a time: what a slow client has not taken yet is held here, and its place kept.
_PIECE = 256 * 1024
_GONE = 499  # what nginx counts for a client that has closed the connection
_FAILED = "the service failed; its log says where, under the id of this request"


@dataclass
class Asked:
    """A request, as ``scope["asked"]``.

    id      of the request: the client's X-Request-ID if it is sane, else made here
    who     the token's name, or the client's address
    images  what the log says of its images
    place   of one for a prediction
    """

    id: str
    who: str
    images: list[dict[str, str | None]] = field(default_factory=list)
    place: Place | None = None


class Gate:
    """The middleware."""

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        tokens: Tokens | None,
        requests: RequestLog | None,
        admission: Admission,
        metrics: Metrics,
        bundle: str,
    ) -> None:
        self._app, self._settings, self._tokens, self._requests = app, settings, tokens, requests
        self._admission, self._metrics, self._bundle = admission, metrics, bundle
        self._names = {name.lower() for name in settings.names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, started, status = Headers(scope=scope), time.perf_counter(), 0
        given, client = headers.get("x-request-id", ""), scope.get("client")
        asked = Asked(given if _ID.fullmatch(given) else secrets.token_hex(8), client[0] if client else "unknown")
        scope["asked"] = asked
        loop, late = asyncio.get_running_loop(), 0.0

        async def stamped(message: Message) -> None:
            nonlocal status, late
            if message["type"] == "http.response.start":
                status, late = message["status"], loop.time() + self._settings.bounds.seconds
                MutableHeaders(scope=message).update({**_HEADERS, "X-Request-ID": asked.id})
            try:
                async with asyncio.timeout_at(late):
                    await _in_pieces(message, send)
            except TimeoutError:
                raise ClientDisconnect from None

        async def logged(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._log(scope, asked, message["status"])
            await stamped(message)

        try:
            with ExitStack() as held:
                try:
                    self._let_in(scope, headers, asked, held)
                    answer: ASGIApp = self._app
                except HTTPException as refused:
                    answer = problem(scope, refused.status_code, refused.detail, refused.headers)
                await answer(scope, receive, logged)
        except ClientDisconnect:
            status = status or _GONE
        except Exception as error:
            # Where it happened, without the message, which may hold patient data.
            frames = traceback.extract_tb(error.__traceback__)
            where = "".join(f"\n  {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames)
            log.error("request %s: %s%s", asked.id, type(error).__name__, where)
            if not status:  # else the answer has begun, and the server closes the connection
                with suppress(OSError):
                    self._log(scope, asked, 500)
                await problem(scope, 500, _FAILED)(scope, receive, stamped)
        finally:
            path = path_of(scope["path"])
            self._metrics.requests.labels(path, str(status)).inc()
            self._metrics.seconds.labels(path).observe(time.perf_counter() - started)

    def _let_in(self, scope: Scope, headers: Headers, asked: Asked, held: ExitStack) -> None:
        """Raise HTTPException for a request that is not let in. One for a prediction gets a place until it is answered.

        held  gives the place back
        """
        path, host, origin = scope["path"], headers.get("host", ""), headers.get("origin")
        if not self._is_ours(_name(host)):
            raise HTTPException(421, "the service is not reached by this host name; start it with --allow-host NAME")
        if origin is not None and not self._is_own(origin, host):
            raise HTTPException(403, "the request comes from a page of another site, which may not use this service")
        if self._tokens is not None:
            name = self._tokens.name(headers.get("authorization"))
            if name is None and not _OPEN.fullmatch(path):
                challenge = {"WWW-Authenticate": 'Bearer realm="cxrflow"'}
                raise HTTPException(401, "a token is needed: Authorization: Bearer TOKEN", challenge)
            asked.who = name or asked.who
        if scope["method"] == "POST" and path_of(path) in _PREDICTIONS:
            asked.place = held.enter_context(self._admission.place())

    def _is_ours(self, name: str) -> bool:
        """Whether it is an address, or a name of this service: another name may be one whose owner lets it point here
        (DNS rebinding), which nobody can do with an address."""
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in {"localhost", self._settings.host.lower(), *self._names}
        return True

    def _is_own(self, origin: str, host: str) -> bool:
        try:
            there = urlsplit(origin)
        except ValueError:
            return False
        return there.netloc.lower() == host.lower() or (there.hostname or "") in self._names

    def _log(self, scope: Scope, asked: Asked, status: int) -> None:
        """Raises OSError if it cannot; then the request is not answered."""
        if self._requests and (scope["method"] == "POST" or status in (401, 403, 421)):
            self._requests.write(
                who=asked.who,
                request=asked.id,
                path=path_of(scope["path"]),
                status=status,
                bundle=self._bundle,
                images=asked.images,
            )


async def _in_pieces(message: Message, send: Send) -> None:
    body = message.get("body", b"")
    for start in range(0, len(body) - _PIECE, _PIECE):
        await send({"type": message["type"], "body": body[start : start + _PIECE], "more_body": True})
    if len(body) > _PIECE:
        message = {**message, "body": body[(len(body) - 1) // _PIECE * _PIECE :]}
    await send(message)


def problem(scope: Scope, status: int, sentence: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The answer that says why a request is not answered, as its part of the interface has it."""
    if path_of(scope["path"]).startswith("/v2"):
        return JSONResponse({"error": sentence}, status, headers)
    return JSONResponse({"detail": sentence, "request": scope["asked"].id}, status, headers)


def path_of(path: str) -> str:
    """The path as counters and log name it: one of few, whatever is asked for."""
    return next((name for name, known in _PATHS.items() if known.fullmatch(path)), "other")


def _name(host: str) -> str:
    """The name, in small letters, or address in a Host header, without its port; empty if it holds none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
