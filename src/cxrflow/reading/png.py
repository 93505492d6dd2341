"""PNG through imagecodecs (libpng), of its pixels alone.

Text and colour profiles can be of any size and inflate to more; they are skipped, so they
cost no memory and cannot fail.
"""

import logging
import struct
import zlib

import imagecodecs
import numpy as np

from cxrflow.errors import LeftOut, one_line
from cxrflow.reading.pixels import Pixels, check_size
from cxrflow.reading.tags import read_orientation

SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: Chunks that define the pixels; all others are dropped before decoding.
_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
#: Chunks that affect neither the pixels nor their orientation, and that cost nothing: they need not be dropped.
_HARMLESS = (b"pHYs", b"tIME", b"gAMA", b"sRGB", b"cHRM", b"sBIT", b"bKGD")
_END = b"\0\0\0\0IEND\xaeB`\x82"
#: Chunks that may hold an orientation (PNG, 11.3.3), and by which keyword.
_TEXTS = (b"eXIf", b"iTXt", b"tEXt", b"zTXt")
_KEYWORDS = (b"eXIf", b"XML:com.adobe.xmp", b"Raw profile type exif")
#: What parts of libpng's messages mean.
_SAID = {
    "input stream too small": "the file is cut short",
    "CRC error": "a checksum is wrong, so bytes were changed",
    "IDAT: ": "the compressed pixels cannot be unpacked, so bytes are missing or were changed",
}
#: Part of them that is searched (bytes, before and after inflating).
_MOST_TEXT = 65_536

# It warns about data after the last row of an image, which other readers ignore as well.
logging.getLogger("imagecodecs").setLevel(logging.ERROR)


def read_png(content: bytes) -> Pixels:
    """Decode a PNG: palettes as colours, transparency (tRNS) as alpha, 8 or 16 bits a sample.

    The orientation is that of an eXIf chunk, or of what Adobe's or ImageMagick's programs write as text.
    Raises LeftOut if the pixels are damaged, too many or animated.
    """
    if len(content) < 33:
        raise LeftOut("image is damaged (the file is cut short)")
    if content[8:16] != b"\0\0\0\rIHDR":
        raise LeftOut("PNG is damaged: it does not begin with its header")
    width, height = struct.unpack(">II", content[16:24])
    check_size(height, width)
    view = memoryview(content)
    parts: list[bytes | memoryview] = [SIGNATURE]
    texts: dict[bytes, bytes] = {}
    at, name, whole = len(SIGNATURE), b"", True
    while name != b"IEND" and at < len(content):
        end = at + 12 + int.from_bytes(content[at : at + 4])
        name = content[at + 4 : at + 8]
        if name in _PIXELS:
            parts.append(view[at:end])
        elif name == b"acTL" and content[at + 8 : at + 12] != b"\0\0\0\1":
            raise LeftOut("picture has several frames: it is animated")
        elif name not in _HARMLESS:
            whole = False
            if name in _TEXTS:
                _add_text(texts, name, content[at + 8 : min(end - 4, at + 8 + _MOST_TEXT)])
        at = end
    if name != b"IEND":  # all rows may be there, nevertheless
        parts.append(_END)
        whole = False
    exif = texts.get(b"eXIf") or _from_hexadecimal(texts.get(b"Raw profile type exif", b""))
    orientation = read_orientation(exif, texts.get(b"XML:com.adobe.xmp", b""))
    return Pixels(decode_samples(content if whole else b"".join(parts)), orientation)


def decode_samples(content: bytes) -> np.ndarray:
    """(height, width) or (height, width, channels) of a PNG, as in Pixels. Raises LeftOut if they are damaged."""
    try:
        return np.asarray(imagecodecs.png_decode(content))
    except UnicodeDecodeError:  # imagecodecs gives some of libpng's messages as bytes that are no text
        raise LeftOut("image is damaged") from None
    except imagecodecs.PngError as error:
        said = one_line(str(error))
        raise LeftOut(
            f"image is damaged ({next((words for part, words in _SAID.items() if part in said), said)})"
        ) from None


def _add_text(texts: dict[bytes, bytes], name: bytes, data: bytes) -> None:
    """Add the beginning of what a chunk of _TEXTS says by its keyword, the first time, if that is one of _KEYWORDS."""
    keyword, _, rest = (name, b"", data) if name == b"eXIf" else data.partition(b"\0")
    if keyword not in _KEYWORDS or keyword in texts:
        return
    packed = name == b"zTXt" or (name == b"iTXt" and rest[:1] == b"\1")
    if name == b"zTXt":
        rest = rest[1:]
    elif name == b"iTXt":
        rest = rest[2:].partition(b"\0")[2].partition(b"\0")[2]  # past language and translated keyword
    try:
        texts[keyword] = zlib.decompressobj().decompress(rest, _MOST_TEXT) if packed else rest
    except zlib.error:
        texts[keyword] = b""


def _from_hexadecimal(text: bytes) -> bytes:
    """The EXIF block that ImageMagick writes as text: a name, a length, then hexadecimal digits."""
    try:
        return bytes.fromhex(text.split(None, 2)[2].decode("ascii"))
    except (ValueError, IndexError):
        return b""
