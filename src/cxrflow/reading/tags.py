"""The directories of a TIFF file, and of an EXIF block, which is built like one (TIFF 6.0; BigTIFF)."""

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from cxrflow.errors import LeftOut

ORIENTATION = 274
#: Files with more directories, or with more tags in one, are not read; they usually have one of about 20 tags.
_MOST_DIRECTORIES, _MOST_TAGS = 1_000, 4_096
#: Integer types of TIFF 6.0 and BigTIFF, and their codes in ``struct``.
_CODES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
_XMP = re.compile(rb"tiff:Orientation(?:=[\"']|>)([1-8])")


class Directory(NamedTuple):
    """One directory of a file.

    order   byte order, "<" or ">" as in ``struct``
    fields  by tag: type, count, and 4 or 8 bytes that are the value, or where it stands if it is longer
    places  by tag: where these bytes stand in ``content``
    """

    content: bytes
    order: str
    fields: dict[int, tuple[int, int, bytes]]
    places: dict[int, int]

    def integers(self, tag: int, most: int = 1) -> tuple[int, ...]:
        """At most ``most`` values of a tag of integers; () if it is absent, cut off, or of another type."""
        kind, count, value = self.fields.get(tag, (0, 0, b""))
        if not (code := _CODES.get(kind)):
            return ()
        size = struct.calcsize(code)
        if count * size > len(value):
            at = struct.unpack(self.order + ("Q" if len(value) == 8 else "I"), value)[0]
            value = self.content[at : at + min(count, most) * size]
        count = min(count, most, len(value) // size)
        return struct.unpack(f"{self.order}{count}{code}", value[: count * size])

    def integer(self, tag: int, default: int) -> int:
        """The first value of a tag."""
        return next(iter(self.integers(tag)), default)


def directories(content: bytes) -> Iterator[Directory]:
    """The chain of directories that a file begins with; () if it is no TIFF.

    Raises LeftOut if the chain is a loop, leaves the file or is too long.
    """
    order = {b"II": "<", b"MM": ">"}.get(content[:2], "")
    version = struct.unpack(order + "H", content[2:4])[0] if order and len(content) >= 8 else 0
    if version not in (42, 43):
        return
    big = version == 43
    counts, offsets, entry = ("Q", "Q", "HHQ8s") if big else ("H", "I", "HHI4s")
    seen: set[int] = set()
    at = 4 + 4 * big
    while at := _number(content, at, order + offsets):
        if at in seen:
            raise LeftOut("TIFF is damaged: its directories form a loop")
        if len(seen) == _MOST_DIRECTORIES:
            raise LeftOut(f"TIFF has more than {_MOST_DIRECTORIES:,} directories")
        seen.add(at)
        count = _number(content, at, order + counts)
        if count > _MOST_TAGS:
            raise LeftOut(f"TIFF is damaged: it has a directory of {count:,} tags")
        at += struct.calcsize(counts)
        size = struct.calcsize("<" + entry)
        end = at + count * size
        if end > len(content):
            raise LeftOut("TIFF is damaged: one of its directories is cut off")
        entries = list(struct.iter_unpack(order + entry, content[at:end]))
        value = size - 4 - 4 * big
        places = {tag: at + n * size + value for n, (tag, *_) in enumerate(entries)}
        yield Directory(content, order, {tag: tuple(rest) for tag, *rest in entries}, places)
        at = end


def read_orientation(exif: bytes, xmp: bytes = b"") -> int:
    """The orientation in an EXIF block, else in an XMP packet: 1 to 8; 1, upright, if neither says so."""
    try:
        first = next(directories(exif.removeprefix(b"Exif\0\0")), None)
    except LeftOut:  # a damaged EXIF block is ignored
        first = None
    if first and 1 <= (orientation := first.integer(ORIENTATION, 0)) <= 8:
        return orientation
    found = _XMP.search(xmp)
    return int(found[1]) if found else 1


def _number(content: bytes, at: int, code: str) -> int:
    size = struct.calcsize(code)
    if at + size > len(content):
        raise LeftOut("TIFF is damaged: one of its directories is outside the file")
    return int(struct.unpack(code, content[at : at + size])[0])
