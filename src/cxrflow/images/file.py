"""Work of the worker processes: from one file to its prepared image, or to the reason why it is left out.

Every worker process imports this module, so it imports neither torch nor pandas.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cxrflow.errors import LeftOut
from cxrflow.files import Root
from cxrflow.images.registry import prepare_image
from cxrflow.images.steps import Prepared
from cxrflow.params import Images
from cxrflow.reading import read, read_radiograph


class PreparedFile(NamedTuple):
    """The prepared images of a file.

    images   uint8 (size, size), one for each of several image steps
    frontal  score in [0, 1] for a frontal chest radiograph
    turned   whether the file stores it inverted; ``images`` are corrected
    note     what its header declares and reading did not apply, or None
    """

    images: tuple[np.ndarray, ...]
    frontal: float
    turned: bool
    note: str | None


def prepare_file(steps: Sequence[Images], path: Path) -> PreparedFile:
    """Read a file once, correct it if inverted, and apply each of the image steps. Raises LeftOut with the reason."""
    reading = read(path)
    images = tuple(prepare_image(reading.grey, each).image for each in steps)
    return PreparedFile(images, reading.frontal, reading.turned, reading.note)


def try_file(steps: Sequence[Images], path: Path) -> PreparedFile | str:
    """As ``prepare_file``, but returns the reason why a file is left out."""
    try:
        return prepare_file(steps, path)
    except LeftOut as reason:
        return str(reason)


def try_record(root: Root, steps: Images, record: tuple[str, bool]) -> Prepared | str:
    """The prepared image of a record, or the reason why it is left out.

    record  path as in records, and whether the image is stored inverted
    """
    path, turned = record
    try:
        return prepare_image(read_radiograph(root.file(path), turned), steps)
    except LeftOut as reason:
        return str(reason)
