"""Read any image file as an upright grey array with dark air, or give the reason why it is left out."""

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from cxrflow.errors import LeftOut
from cxrflow.reading.containers import unpacked
from cxrflow.reading.frontal import invert, turn
from cxrflow.reading.guard import checked, guarded
from cxrflow.reading.kinds import is_dicomdir
from cxrflow.reading.picture import picture_format, read_picture
from cxrflow.text import clean

#: Larger files are not opened (bytes).
LARGEST_FILE = 512 * 1024 * 1024
#: File name extensions by which folders are searched for images. The content, not the extension, decides how a file is
#: read.
# fmt: off
EXTENSIONS = (
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".jif", ".tif", ".tiff", ".bmp", ".dib", ".webp", ".gif",
    ".jp2", ".j2k", ".j2c", ".jpf", ".jpx", ".jls", ".dcm", ".dicom", ".dic", ".ima", ".gz", ".zip",
    # Known, but not read: each is left out with what to convert it to.
    ".heic", ".heif", ".avif", ".jxl",
)
# fmt: on


class Identity(NamedTuple):
    """Where a DICOM image belongs: UIDs of its study, series and itself (PS3.3 C.7.2.1, C.7.3.1, C.12.1); empty where
    the header gives none."""

    study: str
    series: str
    instance: str


class Decoded(NamedTuple):
    """An image as its file and header define it.

    grey      uint8 or uint16 (height, width)
    shape     height and width of the picture as shown upright, or of the stored DICOM pixels; those of ``grey`` differ
              where pixels are not square
    note      what the header declares and reading did not apply, or None
    identity  of a DICOM image; else None
    """

    grey: np.ndarray
    shape: tuple[int, int]
    note: str | None = None
    identity: Identity | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """A radiograph as read.

    grey            uint8 or uint16 (height, width), air dark
    frontal         score in [0, 1] for an upright frontal chest radiograph (frontal.py)
    turned          whether the file stores it inverted; ``grey`` is corrected
    shape, note, identity  as in Decoded
    """

    grey: np.ndarray
    frontal: float
    turned: bool
    shape: tuple[int, int]
    note: str | None
    identity: Identity | None


def read_radiograph(path: Path, turned: bool | None = None) -> np.ndarray:
    """Read one file: (height, width), uint8 or uint16, air dark. Raises LeftOut as ``read`` does.

    turned  whether the file stores the image inverted, if ``read`` has already decided; None to decide here
    """
    if turned is None:
        return read(path).grey
    grey = decode(path)
    return invert(grey) if turned else grey


def read(source: Path | bytes) -> Reading:
    """Read a file, or its content, run the frontal check, and correct the image if it is an inverted radiograph.

    Raises LeftOut with the reason if the file is absent, empty, damaged, too large or not a single grey image.
    """
    grey, shape, note, identity = decode_noted(source)
    return Reading(*turn(grey), shape, note, identity)


def decode(source: Path | bytes) -> np.ndarray:
    """The image in one file, uint8 or uint16 (height, width); ``decode_noted`` without the rest."""
    return decode_noted(source).grey


def decode_noted(source: Path | bytes) -> Decoded:
    """The image in a file, or in its content, grey values as defined by the file and its header.

    The format is recognised by the content, not by the name. Raises LeftOut as ``read`` does, and nothing else except
    an interruption: decoders fail in every way on a damaged or hostile file, and their result is checked (guard.py).
    """
    content = source if isinstance(source, bytes) else read_content(source)
    check_length(len(content))
    with guarded("file"):
        content = unpacked(content, LARGEST_FILE)
        if not is_dicom(content) or is_dicomdir(content):
            grey = checked(read_picture(content))
            return Decoded(grey, grey.shape)
    from cxrflow.reading.dicom import read_dicom  # pydicom takes a quarter of a second to import

    with guarded("file"):
        found = read_dicom(content)
        return found._replace(grey=checked(found.grey), note=found.note and clean(found.note))


def read_content(path: Path) -> bytes:
    """The bytes of an image file. Raises LeftOut if it is absent, empty, larger than LARGEST_FILE or no regular file.

    Devices, FIFOs and sockets are not opened.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise LeftOut("not a file")
        check_length(status.st_size)
        return path.read_bytes()
    except FileNotFoundError:
        raise LeftOut("file is absent") from None
    except (OSError, ValueError) as error:  # ValueError: the name holds a NUL character
        raise LeftOut(f"file cannot be opened: {getattr(error, 'strerror', None) or error}") from None


def check_length(length: int) -> None:
    """Raise LeftOut if a file of so many bytes is empty or larger than LARGEST_FILE."""
    if length == 0:
        raise LeftOut("file is empty")
    if length > LARGEST_FILE:
        raise LeftOut(f"file is larger than {LARGEST_FILE // 1024**2} MiB")


def is_dicom(content: bytes) -> bool:
    """Whether the content starts like DICOM, with or without preamble; the first 132 bytes are enough."""
    # Without a preamble, the file starts with a little-endian tag of group 2 or 8 and an element below 256.
    return content[128:132] == b"DICM" or (content[:1] in (b"\2", b"\10") and content[1:2] == content[3:4] == b"\0")


def format_of(content: bytes) -> str:
    """The format of an image file that is read, by its content: DICOM, PNG, JPEG, ...; of an archive, ``packed``."""
    return "DICOM" if is_dicom(content) else picture_format(content) or "packed"


def to_uint8(grey: np.ndarray) -> np.ndarray:
    """Grey levels from 0, the image's darkest, to 255, its brightest: uint8 of the same shape; 0 if there is one only.

    grey  uint8 or uint16 (height, width)
    The rule is the same for every bit depth and every header. Kept as they are in one kind of file and stretched in
    another, the grey levels of a pale image would tell the kind of file, and with it the hospital. And 12 of 16 bits
    would look black.
    """
    low, high, _, _ = cv2.minMaxLoc(grey)
    if grey.dtype == np.uint8:
        if (low, high) == (0, 255):
            return grey
        levels = (np.arange(256) - low) * (255 / max(high - low, 1))
        return np.asarray(cv2.LUT(grey, np.rint(levels.clip(0, 255)).astype(np.uint8)))
    return cv2.convertScaleAbs(grey.astype(np.float32) - low, alpha=255 / max(high - low, 1))
