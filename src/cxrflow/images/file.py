"""One file to its prepared image, or the reason why there is none: what worker processes run.

Every worker process imports this module anew, so it imports neither torch nor pandas.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from cxrflow.errors import LeftOut
from cxrflow.files import below
from cxrflow.images.registry import prepare_image
from cxrflow.images.steps import Prepared
from cxrflow.params import Images
from cxrflow.reading import read, read_radiograph


class PreparedFile(NamedTuple):
    """image: uint8 (size, size); frontal: how much the picture looks like a frontal chest radiograph, in [0, 1];
    turned: whether it was stored inverted."""

    image: np.ndarray
    frontal: float
    turned: bool


def prepare_file(steps: Images, path: Path) -> PreparedFile:
    """Read a file, turn it where it is inverted, and apply the image steps. Raises LeftOut with the reason."""
    reading = read(path)
    return PreparedFile(prepare_image(reading.grey, steps).image, reading.frontal, reading.turned)


def try_file(steps: Images, path: Path) -> PreparedFile | str:
    """``prepare_file``, or the reason why the file is left out."""
    try:
        return prepare_file(steps, path)
    except LeftOut as reason:
        return str(reason)


def try_record(root: str, steps: Images, record: tuple[str, bool]) -> Prepared | str:
    """The image of a record (its path relative to ``root``, and whether it is stored inverted), or the reason why it is
    left out. The path must not leave its first folder, the collection's."""
    relative, turned = record
    folder, _, rest = relative.partition("/")
    try:
        return prepare_image(read_radiograph(below(Path(root, folder), rest), turned), steps)
    except LeftOut as reason:
        return str(reason)
