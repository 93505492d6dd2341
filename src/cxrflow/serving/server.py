"""Runs the service until it is told to stop."""

import logging
import os
import signal
import socket
from pathlib import Path
from types import FrameType

import uvicorn

from cxrflow.errors import CxrflowError
from cxrflow.predictor import Predictor
from cxrflow.serving.app import create_app
from cxrflow.serving.settings import Settings
from cxrflow.terminal import remark, say

#: Connections at once; further ones are answered 503 by uvicorn itself.
_CONNECTIONS = 512


def serve(bundle: Path, settings: Settings) -> None:
    """Serve the bundle in a folder until SIGTERM or SIGINT (Ctrl-C), which let the requests that run be finished.

    Raises CxrflowError if the address is taken, if the networks cannot score, and as ``Predictor`` and ``create_app``.
    """
    settings.check()
    with _listening(settings) as listening:
        app = create_app(Predictor(bundle), settings)
        scorer = app.state.service.scorer
        logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.WARNING)

        async def check() -> None:
            if scorer.failed:
                server.should_exit = True

        config = uvicorn.Config(
            app,
            callback_notify=check,
            timeout_notify=1,
            log_config=None,
            access_log=False,  # a path may hold anything; the log of requests is our own
            limit_concurrency=_CONNECTIONS,
            timeout_graceful_shutdown=round(2 * settings.bounds.seconds),
            proxy_headers=False,  # anybody could claim an address
            server_header=False,
        )
        server = uvicorn.Server(config)

        def stop(number: int, frame: FrameType | None) -> None:
            server.should_exit = True

        # uvicorn handles both while it runs, and raises what it has caught again when it has ended.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        say(f"Serving {bundle} at {_url(settings.host, listening)}")
        if not settings.loopback and settings.tokens is None:
            say("Warning: other machines can use it, and nobody needs a token; see --token-file.")
        remark("Research use only. Stop with Ctrl-C.")
        server.run(sockets=[listening])
        if scorer.failed:
            raise CxrflowError(f"serve: the networks of {bundle} cannot score an empty picture: {scorer.failed}")


def _listening(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=_CONNECTIONS)
    except (OSError, OverflowError) as error:
        why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        where = f"{settings.host} port {settings.port}"
        raise CxrflowError(f"serve: {where}: {why}; name another --host or --port.") from None


def _url(host: str, listening: socket.socket) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"
