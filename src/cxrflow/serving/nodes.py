"""DICOM nodes as options name them: AE title, host, port."""

import re
from typing import NamedTuple

from cxrflow.errors import CxrflowError, one_line

#: An AE title: up to 16 printable ASCII characters without backslash (PS3.5, 6.2); here also without spaces and "@".
_TITLE = re.compile(r"[!-?A-\[\]-~]{1,16}")


class Destination(NamedTuple):
    """A node that results are sent to: AE title, host name or address, port."""

    title: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.title}@{self.host}:{self.port}"


class Listening(NamedTuple):
    """How this node is called.

    title    its AE title; no association with another one is accepted
    host     address that it listens at
    port     its port, or 0 for any that is free
    calling  AE titles that may call; empty for all
    """

    title: str
    host: str
    port: int
    calling: tuple[str, ...] = ()


def destination(text: str) -> Destination:
    """The node that ``AET@HOST:PORT`` names. Raises CxrflowError if it is not of this form."""
    title, _, place = text.partition("@")
    host, _, port = place.rpartition(":")
    if not (_TITLE.fullmatch(title) and host and re.fullmatch("[0-9]{1,5}", port) and 0 < int(port) < 65_536):
        raise CxrflowError(
            f"--to {one_line(text, 80)}: is not AET@HOST:PORT, such as PACS@192.0.2.7:104; name the node like this."
        )
    return Destination(title, host.removeprefix("[").removesuffix("]"), int(port))


def listening(title: str, host: str, port: int, calling: list[str]) -> Listening:
    """As the options name them. Raises CxrflowError if one is no AE title."""
    for each in (title, *calling):
        if not _TITLE.fullmatch(each):
            raise CxrflowError(f"{one_line(each, 40)}: is no AE title; name 1 to 16 characters without spaces and @.")
    return Listening(title, host, port, tuple(calling))
