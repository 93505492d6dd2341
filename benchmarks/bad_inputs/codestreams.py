"""Sizes, scans, tiles and directories that are declared to cost memory or time."""

import struct
import zlib
from collections.abc import Iterator

import imagecodecs
import numpy as np
from PIL import Image
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from bad_inputs import GREY, TWELVE, File
from bad_inputs.encoded import dicom, picture, tiff
from bad_inputs.pictures import png

_JPEG = picture("JPEG", GREY, quality=95)


def inputs() -> Iterator[File]:
    """Inside pictures, and inside DICOM."""
    yield from _in_pictures()
    yield from _in_dicom()


def with_size(content: bytes, marker: bytes, size: tuple[int, int]) -> bytes:
    """A JPEG or JPEG-LS with another size (height, width) in its frame header."""
    at = content.index(marker) + 5
    return content[:at] + struct.pack(">HH", *size) + content[at + 4 :]


def with_siz(content: bytes, side: int) -> bytes:
    """A JPEG 2000 with another size in its SIZ segment."""
    at = content.index(b"\xff\x4f\xff\x51") + 8
    return content[:at] + struct.pack(">II", side, side) + content[at + 8 :]


def _in_pictures() -> Iterator[File]:
    kind, much = "declared sizes and floods, pictures", "more than 100,000,000 pixels"
    yield File(kind, "PNG of 400 million pixels in 48 KB", _large_png, "left out", much)
    yield File(kind, "PNG with 60 MB behind its last row", _long, grey=GREY)
    yield File(kind, "JPEG of 65,500 x 65,500", with_size(_JPEG, b"\xff\xc0", (65_500, 65_500)), "left out", much)
    yield File(kind, "JPEG of height 0", with_size(_JPEG, b"\xff\xc0", (0, 64)), "left out", "64 x 0")
    progressive = picture("JPEG", GREY, progressive=True)
    scan = progressive[progressive.rindex(b"\xff\xda") : -2]
    yield File(
        kind,
        "JPEG of 60,000 scans",
        lambda: progressive[:-2] + scan * 60_000 + progressive[-2:],
        "left out",
        "more than 100 scans",
    )
    large = with_size(progressive[:-2] + scan * 60 + progressive[-2:], b"\xff\xc2", (9_500, 9_500))
    yield File(kind, "JPEG of 60 scans of 9,500 x 9,500", large, "left out", "scans, too many")
    ls = with_size(imagecodecs.jpegls_encode(GREY), b"\xff\xf7", (65_000, 65_000))
    yield File(kind, "JPEG-LS of 65,000 x 65,000", ls, "left out", much)
    for codec in ("j2k", "jp2"):
        content = with_siz(imagecodecs.jpeg2k_encode(GREY, codecformat=codec), 60_000)
        yield File(kind, f"JPEG 2000 of 60,000 x 60,000 ({codec})", content, "left out")
    hidden = imagecodecs.jpeg2k_encode(GREY, codecformat="jp2")
    fake = imagecodecs.jpeg2k_encode(GREY, codecformat="j2k")[:60]
    box = struct.pack(">I4s", 8 + len(fake), b"uuid") + fake
    content = hidden[:12] + box + with_siz(hidden, 60_000)[12:]
    yield File(kind, "JPEG 2000 of 60,000 x 60,000 behind a small one", content, "left out")
    for tags in ({256: 60_000, 257: 60_000}, {256: 9_900, 257: 9_900}):
        yield File(kind, f"TIFF of {tags[256]:,} x {tags[256]:,}", _with_tags(tiff(GREY), tags), "left out")
    tiles = _with_tags(tiff(GREY, tile=(16, 16)), {322: 65_520, 323: 65_520})
    yield File(kind, "TIFF, tiles of 65,520 x 65,520", tiles, "left out", "tiles")
    yield File(
        kind, "TIFF of 100,000 directories", lambda: _directories(100_000), "left out", "more than 1,000 directories"
    )
    yield File(kind, "TIFF whose directories form a loop", _directories(3, loop=True), "left out", "loop")
    for name in ("GIF", "BMP", "WEBP"):
        content = bytearray(picture(name, Image.new("RGB", (64, 48))))
        at = {"GIF": 6, "BMP": 18, "WEBP": 26}[name]
        width = {"GIF": b"\xff\xff\xff\xff", "BMP": b"\0\0\1\0\0\0\1\0", "WEBP": b"\xff\x3f\xff\x3f"}[name]
        content[at : at + len(width)] = width
        yield File(kind, f"{name}, its size made large", bytes(content), "left out")


