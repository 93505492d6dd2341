"""TIFF of every layout, depth and kind of colour, and directories made to cost time or memory."""

import io
import itertools
import struct
import time

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from cxrflow.errors import LeftOut
from cxrflow.reading.picture import read_picture

GREY = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (48, 1))
GREY[:16, :16] = 200
WIDE = GREY.astype(np.uint16) * 257 + 3
SHORT, LONG = 3, 4


def tiff(pixels: np.ndarray, **options: object) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, pixels, **options)
    return out.getvalue()


def by_pillow(image: Image.Image, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, "TIFF", **options)
    return out.getvalue()


def with_tag(content: bytes, tag: int, value: int) -> bytes:
    """The content with the (short) value of a tag changed."""
    page = tifffile.TiffFile(io.BytesIO(content)).pages[0]
    at, order = page.tags[tag].valueoffset, page.parent.byteorder
    return content[:at] + struct.pack(order + "H", value) + content[at + 2 :]


LAYOUTS = {
    "plain": {},
    "big-endian": {"byteorder": ">"},
    "BigTIFF": {"bigtiff": True},
    "tiles": {"tile": (16, 16)},
    "strips": {"rowsperstrip": 5},
    "LZW and predictor": {"compression": "lzw", "predictor": True},
    "Deflate, tiles and predictor": {"compression": "zlib", "predictor": True, "tile": (32, 16)},
    "PackBits": {"compression": "packbits"},
    "Zstandard": {"compression": "zstd"},
    "LZMA": {"compression": "lzma"},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("pixels", [GREY, WIDE], ids=["8", "16"])
def test_grey_of_every_layout(layout, pixels) -> None:
    read = read_picture(tiff(pixels, **LAYOUTS[layout]))
    assert read.dtype == pixels.dtype
    assert np.array_equal(read, pixels)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("pixels", [GREY, WIDE], ids=["8", "16"])
def test_colour_of_every_layout_keeps_its_depth(layout, planar, pixels) -> None:
    colours = np.stack([pixels] * 3, axis=-1 if planar == "contig" else 0)
    read = read_picture(tiff(colours, photometric="rgb", planarconfig=planar, **LAYOUTS[layout]))
    assert read.dtype == pixels.dtype
    assert np.array_equal(read, pixels)


def test_sixteen_bit_colour_by_the_same_weights_as_eight() -> None:
    colours = np.random.default_rng(0).integers(0, 65536, (48, 64, 3)).astype(np.uint16)
    expected = colours @ np.array([0.299, 0.587, 0.114])
    content = tiff(colours, photometric="rgb")
    assert np.abs(read_picture(content) - expected).max() <= 1
    opencv = cv2.cvtColor(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED), cv2.COLOR_BGR2GRAY)
    assert np.abs(read_picture(content).astype(int) - opencv).max() <= 2


@pytest.mark.parametrize(("kind", "on_black"), [("unassalpha", True), ("assocalpha", False), ("unspecified", False)])
@pytest.mark.parametrize("pixels", [GREY, WIDE], ids=["8", "16"])
@pytest.mark.parametrize("channels", [1, 3])
def test_alpha_lies_on_black_unless_it_is_multiplied_already(kind, on_black, pixels, channels) -> None:
    half = np.full_like(pixels, np.iinfo(pixels.dtype).max // 2)
    photometric = "rgb" if channels == 3 else "minisblack"
    content = tiff(np.dstack([*[pixels] * channels, half]), photometric=photometric, extrasamples=[kind])
    expected = pixels / 2 if on_black else pixels
    assert np.abs(read_picture(content) - expected).max() <= 1


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_reach_from_black_to_white(bits) -> None:
    levels = np.tile(np.arange(32, dtype=np.uint8) % 2**bits, (8, 1))
    packed = np.packbits((levels[..., None] >> np.arange(bits)[::-1] & 1).reshape(8, -1), axis=1)
    content = with_tag(with_tag(tiff(packed), 258, bits), 256, 32)
    assert np.array_equal(read_picture(content), np.rint(levels * 255.0 / (2**bits - 1)))


def test_twelve_bits_packed() -> None:
    values = WIDE >> 4
    pairs = values.reshape(-1, 2).astype(int)
    packed = np.stack([pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255], axis=1)
    content = with_tag(with_tag(tiff(packed.astype(np.uint8).reshape(48, 96)), 258, 12), 256, 64)
    assert np.array_equal(read_picture(content), values)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.uint32, np.int32, np.float16, np.float32, np.float64])
def test_other_numbers_are_stretched(dtype) -> None:
    read = read_picture(
        tiff((GREY.astype(np.int32) * (1 if dtype != np.int8 else 0.5) - (dtype != np.uint32)).astype(dtype))
    )
    assert read.dtype == np.uint16
    if dtype == np.uint32:  # they have a place in 16 bits as they are
        assert np.array_equal(read, GREY)
    else:
        assert np.abs(read / 65535 - GREY / 252).max() < 0.01


