"""Bearer tokens (RFC 6750): named, from a file, compared in constant time."""

import hashlib
import hmac
from pathlib import Path

from cxrflow.errors import CxrflowError
from cxrflow.state import read_bytes
from cxrflow.text import name_text

#: Shorter tokens could be guessed (characters).
_SHORTEST = 20
_LONGEST_FILE = 2**20


class Tokens:
    """Known tokens. Their digests alone are kept, which all have one length."""

    def __init__(self, named: dict[str, str]) -> None:
        self._digests = {name: _digest(token) for name, token in named.items()}

    def name(self, authorization: str | None) -> str | None:
        """The name of the token in an Authorization header, or None if it holds no known one.

        Every known token is compared, so that the time tells nothing about which is near.
        """
        scheme, _, given = (authorization or "").partition(" ")
        digest, found = _digest(given.strip()), None
        for name, known in self._digests.items():
            if hmac.compare_digest(digest, known):
                found = name
        return found if scheme.lower() == "bearer" else None


def read_tokens(path: Path) -> Tokens:
    """The tokens in a file, a line ``name: token`` each; empty lines and those that begin with # are skipped.

    Raises CxrflowError if a line is anything else, a name or a token is there twice, a token is short, or there is
    none.
    """
    where, named = name_text(path), dict[str, str]()
    try:
        lines = read_bytes(path, "name a file of tokens", _LONGEST_FILE).decode().splitlines()
    except UnicodeDecodeError:
        raise CxrflowError(f"{where}: not UTF-8 text; write a line `name: token` for each token.") from None
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, colon, token = (part.strip() for part in line.partition(":"))
        if not colon or not name or not token or not token.isascii() or " " in token:
            raise CxrflowError(f"{where}, line {number}: is not `name: token`; a token has no spaces.")
        if len(token) < _SHORTEST:
            raise CxrflowError(
                f"{where}, line {number}: the token has fewer than {_SHORTEST} characters; "
                "make one with `openssl rand -hex 32`."
            )
        if name in named or token in named.values():
            raise CxrflowError(f"{where}, line {number}: the name or the token is there before; give each its own.")
        named[name] = token
    if not named:
        raise CxrflowError(f"{where}: holds no token; write a line `name: token` for each.")
    return Tokens(named)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
