"""Pictures: every format, depth and transparency; damage; what was added to them."""

import zlib
from collections.abc import Iterator

import cv2
import imagecodecs
import numpy as np
from PIL import Image, PngImagePlugin

from bad_inputs import GREY, TWELVE, WIDE, File
from bad_inputs.encoded import picture, tiff

_IMAGE = Image.fromarray(GREY)
_RGB = _IMAGE.convert("RGB")
_HALF = np.full_like(GREY, 128)
#: Alpha that is 0 at the right, and what it leaves of GREY.
_ALPHA = np.where(np.arange(64) < 40, 255, 0).astype(np.uint8) * np.ones((48, 1), np.uint8)
_LEFT = np.where(_ALPHA > 0, GREY, 0)
_HUGE = 60_000_000


def inputs() -> Iterator[File]:
    """Formats and depths, transparency, orientation, frames, additions, damage."""
    for name, content in _formats():
        yield File("pictures, formats and depths", name, content, grey=GREY)
    for name, content in _transparent():
        yield File("pictures, transparency", name, content, grey=_LEFT)
    for name, content in _turned():
        yield File("pictures, orientation", name, content, grey=GREY)
    yield from _frames()
    for name, content in _added():
        yield File("pictures, texts, profiles, previews", name, content, grey=GREY)
    yield from _odd()
    yield from _damaged()


def _formats() -> Iterator[tuple[str, bytes]]:
    for mode in ("L", "P", "RGB", "RGBA", "LA"):
        yield f"PNG, {mode}", picture("PNG", _IMAGE.convert(mode))
    yield "PNG, interlaced", _interlaced()
    yield "PNG of 16 bits", picture("PNG", WIDE)
    yield "PNG of 16 bits in colour", imagecodecs.png_encode(np.dstack([WIDE] * 3))
    yield "PNG of 4 bits", picture("PNG", Image.fromarray(GREY).quantize(16, method=Image.Quantize.MEDIANCUT), bits=4)
    for mode in ("L", "RGB", "CMYK"):
        yield f"JPEG, {mode}", picture("JPEG", _RGB.convert(mode), quality=95)
    yield "JPEG, progressive", picture("JPEG", _RGB, quality=95, progressive=True)
    yield "JPEG that stores RGB", picture("JPEG", _RGB, quality=95, keep_rgb=True)
    yield "JPEG of 12 bits", imagecodecs.jpeg8_encode(TWELVE, bitspersample=12, level=95)
    yield "JPEG, lossless, of 16 bits", imagecodecs.jpeg8_encode(WIDE, bitspersample=16, lossless=True)
    yield "JPEG-LS", imagecodecs.jpegls_encode(WIDE)
    for codec in ("j2k", "jp2"):
        yield f"JPEG 2000 of 16 bits ({codec})", imagecodecs.jpeg2k_encode(WIDE, codecformat=codec, level=0)
    yield "JPEG 2000 in colour", imagecodecs.jpeg2k_encode(np.dstack([GREY] * 3), codecformat="jp2", level=0)
    yield "TIFF, P", picture("TIFF", _IMAGE.convert("P"))
    for mode in ("L", "RGB", "CMYK", "YCbCr"):
        yield f"TIFF, {mode}", picture("TIFF", _RGB.convert(mode))
    for name, options in {
        "tiles": {"tile": (16, 16)}, "Deflate, predictor": {"compression": "zlib", "predictor": True},
        "LZW": {"compression": "lzw"}, "big-endian": {"byteorder": ">"}, "BigTIFF": {"bigtiff": True},
    }.items():  # fmt: skip
        yield f"TIFF of 16 bits, {name}", tiff(WIDE, **options)
    yield "TIFF of 16 bits in colour", tiff(np.dstack([WIDE] * 3), photometric="rgb")
    yield "TIFF of 16 bits in planes", tiff(np.stack([WIDE] * 3), photometric="rgb", planarconfig="separate")
    for dtype in (np.int16, np.uint32, np.float32, np.float64):
        yield f"TIFF, {np.dtype(dtype)}", tiff(GREY.astype(dtype) * 100)
    yield "TIFF, 0 is white", tiff(255 - GREY, photometric="miniswhite")
    yield "TIFF, JPEG inside", picture("TIFF", _RGB, compression="jpeg", quality=95)
    for kind in ("BMP", "GIF", "WEBP"):
        yield kind, picture(kind, _IMAGE.convert("RGB") if kind == "WEBP" else _IMAGE)
    yield "WebP, lossless", picture("WEBP", _RGB, lossless=True)
    yield "BMP of 24 bits", picture("BMP", _RGB)


def _interlaced() -> bytes:
    """Adam7 (PNG, 8.2): seven smaller pictures one after the other."""
    starts = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    rows = (row for top, left, down, right in starts for row in GREY[top::down, left::right])
    return png((b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))), interlaced=True)


