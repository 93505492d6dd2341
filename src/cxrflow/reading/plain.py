"""Grey PNG and plain JPEG, which most collections are made of, by the shortest way to an array; the same pixels as
Pillow's, to the bit.

What a file's own list of parts does not show to be harmless (anything that turns, animates or blends the picture), and
what is damaged, is None here: Pillow reads it, or says what is wrong with it.
"""

import struct

import cv2
import numpy as np
import simplejpeg
from isal import igzip_lib, isal_zlib

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_HEADER = 33  # bytes of a PNG's signature and of its first chunk, IHDR
_BLOCK = 65535  # bytes of a stored block of deflate, at most
_END = b"\0\0\0\0IEND\xaeB`\x82"
#: Chunks of a PNG that say nothing of how its pixels are shown, besides IHDR, IDAT and IEND.
_HARMLESS = (b"pHYs", b"tIME", b"gAMA", b"sRGB", b"cHRM")
#: Segments of a JPEG before its scan (T.81, table B.1): baseline and progressive frames, tables, JFIF, Adobe, comments.
#: Not APP1, which holds EXIF and XMP, nor APP2, which may hold more pictures.
_SEGMENTS = (0xC0, 0xC1, 0xC2, 0xC4, 0xDB, 0xDD, 0xE0, 0xED, 0xEE, 0xFE)
_SCAN = 0xDA


def read_plain(content: bytes, largest: int) -> np.ndarray | None:
    """Decode a grey 8-bit PNG or a grey or YCbCr JPEG: uint8 (height, width); None where it is anything else, damaged
    or of more than ``largest`` pixels."""
    if content.startswith(_PNG):
        return _png(content, largest)
    return _jpeg(content, largest) if content.startswith(_JPEG) else None


def _png(content: bytes, largest: int) -> np.ndarray | None:
    """OpenCV is handed the pixels inflated: ISA-L inflates twice as fast as the zlib inside OpenCV."""
    if content[12:16] != b"IHDR" or len(content) < _HEADER:
        return None
    width, height, *kind = struct.unpack(">II5B", content[16:29])
    if kind != [8, 0, 0, 0, 0] or not 0 < width * height <= largest:  # 8 bits, grey, not interlaced
        return None
    data, at = [], _HEADER
    while (name := content[at + 4 : at + 8]) != b"IEND":
        end = at + 8 + int.from_bytes(content[at : at + 4])
        if name == b"IDAT":
            data.append(content[at + 8 : end])
        elif name not in _HARMLESS:
            return None
        at = end + 4
    size = height * (width + 1)
    inflate = isal_zlib.decompressobj()
    try:
        rows = inflate.decompress(b"".join(data), size + 1)
    except igzip_lib.IsalError:  # type: ignore[misc]  # its stubs say that it is an instance
        return None
    if len(rows) != size or not inflate.eof:
        return None
    return cv2.imdecode(np.frombuffer(_stored(content[:_HEADER], rows), np.uint8), cv2.IMREAD_GRAYSCALE)


def _stored(header: bytes, rows: bytes) -> bytes:
    """A PNG of the header and the rows, which are stored and not deflated (RFC 1950; RFC 1951, section 3.2.4)."""
    parts: list[bytes | memoryview] = [b"IDAT", b"\x78\x01"]
    for start in range(0, len(rows), _BLOCK):
        block = memoryview(rows)[start : start + _BLOCK]
        parts += [struct.pack("<BHH", start + len(block) == len(rows), len(block), _BLOCK - len(block)), block]
    parts.append(struct.pack(">I", isal_zlib.adler32(rows)))
    length, check = sum(map(len, parts)) - 4, 0
    for part in parts:
        check = isal_zlib.crc32(part, check)
    return b"".join([header, struct.pack(">I", length), *parts, struct.pack(">I", check), _END])


def _jpeg(content: bytes, largest: int) -> np.ndarray | None:
    """libjpeg-turbo's luminance; strict, so that what libjpeg only warns of, as a damaged scan, counts as damage."""
    at = 2
    while (marker := content[at : at + 2]) != bytes((0xFF, _SCAN)):
        if marker[:1] != b"\xff" or marker[1:2] == b"" or marker[1] not in _SEGMENTS:
            return None
        at += 2 + int.from_bytes(content[at + 2 : at + 4])
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(content)
        if colours not in ("Gray", "YCbCr") or height * width > largest:
            return None
        return simplejpeg.decode_jpeg(content, "GRAY")[..., 0]
    except ValueError:
        return None
