"""What a compressed picture declares inside: size, components, scans, tiles; read before anything is decoded.

A decoder takes memory for the size that the codestream declares, whatever the DICOM header around it says: 960 bytes
of JPEG can take 14 GB.
"""

import re
import struct
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from cxrflow.errors import LeftOut

if TYPE_CHECKING:
    import pydicom

#: A JPEG with more scans is not decoded: each scan of a progressive one costs as much as a whole picture.
MOST_SCANS = 100
#: A JPEG 2000 codestream may have this many tiles, and one more for each 1,024 pixels; each takes kilobytes.
_TILES = 64
#: Markers: end of image, start of scan, and frame headers (T.81, table B.1: SOF0 to SOF15 without DHT, JPG, DAC; T.87:
#: SOF55 of JPEG-LS).
EOI, SOS, SOF = 0xD9, 0xDA, frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
#: Markers without a segment: TEM, RST0 to RST7, SOI.
_ALONE = frozenset((0x01, *range(0xD0, 0xD9)))
#: A marker after entropy-coded data: neither a stuffed byte (a zero bit in JPEG-LS, a zero byte in JPEG) nor a restart.
_MARKER = re.compile(rb"\xff[\x80-\xcf\xd9-\xfe]")
_J2K, _JP2 = JPEG_2000 = b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  "


class Codestream(NamedTuple):
    """What a codestream declares.

    height, width  in pixels
    components     number of them
    parts          number of scans (JPEG) or tiles (JPEG 2000)
    whole          whether it is there to its end (JPEG)
    frame          marker of the frame header (JPEG), which names the process
    """

    height: int
    width: int
    components: int
    parts: int = 1
    whole: bool = True
    frame: int = 0


