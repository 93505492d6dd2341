"""Any file to a grey array, upright, air dark; or the reason why it is left out."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from cxrflow.errors import LeftOut
from cxrflow.reading.frontal import invert, turn
from cxrflow.reading.picture import read_picture

#: Larger files are not opened (bytes).
LARGEST_FILE = 512 * 1024 * 1024
#: File name endings of images, by which folders are searched; the content decides how a file is read.
ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".dcm", ".dicom")


@dataclass(frozen=True, slots=True)
class Reading:
    """A radiograph as read.

    grey     uint8 or uint16 (height, width), air dark
    frontal  how much it looks like an upright frontal chest radiograph, in [0, 1] (frontal.py)
    turned   whether it was stored inverted
    """

    grey: np.ndarray
    frontal: float
    turned: bool


def read_radiograph(path: Path, turned: bool | None = None) -> np.ndarray:
    """Read one file: (height, width), uint8 or uint16, air dark. Raises LeftOut as ``read``.

    turned  whether the file is stored inverted, where ``read`` has already told; None: find out
    """
    if turned is None:
        return read(path).grey
    return invert(decode(path)) if turned else decode(path)


def read(path: Path) -> Reading:
    """Read one file, score how frontal it looks, and turn it where it is an inverted radiograph.

    Raises LeftOut with the reason where the file is absent, empty, damaged, too large or no single grey image.
    """
    return Reading(*turn(decode(path)))


def decode(path: Path) -> np.ndarray:
    """One file's picture, uint8 or uint16 (height, width), its grey values as the file and its header give them.

    The content decides the format, not the name. Raises LeftOut as ``read``.
    """
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise LeftOut("not a file")
        if size == 0:
            raise LeftOut("file is empty")
        if size > LARGEST_FILE:
            raise LeftOut(f"file is larger than {LARGEST_FILE // 1024**2} MiB")
        content = path.read_bytes()
    except FileNotFoundError:
        raise LeftOut("file is absent") from None
    except OSError as error:
        raise LeftOut(f"file cannot be opened: {error.strerror}") from None
    if not is_dicom(content):
        return read_picture(content)
    from cxrflow.reading.dicom import read_dicom  # pydicom takes a quarter of a second to import

    return read_dicom(content)


def is_dicom(content: bytes) -> bool:
    """True where the content starts as DICOM does, with its preamble or without; 132 bytes are enough."""
    # Without a preamble the first tag is of group 2 or 8, little-endian, its element below 256.
    return content[128:132] == b"DICM" or (content[:1] in (b"\2", b"\10") and content[1:2] == content[3:4] == b"\0")


def to_uint8(grey: np.ndarray) -> np.ndarray:
    """uint8 unchanged; uint16 with its minimum at 0 and its maximum at 255 (12 bits in 16 would be almost black)."""
    if grey.dtype == np.uint8:
        return grey
    low, high = int(grey.min()), int(grey.max())
    return cv2.convertScaleAbs(grey.astype(np.float32) - low, alpha=255 / max(high - low, 1))
