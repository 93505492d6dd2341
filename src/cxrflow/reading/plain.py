"""Fast path for grey PNG and simple JPEG, the bulk of most collections: imagecodecs, with pixels identical to Pillow's.

A file is decoded here only if none of its chunks or segments can rotate, animate or blend the image. For any other or
damaged file the result is None; Pillow then reads it or reports the problem.
"""

import logging
import re
import struct

import imagecodecs
import numpy as np

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_HEADER = 33  # bytes of a PNG's signature and of its first chunk, IHDR
#: PNG chunks that do not affect the pixels, besides IHDR, IDAT and IEND.
_HARMLESS = (b"pHYs", b"tIME", b"gAMA", b"sRGB", b"cHRM")
#: Accepted JPEG markers (T.81, table B.1): baseline and progressive frames, scans, and those that do not affect the
#: pixels (tables, JFIF, comments). Excluded are APP1 (EXIF, XMP), APP2 (may hold more images) and Adobe's APP14 (may
#: declare colours other than YCbCr).
_FRAMES, _SCAN, _END = (0xC0, 0xC1, 0xC2), 0xDA, b"\xff\xd9"
_SEGMENTS = (*_FRAMES, _SCAN, 0xC4, 0xDB, 0xDD, 0xE0, 0xED, 0xFE)
#: End of a scan's entropy-coded data: any marker except stuffed zeros and restarts (T.81, B.1.1.5).
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7]")

# It warns about data after the last row of an image, which Pillow ignores as well.
logging.getLogger("imagecodecs").setLevel(logging.ERROR)


def read_plain(content: bytes, largest: int) -> np.ndarray | None:
    """Decode a grey 8-bit PNG, or a grey or YCbCr JPEG: uint8 (height, width).

    Returns None for anything else, if it is damaged, or if it has more than ``largest`` pixels (not decoded).
    """
    try:
        if content.startswith(_PNG) and _is_plain_png(content, largest):
            return np.asarray(imagecodecs.png_decode(content))
        if content.startswith(_JPEG) and _is_plain_jpeg(content, largest):
            return np.asarray(imagecodecs.jpeg8_decode(content, outcolorspace="gray"))
    except Exception:  # imagecodecs raises its own and built-in exceptions
        return None
    return None


def _is_plain_png(content: bytes, largest: int) -> bool:
    if content[12:16] != b"IHDR" or len(content) < _HEADER:
        return False
    width, height, *kind = struct.unpack(">II5B", content[16:29])
    if kind != [8, 0, 0, 0, 0] or not 0 < width * height <= largest:  # 8 bits, grey, not interlaced
        return False
    at = _HEADER
    while (name := content[at + 4 : at + 8]) != b"IEND":
        if name != b"IDAT" and name not in _HARMLESS:
            return False
        at += 12 + int.from_bytes(content[at : at + 4])
    return True


def _is_plain_jpeg(content: bytes, largest: int) -> bool:
    """Whether all segments are accepted, up to the end of the file: libjpeg would fill a truncated image with grey."""
    at, plain = 2, False
    while (marker := content[at : at + 2]) != _END:
        if marker[:1] != b"\xff" or marker[1:] == b"" or marker[1] not in _SEGMENTS:
            return False
        length = int.from_bytes(content[at + 2 : at + 4])
        if marker[1] in _FRAMES:
            plain = _is_plain_frame(content[at + 4 : at + 2 + length], largest)
        at += 2 + length
        if marker[1] == _SCAN and (after := _AFTER_SCAN.search(content, at)):
            at = after.start()
    return plain and at + len(_END) == len(content)


def _is_plain_frame(header: bytes, largest: int) -> bool:
    """Whether a frame header (T.81, B.2.2) declares 8 bits and either one component or the three of YCbCr."""
    if len(header) < 6:
        return False
    bits, height, width, components = struct.unpack(">BHHB", header[:6])
    return bits == 8 and 0 < height * width <= largest and (components == 1 or header[6::3] == b"\1\2\3")