def png(*chunks: tuple[bytes, bytes], interlaced: bool = False) -> bytes:
    """A grey PNG of 8 bits whose chunks are given, between its header and its end."""
    header = (64).to_bytes(4) + (48).to_bytes(4) + bytes([8, 0, 0, 0, interlaced])
    parts = [
        len(data).to_bytes(4) + name + data + zlib.crc32(name + data).to_bytes(4)
        for name, data in ((b"IHDR", header), *chunks, (b"IEND", b""))
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


_PIXELS = (b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in GREY)))


def _transparent() -> Iterator[tuple[str, bytes]]:
    wide = _ALPHA.astype(np.uint16) * 257
    yield "PNG, alpha", imagecodecs.png_encode(np.dstack([GREY] * 3 + [_ALPHA]))
    yield "PNG, grey and alpha", imagecodecs.png_encode(np.dstack([GREY, _ALPHA]))
    yield "PNG of 16 bits, alpha", imagecodecs.png_encode(np.dstack([WIDE] * 3 + [wide]))
    yield "PNG of 16 bits, grey and alpha", imagecodecs.png_encode(np.dstack([WIDE, wide]))
    hidden = np.where(_ALPHA > 0, GREY, 7)  # 7 is no grey level of the rest
    yield "PNG, a transparent grey level", picture("PNG", hidden, transparency=7)
    yield "PNG, a transparent colour", picture("PNG", Image.fromarray(hidden).convert("RGB"), transparency=(7, 7, 7))
    yield "PNG of 16 bits, a transparent level", picture("PNG", hidden.astype(np.uint16) * 257, transparency=7 * 257)
    palette = Image.fromarray(hidden, "P")
    palette.putpalette([level for level in range(256) for _ in range(3)])
    yield "PNG, a transparent palette entry", picture("PNG", palette, transparency=7)
    yield "PNG, a palette with alpha", picture("PNG", palette, transparency=bytes(7 * [255] + [0] + 248 * [255]))
    yield "GIF, a transparent palette entry", picture("GIF", palette, transparency=7)
    yield "TIFF, alpha", tiff(np.dstack([GREY] * 3 + [_ALPHA]), photometric="rgb", extrasamples=["unassalpha"])
    yield "TIFF of 16 bits, alpha", tiff(np.dstack([WIDE] * 3 + [wide]), photometric="rgb", extrasamples=["unassalpha"])
    yield (
        "TIFF, multiplied by alpha",
        tiff(np.dstack([_LEFT] * 3 + [_ALPHA]), photometric="rgb", extrasamples=["assocalpha"]),
    )
    yield "WebP, alpha", picture("WEBP", Image.fromarray(np.dstack([GREY] * 3 + [_ALPHA])), lossless=True)
    yield "JPEG 2000, alpha", imagecodecs.jpeg2k_encode(np.dstack([GREY] * 3 + [_ALPHA]), codecformat="jp2", level=0)


def _turned() -> Iterator[tuple[str, bytes]]:
    stored = Image.fromarray(np.ascontiguousarray(np.rot90(GREY)))  # what orientation 6 undoes
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in ("PNG", "JPEG", "WEBP", "TIFF"):
        image = stored.convert("RGB") if kind == "WEBP" else stored
        yield f"{kind}, by EXIF", picture(kind, image, exif=exif, **({"quality": 95} if kind == "JPEG" else {}))
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", '<a xmlns:tiff="x" tiff:Orientation="6"/>')
    yield "PNG, by XMP", picture("PNG", stored, pnginfo=text)
    for orientation in (0, 9, 65535):
        exif[0x0112] = orientation
        yield f"JPEG, orientation {orientation}", picture("JPEG", GREY, exif=exif, quality=95)


def _frames() -> Iterator[File]:
    kind = "pictures, pages and frames"
    others = [Image.fromarray(np.roll(GREY, n, axis=1)) for n in (5, 9)]
    for name in ("PNG", "WEBP", "GIF", "TIFF"):
        content = picture(name, _IMAGE, save_all=True, append_images=others)
        yield File(kind, f"{name} of three frames", content, "left out", "several frames")
    preview = tiff(GREY, subifds=0) if False else _tiff_with_preview()
    yield File(kind, "TIFF with a preview", preview, grey=GREY)
    for added in (_RGB.resize((16, 12)), Image.fromarray(255 - GREY).convert("RGB")):
        content = picture("MPO", _RGB, save_all=True, append_images=[added], quality=95)
        yield File(kind, f"JPEG of a phone, with a picture of {added.width} x {added.height}", content, grey=GREY)


def _tiff_with_preview() -> bytes:
    import io

    import tifffile

    out = io.BytesIO()
    with tifffile.TiffWriter(out) as file:
        file.write(GREY)
        file.write(GREY[::4, ::4], subfiletype=1)
    return out.getvalue()


