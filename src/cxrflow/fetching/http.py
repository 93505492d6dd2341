"""Downloads over HTTP that go on where they stopped, are checked, and are whole or not there.

requests gives proxies, certificates and credentials from ~/.netrc, which it drops when a redirect leads to another
host. Resuming (RFC 9110, section 14) is here: pooch, which also has checksums, and fsspec begin anew.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.exceptions import ChunkedEncodingError, ConnectionError, RequestException, Timeout

from cxrflow import __version__
from cxrflow.errors import CxrflowError, one_line
from cxrflow.fetching.published import Remote
from cxrflow.fetching.space import check_space, in_units
from cxrflow.files import refused, write_json
from cxrflow.terminal import remark
from cxrflow.text import clean

#: Pauses before the second, third, ... try without a single new byte (seconds).
PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)
#: How long a server may take to be connected to, and to send the next bytes (seconds).
_PATIENCE = (15.0, 60.0)
#: Bytes read at a time from the network, which is what a broken connection can cost, and from a file.
_PIECE, _CHUNK = 1 << 16, 1 << 20
#: Largest file whose size the server does not say (bytes).
_MOST = 16 << 30
#: Answers after which the same request may succeed: too many requests, and the server's own trouble.
_PASSING = frozenset((429, 500, 502, 503, 504))
#: Longest pause that a server may ask for (seconds).
_LONGEST = 120.0
_REFUSED = {
    401: "the credentials are missing or wrong",
    403: "access is refused; the terms on its page may have to be agreed to, by the account whose credentials are used",
    404: "the file is not there any more; look for it on the page of the collection",
}


class _Broken(Exception):
    """The connection ended before the file did; ``pause`` is how long the server asks to wait (seconds)."""

    def __init__(self, reason: str, pause: float = 0.0) -> None:
        super().__init__(reason)
        self.pause = pause


class Session(requests.Session):
    """A session that follows redirects from https to https only, and says why a server refuses.

    credentials  user name and password for the servers that are asked first; None for those in ~/.netrc, if any. They
                 are not sent to where a redirect leads.
    """

    def __init__(self, credentials: tuple[str, str] | None = None) -> None:
        super().__init__()
        self.auth = credentials
        self.max_redirects = 10
        # Lengths and ranges are those of the file, not of a compressed copy.
        self.headers.update({"User-Agent": f"cxrflow/{__version__}", "Accept-Encoding": "identity"})

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Where a redirect leads. Raises CxrflowError if that is not https, or http from http."""
        target = super().get_redirect_target(resp)
        if target is not None:
            scheme, before = urlsplit(urljoin(resp.url, target)).scheme, urlsplit(resp.url).scheme
            if scheme != "https" and (scheme, before) != ("http", "http"):
                raise CxrflowError(
                    f"{_host(resp.url)}: redirects from {before} to {clean(scheme)[:20]}, which is not followed; "
                    "download the file by hand, from the page of the collection."
                )
        return target


def read(session: Session, url: str, most: int) -> bytes:
    """The content of a small file. Raises CxrflowError if it has more than ``most`` bytes, or as ``download``."""
    for pause in (*PAUSES, None):
        try:
            with _get(session, url, {}) as response:
                content = bytearray()
                for chunk in response.iter_content(_PIECE):
                    content += chunk
                    if len(content) > most:
                        raise CxrflowError(f"{url}: has more than {in_units(most)}, too much for what it should be.")
                return bytes(content)
        except (ConnectionError, ChunkedEncodingError, Timeout, _Broken) as error:
            _wait(error, url, pause)
    raise AssertionError