@pytest.mark.parametrize("pixels", [GREY, WIDE, GREY / np.float32(255)], ids=["8", "16", "float"])
def test_white_is_zero(pixels) -> None:
    most = np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else pixels.dtype.type(1)
    read = read_picture(with_tag(tiff(most - pixels), 262, 0))
    assert np.abs(read / 1.0 - (pixels if pixels.dtype.kind == "u" else GREY * (65535 / 252))).max() <= 1


@pytest.mark.parametrize("mode", ["1", "P", "CMYK", "YCbCr", "RGB", "L"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_whatever_its_colours(mode, orientation) -> None:
    """libtiff turns some of them by half on its own."""
    image = Image.fromarray(GREY)
    image = image.quantize(64) if mode == "P" else image.convert("RGB").convert(mode)
    turn = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose that stores what the orientation undoes
    stored = image.transpose(Image.Transpose(turn[orientation])) if orientation > 1 else image
    read = read_picture(by_pillow(stored, tiffinfo={274: orientation}))
    assert np.abs(read.astype(int) - np.asarray(image.convert("RGB").convert("L"))).max() <= (2 if mode != "P" else 0)


@pytest.mark.parametrize("mode", ["L", "RGB", "YCbCr"])
def test_jpeg_inside(mode) -> None:
    content = by_pillow(Image.fromarray(GREY).convert(mode), compression="jpeg", quality=95)
    assert np.abs(read_picture(content).astype(int) - GREY).mean() < 3


def test_several_pages_are_left_out_and_previews_and_masks_are_no_pages() -> None:
    out = io.BytesIO()
    with tifffile.TiffWriter(out) as file:
        file.write(WIDE[::4, ::4], subfiletype=1)
        file.write(WIDE)
        file.write(GREY > 100, subfiletype=4)
    assert np.array_equal(read_picture(out.getvalue()), WIDE)
    with pytest.raises(LeftOut, match="several frames: 3 pages"):
        read_picture(tiff(np.stack([GREY] * 3), photometric="minisblack"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (by_pillow(Image.fromarray(GREY).convert("LAB")), "colours that are not read"),
        (tiff(np.dstack([WIDE] * 4), photometric="separated"), "of a kind that is not read"),
        (tiff(WIDE, compression="jpegxl"), "Compression 50002"),
        (with_tag(tiff(GREY), 258, 12), "image is damaged"),
        (with_tag(tiff(GREY, byteorder=">"), 258, 12), "of 12 bits a sample in an order"),
        (tiff(WIDE)[:-3000], "image is damaged"),
        (with_tag(tiff(GREY, compression="zlib"), 256, 0), "0 x 48 pixels"),
        (b"II*\0\0\0\0\0" + bytes(50), "no directory"),
        (tiff(GREY).replace(b"\x11\1\4\0", b"\x11\1\xff\0"), "TIFF is damaged"),  # the type of StripOffsets
        (b"II*\0\xff\xff\xff\x7f" + bytes(50), "outside the file"),
    ],
)
def test_left_out_with_the_reason(content, reason) -> None:
    with pytest.raises(LeftOut, match=reason):
        read_picture(content)


def directories(count: int, tags: int = 0, *, loop: bool = False) -> bytes:
    """A chain of directories, the first of them that of a picture of 1 x 1 pixel, the others of a tag repeated."""
    entries = [(256, SHORT, 1), (257, SHORT, 1), (258, SHORT, 8), (262, SHORT, 1), (273, SHORT, 0), (279, SHORT, 1)]
    first = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    others = struct.pack("<HHII", 254, LONG, 1, 1) * tags
    content, at = b"II*\0" + struct.pack("<I", 8), 8
    for number, block in zip(range(count), itertools.chain([first], itertools.repeat(others)), strict=False):
        at += 2 + len(block) + 4
        content += struct.pack("<H", len(block) // 12) + block
        content += struct.pack("<I", (8 if loop else 0) if number == count - 1 else at)
    return content


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (directories(3, loop=True), "form a loop"),
        (directories(1, loop=True), "form a loop"),
        (directories(2_000), "more than 1,000 directories"),
        (directories(2, 65_000), "directory of 65,000 tags"),
    ],
)
def test_directory_floods_cost_nothing(content, reason) -> None:
    began = time.process_time()
    with pytest.raises(LeftOut, match=reason):
        read_picture(content)
    assert time.process_time() - began < 1


def test_declared_sizes_are_not_believed() -> None:
    for tags, reason in (({256: 60_000, 257: 60_000}, "more than 100,000,000"), ({256: 9_000, 257: 9_000}, "damaged")):
        content = tiff(GREY)
        for tag, value in tags.items():
            content = with_tag(content, tag, value)
        with pytest.raises(LeftOut, match=reason):
            read_picture(content)
    tiles = tiff(GREY, tile=(16, 16))
    for tag in (322, 323):
        tiles = with_tag(tiles, tag, 65_520)
    with pytest.raises(LeftOut, match="tiles of more than"):
        read_picture(tiles)
