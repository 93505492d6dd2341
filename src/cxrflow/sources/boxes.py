"""Boxes that radiologists drew round findings, from the tables of a collection."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from cxrflow.records import Box
from cxrflow.sources.cells import number
from cxrflow.text import clean

#: Side of the pictures in whose pixels RSNA and NIH publish boxes. Files may have been shrunk since.
PUBLISHED_SIDE = 1024
#: By so much a sum of two shares may be above 1 because they were rounded.
_ROUNDED = 1e-9


class Boxes:
    """The boxes in one table, by image, and the lines of those that cannot be read."""

    def __init__(self, table: Path) -> None:
        self._table = table
        self._by_image: dict[str, list[Box]] = {}
        self._unread: list[int] = []

    def add(
        self,
        image: str,
        findings: Sequence[str],
        cells: Sequence[str],
        line: int,
        size: tuple[float, float] | None = (PUBLISHED_SIDE, PUBLISHED_SIDE),
    ) -> None:
        """Take in a box of an image.

        findings  what it marks; without any, the box counts as unread
        cells     left, top, width and height, in pixels
        line      of the table, or number of the box
        size      width and height, in pixels, of the picture in which it was drawn; None if they are not known, and the
                  box counts as unread
        """
        numbers = [value for cell in cells if (value := number(cell)) is not None]
        if not findings or size is None or min(size) <= 0 or len(numbers) < len(cells):
            self._unread.append(line)
            return
        left, top, width, height = (value / side for value, side in zip(numbers, size * 2, strict=True))
        if min(left, top) < 0 or min(width, height) <= 0 or max(left + width, top + height) > 1 + _ROUNDED:
            self._unread.append(line)
            return
        self._by_image.setdefault(image, []).extend(Box(name, left, top, width, height) for name in findings)

    def of(self, image: str) -> tuple[Box, ...]:
        """The boxes of an image."""
        return tuple(self._by_image.get(image, ()))

    def sentences(self) -> Iterator[str]:
        """What could not be read, if anything."""
        if count := len(self._unread):
            boxes = "1 box" if count == 1 else f"{count:,} boxes"
            yield clean(
                f"{self._table.parent.name}: {boxes} in {self._table.name} not read, the first in line "
                f"{self._unread[0]}: left, top, width and height must be numbers and lie in the picture, whose size "
                "must be known, and so must the finding."
            )