def _added() -> Iterator[tuple[str, bytes]]:
    packed = zlib.compress(bytes(_HUGE))
    yield "PNG, text of 2 MB", png((b"tEXt", b"Comment\0" + b"x" * 2_000_000), _PIXELS)
    yield "PNG, text that inflates to 60 MB", png((b"zTXt", b"Comment\0\0" + packed), _PIXELS)
    yield "PNG, profile that inflates to 60 MB", png((b"iCCP", b"profile\0\0" + packed), _PIXELS)
    yield "PNG, XMP that inflates to 60 MB", png((b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + packed), _PIXELS)
    yield "PNG, profile that is none", png((b"iCCP", b"no profile"), _PIXELS)
    yield "PNG, gamma of 1e-5", png((b"gAMA", (1).to_bytes(4)), _PIXELS)
    yield "PNG, unknown chunks", png(*[(b"abCd", b"x")] * 5_000, _PIXELS)
    for kind in ("JPEG", "TIFF", "WEBP"):
        image = _RGB if kind == "WEBP" else _IMAGE
        yield f"{kind}, profile of 500 KB", picture(kind, image, icc_profile=bytes(500_000), quality=95)
    jpeg = picture("JPEG", _IMAGE, quality=95)
    yield "JPEG, text of 6 MB", jpeg[:2] + (b"\xff\xfe\xff\xff" + bytes(65_533)) * 100 + jpeg[2:]
    yield "JPEG, a film behind it", jpeg + b"\0\0\0\x18ftypmp42" + bytes(5_000_000)
    yield "JPEG, EXIF that is none", jpeg[:2] + b"\xff\xe1\0\x10Exif\0\0II*\0\xff\xff\xff\xff" + jpeg[2:]


def _odd() -> Iterator[File]:
    kind = "pictures, odd contents"
    yield File(kind, "1 x 1 pixel", picture("PNG", GREY[:1, :1]))
    yield File(kind, "1 x 5,000 pixels", picture("PNG", np.arange(5_000, dtype=np.uint16)[None]))
    yield File(kind, "white everywhere", picture("PNG", np.full((48, 64), 255, np.uint8)))
    yield File(kind, "black everywhere", picture("JPEG", np.zeros((48, 64), np.uint8)))
    yield File(kind, "transparent everywhere", picture("PNG", Image.new("RGBA", (64, 48))))
    for value in (np.nan, np.inf):
        values = GREY.astype(np.float32)
        values[3, 3] = value
        yield File(kind, f"TIFF, float, one {value}", tiff(values), "left out", "not numbers")
    yield File(kind, "TIFF, L*a*b*", picture("TIFF", _RGB.convert("LAB")), "left out", "colours that are not read")
    yield File(kind, "TIFF, JPEG XL inside", tiff(WIDE, compression="jpegxl"), "left out", "method that is not read")
    for name in ("AVIF", "ICO", "PPM", "PSD"):
        content = b"8BPS\0\1" + bytes(50) if name == "PSD" else picture(name, _IMAGE)
        yield File(kind, name, content, "left out", "convert it to PNG")
    yield File(kind, "HEIC", b"\0\0\0\x18ftypheic" + bytes(50), "left out", "HEIC picture")
    yield File(kind, "JPEG XL", imagecodecs.jpegxl_encode(GREY), "left out", "JPEG XL picture")


def _damaged() -> Iterator[File]:
    kind = "pictures, damaged"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    whole = {name: picture(name, noise) for name in ("PNG", "JPEG", "TIFF", "BMP", "GIF")}
    whole |= {
        "WebP": picture("WEBP", Image.fromarray(noise).convert("RGB")),
        "JPEG 2000": imagecodecs.jpeg2k_encode(noise),
    }
    for name, content in whole.items():
        yield File(kind, f"{name}, its second half missing", content[: len(content) // 2], "left out", "damaged")
    for name in ("PNG", "GIF"):
        changed = bytearray(whole[name])
        changed[len(changed) // 2] ^= 255
        yield File(kind, f"{name}, one byte changed", bytes(changed), "left out", "damaged")
    yield File(kind, "JPEG, a stray marker in it", _with(whole["JPEG"], b"\xff\xc4"), "left out", "damaged")
    yield File(kind, "PNG without its end", whole["PNG"][:-12])
    yield File(kind, "PNG, sent as text", whole["PNG"].replace(b"\r\n", b"\n"), "left out", "no known picture")
    yield File(kind, "JPEG, only its header", whole["JPEG"][:30], "left out", "damaged")
    _, encoded = cv2.imencode(".png", noise)
    yield File(kind, "PNG with a second one behind it", encoded.tobytes() * 2)


def _with(content: bytes, marker: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + marker + content[middle + len(marker) :]