def check_frame(data: "pydicom.Dataset") -> None:
    """Raise LeftOut unless the pixels of ``data`` are one frame of the size that its header declares.

    Rows, Columns and BitsAllocated must be there. A transfer syntax that nothing here decodes passes.
    """
    # pydicom takes a quarter of a second to import, and pictures need it not.
    from pydicom.encaps import generate_fragments
    from pydicom.uid import JPEG2000TransferSyntaxes, JPEGLSTransferSyntaxes, JPEGTransferSyntaxes, RLELossless

    syntax = data.file_meta.TransferSyntaxUID
    samples, bits = int(data.get("SamplesPerPixel") or 1), int(data.BitsAllocated)
    if not syntax.is_encapsulated:
        if len(data.PixelData) >= 2 * -(-int(data.Rows) * int(data.Columns) * samples * bits // 8) > 0:
            raise LeftOut("DICOM holds several frames")
        return
    fragments = list(generate_fragments(data.PixelData))[1:]  # the first is the offset table
    if syntax == RLELossless:
        if len(fragments) != 1:
            raise LeftOut("DICOM holds several frames" if fragments else "DICOM holds no pixels")
        if bits % 8:
            raise LeftOut(f"RLE of {bits} bits a pixel, not whole bytes")
        _check_rle(fragments[0], samples * bits // 8)
        return
    read: Callable[[bytes], Codestream]
    if syntax in (*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes):
        start, read = b"\xff\xd8", read_jpeg
    elif syntax in JPEG2000TransferSyntaxes:
        start, read = _J2K, read_jpeg_2000
    else:
        return
    if sum(fragment.startswith((start, _JP2)) for fragment in fragments) > 1:
        raise LeftOut("DICOM holds several frames")
    found = read(b"".join(fragments))
    declared = int(data.Rows), int(data.Columns), samples
    if found[:3] != declared:
        raise LeftOut(
            f"the compressed picture is {found.width} x {found.height} x {found.components}, but the DICOM header says "
            f"{declared[1]} x {declared[0]} x {declared[2]}"
        )
    if not found.whole:  # decoders would fill the rest with grey
        raise LeftOut("image is damaged (the compressed picture is cut short)")


def segments(content: bytes) -> Iterator[tuple[int, int, int]]:
    """The marker, the start and the end of each segment of the first picture of a JPEG; its last is EOI if it is whole.

    Entropy-coded data, and stray bytes before a marker, are passed over as decoders do.
    """
    at = 2
    while len(content) > at + 1:
        if content[at] != 0xFF or content[at + 1] in (0, 0xFF):  # a stray byte or a fill byte
            if (at := content.find(0xFF, at + 1)) < 0:
                return
            continue
        marker = content[at + 1]
        if marker in _ALONE:
            at += 2
            continue
        if marker == EOI:
            yield marker, at, at + 2
            return
        end = at + 2 + max(int.from_bytes(content[at + 2 : at + 4]), 2)
        yield marker, at + 4, end
        at = end
        if marker == SOS:
            after = _MARKER.search(content, at)
            at = after.start() if after else len(content)


def read_jpeg(content: bytes, other: Callable[[int, int, int], None] = lambda *_: None) -> Codestream:
    """The frame header of a JPEG of any process (T.81) or a JPEG-LS (T.87), and its number of scans.

    other  called with the marker, start and end of every other segment
    Raises LeftOut if it has no frame header or two, or more than MOST_SCANS scans.
    """
    size: tuple[int, int, int] | None = None
    frame, scans, marker = 0, 0, 0
    for marker, start, end in segments(content):
        if marker in SOF:
            if size is not None or end - start < 6 or len(content) < start + 6:
                raise LeftOut("JPEG is damaged: it has two frame headers, or half of one")
            frame, size = marker, struct.unpack(">HHB", content[start + 1 : start + 6])
        elif marker == SOS:
            scans += 1
            if scans > MOST_SCANS:
                raise LeftOut(f"JPEG has more than {MOST_SCANS} scans")
        else:
            other(marker, start, end)
    if size is None:
        raise LeftOut("JPEG is damaged: it has no frame header")
    return Codestream(*size, scans, marker == EOI, frame)


def read_jpeg_2000(content: bytes) -> Codestream:
    """The SIZ segment of a JPEG 2000 or HTJ2K codestream (T.800, A.5.1), which may be in a JP2 file.

    Raises LeftOut if there is none, or if it declares too many tiles.
    """
    start = _codestream_in_jp2(content) if content.startswith(_JP2) else 0
    siz = content[start + 8 : start + 42] if content[start : start + 4] == _J2K else b""
    if len(siz) < 34:
        raise LeftOut("JPEG 2000 is damaged: it does not begin with a SIZ segment")
    right, bottom, left, top, tile_w, tile_h, tile_left, tile_top, components = struct.unpack(">8IH", siz)
    width, height = right - left, bottom - top
    if min(width, height, tile_w, tile_h) <= 0:
        raise LeftOut("JPEG 2000 is damaged: its size is not above 0")
    tiles = -(-(right - tile_left) // tile_w) * -(-(bottom - tile_top) // tile_h)
    if tiles > _TILES + width * height // 1024:
        raise LeftOut(f"JPEG 2000 has {tiles:,} tiles, too many for {width} x {height} pixels")
    return Codestream(height, width, components, tiles)


def _codestream_in_jp2(content: bytes) -> int:
    """Where the codestream of a JP2 file begins (T.800, I.5.4): in the first box named jp2c; 0 if there is none.

    A search for its first bytes would also find what another box holds, which no decoder reads.
    """
    at = 0
    while len(content) >= at + 8:
        length, name = int.from_bytes(content[at : at + 4]), content[at + 4 : at + 8]
        long = length == 1  # an extended length follows
        if name == b"jp2c":
            return at + (16 if long else 8)
        length = int.from_bytes(content[at + 8 : at + 16]) if long else length
        if length < 8:  # 0: to the end of the file
            break
        at += length
    return 0


def _check_rle(frame: bytes, segments: int) -> None:
    """Raise LeftOut unless an RLE frame (PS3.5, G.5) has this number of segments, in order and inside the frame."""
    if len(frame) < 64:
        raise LeftOut("RLE is damaged: its header is cut short")
    count, *offsets = struct.unpack("<16L", frame[:64])
    used = offsets[: min(count, 15)]
    if count != segments:
        raise LeftOut(f"RLE has {count} segments, but the DICOM header says {segments}")
    if used != sorted(used) or used[0] < 64 or used[-1] >= len(frame):
        raise LeftOut("RLE is damaged: its segments are out of order")
