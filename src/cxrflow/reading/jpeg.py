"""JPEG of any process through imagecodecs (libjpeg-turbo), and JPEG-LS (CharLS): the first picture in the file.

Phones append a preview, a gain map or a film, which is passed over.
"""

import imagecodecs
import numpy as np

from cxrflow.errors import LeftOut, one_line
from cxrflow.reading import codestream
from cxrflow.reading.pixels import Pixels, check_size
from cxrflow.reading.tags import read_orientation

SIGNATURE = b"\xff\xd8\xff"
#: Scans times pixels that are decoded at most: each scan of a progressive JPEG costs as much as a whole picture.
_MOST_WORK = 2_000_000_000
_JPEG_LS = 0xF7
_EXIF, _XMP, _ADOBE = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"Adobe"
#: Application segments that matter, by their marker (APP1, APP14): how they begin.
_NAMES = {0xE1: (_EXIF, _XMP), 0xEE: (_ADOBE,)}


def read_jpeg(content: bytes) -> Pixels:
    """Decode the luminance of a JPEG, or the colours of one that stores inks (CMYK): 8 to 16 bits a sample.

    Raises LeftOut if it is damaged or cut short, too large, or has more scans than a picture needs.
    """
    said: dict[bytes, bytes] = {}

    def keep(marker: int, start: int, end: int) -> None:
        for name in _NAMES.get(marker, ()):
            if content.startswith(name, start):
                said.setdefault(name, content[start:end])

    found = codestream.read_jpeg(content, keep)
    check_size(found.height, found.width)
    if found.parts * found.height * found.width > _MOST_WORK:
        raise LeftOut(f"JPEG has {found.parts} scans, too many for {found.width} x {found.height} pixels")
    if not found.whole:  # libjpeg would fill the rest with grey
        raise LeftOut("image is damaged (the file is cut short)")
    try:
        values = _decode(content, found.frame, found.components, _ADOBE in said)
    except (imagecodecs.Jpeg8Error, imagecodecs.JpeglsError) as error:
        raise LeftOut(f"image is damaged ({one_line(str(error))})") from None
    return Pixels(values, read_orientation(said.get(_EXIF, b""), said.get(_XMP, b"")))


def _decode(content: bytes, frame: int, components: int, adobe: bool) -> np.ndarray:
    if components not in (1, 3, 4):
        raise LeftOut(f"JPEG has {components} components, which are no known colours")
    if frame == _JPEG_LS:
        return np.asarray(imagecodecs.jpegls_decode(content))
    if components < 4:
        return np.asarray(imagecodecs.jpeg8_decode(content, outcolorspace="gray"))
    inks = np.asarray(imagecodecs.jpeg8_decode(content))
    most = np.iinfo(inks.dtype).max
    if not adobe:  # Adobe's programs store 255 for no ink
        inks = most - inks
    black = inks[..., 3:].astype(np.uint32)
    return np.asarray((inks[..., :3] * black + most // 2) // most, inks.dtype)