def _large_png() -> bytes:
    return picture("PNG", Image.new("1", (20_000, 20_000)))


def _long() -> bytes:
    rows = b"".join(b"\0" + row.tobytes() for row in GREY)
    return png((b"IDAT", zlib.compress(rows + bytes(60_000_000))))


def _with_tags(content: bytes, tags: dict[int, int]) -> bytes:
    changed, first = bytearray(content), int.from_bytes(content[4:8], "little")
    for n in range(int.from_bytes(content[first : first + 2], "little")):
        at = first + 2 + 12 * n
        if (value := tags.get(int.from_bytes(content[at : at + 2], "little"))) is not None:
            changed[at + 8 : at + 12] = value.to_bytes(4, "little")
    return bytes(changed)


def _directories(count: int, *, loop: bool = False) -> bytes:
    """A chain of directories without tags."""
    steps = [struct.pack("<HI", 0, 8 + 6 * (n + 1)) for n in range(count - 1)]
    return b"II*\0\x08\0\0\0" + b"".join(steps) + struct.pack("<HI", 0, 8 if loop else 0)


def _in_dicom() -> Iterator[File]:
    kind = "declared sizes and floods, DICOM"
    lossless = imagecodecs.ljpeg_encode(TWELVE)
    streams = {
        "JPEG Baseline": (GREY, JPEGBaseline8Bit, _JPEG, with_size(_JPEG, b"\xff\xc0", (65_500, 65_500))),
        "JPEG Lossless": (TWELVE, JPEGLosslessSV1, lossless, with_size(lossless, b"\xff\xc3", (65_500, 65_500))),
    }
    extended = imagecodecs.jpeg8_encode(TWELVE, bitspersample=12, level=98)
    streams["JPEG Extended"] = (TWELVE, JPEGExtended12Bit, extended, with_size(extended, b"\xff\xc1", (65_500, 65_500)))
    ls = imagecodecs.jpegls_encode(TWELVE)
    streams["JPEG-LS"] = (TWELVE, JPEGLSLossless, ls, with_size(ls, b"\xff\xf7", (65_000, 65_000)))
    j2k = imagecodecs.jpeg2k_encode(TWELVE, codecformat="j2k", bitspersample=12, level=0)
    streams["JPEG 2000"] = (TWELVE, JPEG2000Lossless, j2k, with_siz(j2k, 60_000))
    for name, (pixels, syntax, good, bad) in streams.items():
        how = {"syntax": syntax, "bits": 12 if pixels is TWELVE else 8}
        yield File(kind, f"{name} as declared", dicom(pixels, compressed=good, **how), grey=GREY)
        yield File(kind, f"{name} of another size than declared", dicom(pixels, compressed=bad, **how), "left out")
        yield File(kind, f"{name}, cut", dicom(pixels, compressed=good[: len(good) // 2], **how), "left out")
        yield File(kind, f"{name}, random bytes", dicom(pixels, compressed=bytes(range(256)), **how), "left out")
    yield File(kind, "RLE without segments", dicom(GREY, syntax=RLELossless, compressed=bytes(64)), "left out")
    yield File(kind, "more pixels declared than there are", dicom(GREY, Rows=4_000), "left out")
    yield File(kind, "two frames, one declared", dicom(np.vstack([GREY, GREY]), Rows=48), "left out", "several frames")
    yield File(kind, "60,000 x 60,000 declared", dicom(GREY, Rows=60_000, Columns=60_000), "left out", "more than")
    yield File(kind, "its second half missing", dicom(GREY)[: len(dicom(GREY)) // 2], "left out")
    yield File(kind, "deflated, 300 MB", _deflated, "left out", "inflates to more than")


def _deflated() -> bytes:
    content = dicom(GREY, syntax=DeflatedExplicitVRLittleEndian)
    start = content.index(DeflatedExplicitVRLittleEndian.encode())
    meta = content[: start + len(DeflatedExplicitVRLittleEndian)]
    meta += b"\0" * (len(meta) % 2)
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    zeros = packer.compress(b"\x08\0\x05\0CS\0\0" * 40_000_000) + packer.flush()
    # The group length of the meta information has to end here.
    length = (len(meta) - 144).to_bytes(4, "little")
    return meta[:140] + length + meta[144:] + zeros
