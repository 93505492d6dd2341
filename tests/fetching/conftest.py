"""A server on this machine that misbehaves as asked, and no waiting between tries."""

import base64
import hashlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest

from cxrflow.fetching import http, programs
from cxrflow.terminal import set_quiet


@dataclass
class Page:
    """One file of the server, and how it is served.

    breaks     number of bytes after which the connection ends, for each request in turn; then all are sent
    statuses   answers to the first requests, before the file is served
    ranges     whether parts are sent
    login      name and password that are asked for
    location   where it redirects to
    slow       pause after each 50,000 bytes (seconds)
    """

    content: bytes = b""
    etag: str | None = None
    date: bool = False
    breaks: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    ranges: bool = True
    login: tuple[str, str] | None = None
    location: str | None = None
    kind: str = "application/octet-stream"
    length: bool = True
    slow: float = 0.0


class Server(ThreadingHTTPServer):
    """The server; ``asked`` are the requests that it got: path, Range, If-Range, Authorization."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages: dict[str, Page] = {}
        self.asked: list[tuple[str, str | None, str | None, str | None]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def page(self, path: str, content: bytes, **how) -> Page:
        self.pages[path] = Page(content, **{"etag": f'"{hashlib.md5(content).hexdigest()}"'} | how)  # noqa: S324
        return self.pages[path]


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        asked, given = self.headers.get("Range"), self.headers.get("Authorization")
        self.server.asked.append((unquote(self.path), asked, self.headers.get("If-Range"), given))
        page = self.server.pages.get(unquote(self.path))
        if page is None:
            self.answer(404)
            return
        if page.statuses:
            self.answer(page.statuses.pop(0), {"Retry-After": "0"})
            return
        if page.login and given != "Basic " + base64.b64encode(":".join(page.login).encode()).decode():
            self.answer(401, {"WWW-Authenticate": 'Basic realm="x"'})
            return
        if page.location:
            self.answer(302, {"Location": page.location})
            return
        headers = {"Content-Type": page.kind}
        if page.etag:
            headers["ETag"] = page.etag
        if page.date:
            headers["Last-Modified"] = formatdate(1e9, usegmt=True)
        validators = (None, page.etag, headers.get("Last-Modified"))
        body, status = page.content, 200
        if page.ranges and asked and self.headers.get("If-Range") in validators:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(page.content):
                self.answer(416, {"Content-Range": f"bytes */{len(page.content)}"})
                return
            headers["Content-Range"] = f"bytes {start}-{len(page.content) - 1}/{len(page.content)}"
            body, status = page.content[start:], 206
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if page.length:
            self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if page.breaks:
            body = body[: page.breaks.pop(0)]
        with suppress(ConnectionError):  # of a client that was stopped
            for start in range(0, len(body), 50_000):
                self.wfile.write(body[start : start + 50_000])
                time.sleep(page.slow)
        self.close_connection = True

    def answer(self, status: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path) -> Iterator[Server]:
    monkeypatch.setattr(http, "PAUSES", (0.0,) * 5)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("PHYSIONET_USER", "PHYSIONET_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    set_quiet(False)
    running = Server()
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


CLIENT = f"""#!{sys.executable}
import os, sys, zipfile
kind, verb, name, option, folder, *rest = sys.argv[1:]
assert (verb, option) == ("download", "--path"), sys.argv
open(os.environ["SEEN"], "a").write(" ".join(sys.argv[1:]) + "\\n")
if "KEY" not in os.environ:
    sys.exit("403 - Forbidden")
with zipfile.ZipFile(os.path.join(folder, name.rpartition("/")[2] + ".zip"), "w") as made:
    made.writestr("top/a.csv", "a")
"""


@pytest.fixture
def client(tmp_path, monkeypatch) -> Path:
    """Kaggle's client on the PATH; returns where it writes how it was called."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "kaggle").write_text(CLIENT)
    (folder / "kaggle").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(programs.sys, "executable", str(tmp_path / "nowhere" / "python"))
    monkeypatch.setenv("SEEN", str(tmp_path / "seen"))
    return tmp_path / "seen"
