"""Work of the worker processes: from one file to its prepared image, or to the reason why it is left out.

Every worker process imports this module, so it imports neither torch nor pandas.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cxrflow.errors import LeftOut
from cxrflow.files import Root
from cxrflow.images.registry import prepare_image
from cxrflow.images.steps import Prepared
from cxrflow.metadata.near_hash import contrast
from cxrflow.params import Images
from cxrflow.reading import Identity, Reading, read, read_content, read_radiograph
from cxrflow.reading.frontal import turn
from cxrflow.reading.guard import checked, guarded
from cxrflow.reading.letters import try_text
from cxrflow.workers import Lost

#: A radiograph: a file, the content of one, or a grey picture, uint8 or uint16 (height, width), air dark.
Source = Path | bytes | np.ndarray


class PreparedFile(NamedTuple):
    """A radiograph of a file, its content or an array, prepared.

    views     one for each of several image steps
    frontal, turned, shape, note, identity  as in ``reading.Reading``
    sha256    of the file's content, or of an array's shape, dtype and pixels, hexadecimal
    contrast  by which the picture is recognised in another file, float32 (places,) (metadata/near_hash.py)
    text_places  number of places with text burned in (reading/letters.py); None if it was not, or could not be,
                 looked for
    """

    views: tuple[Prepared, ...]
    frontal: float
    turned: bool
    shape: tuple[int, int]
    note: str | None
    identity: Identity | None
    sha256: str
    contrast: np.ndarray
    text_places: int | None = None

    @property
    def images(self) -> tuple[np.ndarray, ...]:
        """The prepared images: uint8 (size, size), one for each of the image steps."""
        return tuple(view.image for view in self.views)


class LeftOutFile(NamedTuple):
    """A radiograph that is left out: the reason, and the SHA-256 of its content if that could be read."""

    reason: str
    sha256: str | None = None


def if_lost(file: PreparedFile | LeftOutFile | Lost, content: bytes | None = None) -> PreparedFile | LeftOutFile:
    """What a worker process has made of a radiograph; one that ended it, or ran into a limit, is left out.

    content  of the file, if it is known here
    """
    if isinstance(file, Lost):
        return LeftOutFile(file.reason, None if content is None else hashlib.sha256(content).hexdigest())
    return file


def prepare_source(steps: Sequence[Images], source: Source) -> PreparedFile:
    """Read a radiograph once, correct it if inverted, and apply each of the image steps.

    Raises LeftOut with the reason.
    """
    prepared = try_source(steps, source)
    if isinstance(prepared, LeftOutFile):
        raise LeftOut(prepared.reason)
    return prepared


def try_source(steps: Sequence[Images], source: Source, burned_in_text: bool = False) -> PreparedFile | LeftOutFile:
    """As ``prepare_source``, but returns the reason why a radiograph is left out.

    burned_in_text  whether to look for text burned into it, which needs the extra ``text``
    """
    sha256 = None
    try:
        content = read_content(source) if isinstance(source, Path) else source
        sha256 = hashlib.sha256(_bytes_of(content)).hexdigest()
        reading = read(content) if isinstance(content, bytes) else _of_array(content)
        places = try_text(reading.grey) if burned_in_text else None
        return PreparedFile(
            tuple(prepare_image(reading.grey, each) for each in steps),
            reading.frontal,
            reading.turned,
            reading.shape,
            reading.note,
            reading.identity,
            sha256,
            contrast(reading.grey),
            None if places is None else len(places),
        )
    except LeftOut as reason:
        return LeftOutFile(str(reason), sha256)


def _bytes_of(content: bytes | np.ndarray) -> bytes:
    """Of an array its shape, dtype and pixels."""
    if isinstance(content, bytes):
        return content
    return f"{content.shape} {content.dtype.str} ".encode() + content.tobytes()


def _of_array(grey: np.ndarray) -> Reading:
    with guarded("array"):
        grey = checked(grey)
        return Reading(*turn(grey), grey.shape, None, None)


def try_record(root: Root, steps: Images, record: tuple[str, bool]) -> Prepared | str:
    """The prepared image of a record, or the reason why it is left out.

    record  path as in records, and whether the image is stored inverted
    """
    path, turned = record
    try:
        return prepare_image(read_radiograph(root.file(path), turned), steps)
    except LeftOut as reason:
        return str(reason)