def download(
    session: Session, remote: Remote, target: Path, part: Path, shown: Callable[[int, int | None], None] | None = None
) -> str:
    """Download one file to ``target``, and return its SHA-256 (hexadecimal).

    What has arrived lies in ``part``, with what identifies the file on the server beside it (``.json``); the next call
    asks for the rest of the same file, and begins anew if it has changed, or the server does not send parts.
    ``target`` appears when the file is whole and has its published checksum. A broken connection is tried again; the
    tries are counted anew whenever bytes arrive.

    shown  called with the number of bytes that are there, and of all (None if unknown)
    Raises CxrflowError if the server refuses, cannot be reached, sends something else, or the disk is full.
    """
    tries, most = 0, 0
    while True:
        try:
            _fetch_rest(session, remote, part, shown or (lambda done, total: None))
        except (ConnectionError, ChunkedEncodingError, Timeout, _Broken) as error:
            tries, most = (0, _length(part)) if _length(part) > most else (tries, most)
            _wait(error, remote.url, PAUSES[tries] if tries < len(PAUSES) else None)
            tries += 1
            continue
        except OSError as error:
            raise refused(error, part) from None
        sums = digests(part, {"sha256", (remote.digest or "sha256").partition(":")[0]})
        if remote.digest is not None and f"{(kind := remote.digest.partition(':')[0])}:{sums[kind]}" != remote.digest:
            _forget(part)
            raise CxrflowError(
                f"{remote.path}: what arrived does not have the published checksum ({remote.digest}) and was removed; "
                "run again; if it happens twice, the file has changed where it is published."
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(part, target)
        _forget(part)
        return sums["sha256"]


def digests(path: Path, kinds: set[str]) -> dict[str, str]:
    """Checksums of a file, by their names in hashlib, in one reading."""
    # MD5 finds damage, which is all that it is used for.
    sums = {kind: hashlib.new(kind, usedforsecurity=False) for kind in kinds}
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            for each in sums.values():
                each.update(chunk)
    return {kind: each.hexdigest() for kind, each in sums.items()}


def _fetch_rest(session: Session, remote: Remote, part: Path, shown: Callable[[int, int | None], None]) -> None:
    """Append to ``part`` what it lacks; raises _Broken if the connection ends early."""
    about, have = _state(part, remote), _length(part)
    validator = about.get("validator")
    if have and validator is None and remote.digest is None:
        have = 0  # nothing says that it is still the same file
    asked = {"Range": f"bytes={have}-"} | ({"If-Range": validator} if validator else {}) if have else {}
    with _get(session, remote.url, asked) as response:
        if response.status_code == 416 or (response.status_code == 206 and _range_start(response) != have):
            if response.status_code == 416 and _range_total(response) == have == about.get("total", have):
                return
            _forget(part)
            raise _Broken("the server has less of it than was there")
        if response.status_code == 200:
            have = 0
        _check_kind(response, remote)
        total = _range_total(response) if response.status_code == 206 else _content_length(response)
        if total is not None and remote.size is not None and total != remote.size:
            raise CxrflowError(
                f"{remote.path}: has {total:,} bytes instead of the published {remote.size:,}; it has changed where it "
                "is published: look at the page of the collection."
            )
        check_space(part.parent, (total or 0) - have)
        part.parent.mkdir(parents=True, exist_ok=True)
        write_json(_about(part), {"url": remote.url, "validator": _validator(response), "total": total})
        # The length is checked below, when what has arrived is stored; urllib3 would check it before, and drop that.
        response.raw.enforce_content_length = False
        with part.open("ab" if have else "wb") as file:
            for chunk in response.iter_content(_PIECE):
                have += len(chunk)
                if have > (total if total is not None else _MOST):
                    file.close()
                    _forget(part)
                    raise CxrflowError(f"{remote.path}: {_host(remote.url)} sends more than it said; run again later.")
                file.write(chunk)
                shown(have, total)
    if total is not None and have < total:
        raise _Broken("the connection ended early")


def _get(session: Session, url: str, headers: dict[str, str]) -> requests.Response:
    try:
        response = session.get(url, headers=headers, stream=True, timeout=_PATIENCE)
    except (ConnectionError, Timeout, ChunkedEncodingError):
        raise
    except RequestException as error:
        raise CxrflowError(f"{_host(url)}: cannot be asked for {url} ({one_line(str(error))}).") from None
    if response.status_code in _PASSING:
        response.close()
        asked = response.headers.get("Retry-After", "")
        raise _Broken(f"status {response.status_code}", min(float(asked), _LONGEST) if asked.isdigit() else 0.0)
    if response.status_code not in (200, 206, 416):
        response.close()
        why = _REFUSED.get(response.status_code, "it is not sent")
        raise CxrflowError(f"{url}: status {response.status_code} of {_host(response.url)}: {why}.")
    return response


def _wait(error: Exception, url: str, pause: float | None) -> None:
    """Pause before the next try; raise CxrflowError if there is none, or no server answered at all."""
    if pause is None or _unreachable(error):
        what = "cannot be reached" if _unreachable(error) else f"keeps breaking off ({one_line(str(error), 100)})"
        raise CxrflowError(
            f"{_host(url)}: {what}; check the network, and the proxy if there is one, and run again: what has arrived "
            "is kept."
        ) from None
    pause = max(pause, error.pause) if isinstance(error, _Broken) else pause
    remark(f"{_host(url)}: the connection broke; going on in {pause:.0f} s.")
    time.sleep(pause)


def _unreachable(error: Exception) -> bool:
    """Whether no connection came about: no network, no such host, or nothing that listens there."""
    reason: Any = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(error, ConnectionError) and type(reason).__name__ in (
        *("NameResolutionError", "NewConnectionError", "ConnectTimeoutError", "ProxyError", "SSLError"),
    )


def _check_kind(response: requests.Response, remote: Remote) -> None:
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind == "text/html" and not remote.path.endswith((".html", ".htm")):
        raise CxrflowError(
            f"{remote.path}: {_host(response.url)} answers with a web page instead of the file, as for a login or an "
            f"error; check your credentials, or open {remote.url} in a browser."
        )


def _validator(response: requests.Response) -> str | None:
    """What identifies this version of the file, for If-Range: a strong ETag, else the date (RFC 9110, 13.1.5)."""
    tag = response.headers.get("ETag")
    return tag if tag is not None and not tag.startswith("W/") else response.headers.get("Last-Modified")


def _content_length(response: requests.Response) -> int | None:
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdigit() and not response.headers.get("Content-Encoding") else None


def _range_start(response: requests.Response) -> int | None:
    start = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return int(start) if start.isdigit() else None


def _range_total(response: requests.Response) -> int | None:
    total = response.headers.get("Content-Range", "").rpartition("/")[2]
    return int(total) if total.isdigit() else None


def _about(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _state(part: Path, remote: Remote) -> dict[str, Any]:
    """What is known of a part; nothing if it is of another address, or was not written whole."""
    try:
        about = json.loads(_about(part).read_text(encoding="utf-8"))
        if isinstance(about, dict) and about.get("url") == remote.url:
            return about
    except (OSError, ValueError):
        pass
    part.unlink(missing_ok=True)
    return {}


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _about(part).unlink(missing_ok=True)


def _length(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _host(url: str) -> str:
    return urlsplit(url).hostname or url
