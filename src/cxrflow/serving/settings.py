"""What a service is told when it starts: its limits, and where its files are."""

import ipaddress
from pathlib import Path
from typing import NamedTuple

from cxrflow.engines import LIMITS
from cxrflow.errors import CxrflowError
from cxrflow.reading.letters import check_installed
from cxrflow.reading.pixels import LARGEST_IMAGE
from cxrflow.serving.request_log import RequestLog
from cxrflow.serving.tokens import read_tokens
from cxrflow.workers import Limits

#: The bodies of all requests, and the pictures of their answers, together take at most so many times what one may.
_TOGETHER = 4


class Bounds(NamedTuple):
    """What one request may ask for, and all of them together.

    files    of a request
    bytes    of a request's body
    seconds  for its body to arrive; and again for its answer
    queue    requests at once; further ones are refused (429)
    """

    files: int = 20
    bytes: int = 256 * 1024**2
    seconds: float = 60.0
    queue: int = 32

    @property
    def pixels(self) -> int:
        """Of an image; checked by its header, before it is decoded."""
        return LARGEST_IMAGE

    @property
    def together(self) -> int:
        """Bytes of the bodies of all requests at once, and of the pictures in their answers."""
        return _TOGETHER * self.bytes

    @property
    def of_worker(self) -> Limits:
        """For reading one file."""
        return LIMITS._replace(seconds=min(LIMITS.seconds, self.seconds))


class Settings(NamedTuple):
    """Where a service listens, who may use it, and what it reads and writes.

    host, port  it listens on; port 0: a free one
    names       host names, beside its own, by which browsers may reach it, in whatever letters (``--allow-host``)
    tokens      file of bearer tokens (tokens.py); None: everybody who reaches it may use it
    requests    file that the log of requests is appended to (request_log.py), or None
    audit       audit.json of the bundle, or None
    burned_in_text  whether to look for text burned into the pictures, which is flagged
    """

    host: str = "127.0.0.1"
    port: int = 8000
    names: tuple[str, ...] = ()
    tokens: Path | None = None
    requests: Path | None = None
    audit: Path | None = None
    bounds: Bounds = Bounds()
    burned_in_text: bool = False

    @property
    def loopback(self) -> bool:
        """Whether other machines cannot reach it."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def check(self) -> None:
        """Raise CxrflowError if a limit is not positive, the tokens cannot be read, the log cannot be written, or
        text is to be looked for and the extra ``text`` is not installed."""
        if self.burned_in_text:
            check_installed("--burned-in-text")
        for name, value in self.bounds._asdict().items():
            if not value > 0:
                raise CxrflowError(f"serve: {name} is {value:g}; it must be positive.")
        if self.tokens:
            read_tokens(self.tokens)
        if self.requests:
            RequestLog(self.requests)
