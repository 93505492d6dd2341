"""JPEG of any process through imagecodecs (libjpeg-turbo), and JPEG-LS (CharLS): the first picture in the file.

Phones append a preview, a gain map or a film, which is passed over.
"""

import imagecodecs
import numpy as np

from cxrflow.errors import LeftOut, one_line
from cxrflow.reading.codestream import EOI, MOST_SCANS, SOF, SOS, segments
from cxrflow.reading.pixels import Pixels, check_size
from cxrflow.reading.tags import read_orientation

SIGNATURE = b"\xff\xd8\xff"
#: Scans times pixels that are decoded at most: each scan of a progressive JPEG costs as much as a whole picture.
_MOST_WORK = 2_000_000_000
_APP1, _APP14, _JPEG_LS = 0xE1, 0xEE, 0xF7
_EXIF, _XMP, _ADOBE = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"Adobe"


def read_jpeg(content: bytes) -> Pixels:
    """Decode the luminance of a JPEG, or the colours of one that stores inks (CMYK): 8 to 16 bits a sample.

    Raises LeftOut if it is damaged or cut short, too large, or has more scans than a picture needs.
    """
    frame, exif, xmp = b"", b"", b""
    kind, scans, adobe, marker = 0, 0, False, 0
    for marker, start, end in segments(content):
        if marker in SOF:
            if frame or end - start < 6:
                raise LeftOut("JPEG is damaged: it has two frame headers, or half of one")
            kind, frame = marker, content[start:end]
        elif marker == SOS:
            scans += 1
            if scans > MOST_SCANS:
                raise LeftOut(f"JPEG has more than {MOST_SCANS} scans")
        elif marker == _APP1 and content.startswith(_EXIF, start):
            exif = exif or content[start:end]
        elif marker == _APP1 and content.startswith(_XMP, start):
            xmp = xmp or content[start:end]
        elif marker == _APP14 and content.startswith(_ADOBE, start):
            adobe = True
    if len(frame) < 6:
        raise LeftOut("JPEG is damaged: it has no frame header")
    height, width, components = int.from_bytes(frame[1:3]), int.from_bytes(frame[3:5]), frame[5]
    check_size(height, width)
    if scans * height * width > _MOST_WORK:
        raise LeftOut(f"JPEG has {scans} scans, too many for {width} x {height} pixels")
    if marker != EOI:  # libjpeg would fill the rest with grey
        raise LeftOut("image is damaged (the file is cut short)")
    try:
        values = _decode(content, kind, components, adobe)
    except (imagecodecs.Jpeg8Error, imagecodecs.JpeglsError) as error:
        raise LeftOut(f"image is damaged ({one_line(str(error))})") from None
    return Pixels(values, read_orientation(exif, xmp))


def _decode(content: bytes, kind: int, components: int, adobe: bool) -> np.ndarray:
    if components not in (1, 3, 4):
        raise LeftOut(f"JPEG has {components} components, which are no known colours")
    if kind == _JPEG_LS:
        return np.asarray(imagecodecs.jpegls_decode(content))
    if components < 4:
        return np.asarray(imagecodecs.jpeg8_decode(content, outcolorspace="gray"))
    inks = np.asarray(imagecodecs.jpeg8_decode(content))
    most = np.iinfo(inks.dtype).max
    if not adobe:  # Adobe's programs store 255 for no ink
        inks = most - inks
    black = inks[..., 3:].astype(np.uint32)
    return np.asarray((inks[..., :3] * black + most // 2) // most, inks.dtype)
