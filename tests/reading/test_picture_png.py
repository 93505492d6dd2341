"""PNG: the pixels alone are decoded, whatever lies beside them."""

import io
import zlib
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from cxrflow.errors import LeftOut
from cxrflow.reading.picture import read_picture

GREY = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (48, 1))
GREY[:16, :16] = 200
WIDE = GREY.astype(np.uint16) * 257 + 3
ROWS = b"".join(b"\0" + row.tobytes() for row in GREY)


def saved(image: Image.Image, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG", **options)
    return out.getvalue()


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    """GREY as a PNG whose chunks are given, between its header and its end."""
    content = saved(Image.fromarray(GREY))
    made = (len(data).to_bytes(4) + name + data + zlib.crc32(name + data).to_bytes(4) for name, data in chunks)
    return content[:33] + b"".join(made) + content[-12:]


def test_read_however_the_pixels_are_laid_out() -> None:
    packed = zlib.compress(ROWS)
    content = png((b"pHYs", bytes(9)), (b"IDAT", packed[:7]), (b"IDAT", b""), (b"IDAT", packed[7:]))
    assert np.array_equal(read_picture(content), GREY)


def test_what_is_wrong_with_a_damaged_file_is_said() -> None:
    content = png((b"IDAT", zlib.compress(ROWS)))
    with pytest.raises(LeftOut, match=r"^image is damaged \(the file is cut short\)$"):
        read_picture(content[: content.index(b"IDAT") + 10])
    with pytest.raises(LeftOut, match=r"^image is damaged \(a checksum is wrong, so bytes were changed\)$"):
        read_picture(content[:-14] + bytes([content[-14] ^ 1]) + content[-13:])
    with pytest.raises(LeftOut, match=r"^image is damaged \(the compressed pixels cannot be unpacked, so bytes are"):
        read_picture(png((b"IDAT", zlib.compress(ROWS)[:-1] + b"!")))


@pytest.mark.parametrize(
    "packed",
    [zlib.compress(ROWS[:-1]), zlib.compress(ROWS)[:-3], zlib.compress(ROWS)[:-1] + b"!", b"no zlib"],
    ids=["short", "cut", "wrong sum", "other"],
)
def test_damaged_pixels_are_left_out(packed) -> None:
    with pytest.raises(LeftOut, match="image is damaged"):
        read_picture(png((b"IDAT", packed)))


def test_a_damaged_header() -> None:
    content = png((b"IDAT", zlib.compress(ROWS)))
    with pytest.raises(LeftOut, match="PNG is damaged: it does not begin with its header"):
        read_picture(content[:10] + b"N" + content[11:])
    with pytest.raises(LeftOut, match="image is damaged"):  # its checksum
        read_picture(content[:29] + b"\xa4\xa4\xa4\xa4" + content[33:])


def test_what_is_damaged_beside_the_pixels_does_not_count() -> None:
    content = png((b"iCCP", b"no profile"), (b"zTXt", b"Comment\0\0no zlib"), (b"IDAT", zlib.compress(ROWS)))
    assert np.array_equal(read_picture(content[:-12]), GREY)  # without an end, too
    assert np.array_equal(read_picture(content.replace(b"no profile", b"nO profile")), GREY)  # its checksum is wrong


@pytest.mark.parametrize("more", [1, 60_000_000], ids=["one byte", "a bomb"])
def test_what_follows_the_last_row_is_not_inflated_and_not_reported(more, capfd) -> None:
    content = png((b"IDAT", zlib.compress(ROWS + bytes(more))))
    assert grown_by(content) < 20_000
    assert np.array_equal(read_picture(content), np.asarray(Image.open(io.BytesIO(content))))
    assert capfd.readouterr() == ("", "")


def grown_by(content: bytes) -> int:
    """KiB by which the process grows at most while reading."""

    def resident(key: str) -> int:
        status = Path("/proc/self/status").read_text()
        return int(status.partition(f"{key}:")[2].split()[0])

    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # begins a new peak
    assert np.array_equal(read_picture(content), GREY)
    return resident("VmHWM") - before


@pytest.mark.parametrize(
    "chunk",
    [
        (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(60_000_000))),
        (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(bytes(60_000_000))),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(bytes(60_000_000))),
        (b"iCCP", b"profile\0\0" + zlib.compress(bytes(60_000_000))),
        (b"tEXt", b"Comment\0" + b"x" * 2_000_000),
    ],
    ids=["zTXt", "zTXt that may be EXIF", "iTXt that may be XMP", "iCCP", "tEXt"],
)
def test_text_and_profiles_of_any_size_cost_nothing(chunk) -> None:
    assert grown_by(png(chunk, (b"IDAT", zlib.compress(ROWS)))) < 20_000


def test_large_text_and_profiles_as_pillow_writes_them() -> None:
    """As OpenCV reads them; Pillow itself refuses them."""
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "x" * 2_000_000, zip=True)
    for content in (
        saved(Image.fromarray(GREY), pnginfo=text),
        saved(Image.fromarray(GREY), icc_profile=bytes(2_000_000)),
    ):
        assert np.array_equal(
            read_picture(content), cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
        )


@given(st.lists(st.integers(0, 65535), min_size=3, max_size=3))
def test_sixteen_bit_colour_keeps_its_depth(colour) -> None:
    rgb = np.tile(np.array(colour, np.uint16), (4, 5, 1))
    read = read_picture(imagecodecs.png_encode(rgb))
    assert read.dtype == np.uint16
    assert abs(int(read[0, 0]) - np.dot(colour, (0.299, 0.587, 0.114))) <= 1


def test_sixteen_bit_colour_of_greys_is_that_grey() -> None:
    content = cv2.imencode(".png", np.dstack([WIDE] * 3))[1].tobytes()
    assert np.array_equal(read_picture(content), WIDE)


ALPHA = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (48, 1))


def on_black(grey: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """By hand: the share of alpha of each grey."""
    return np.rint(grey / 1.0 * alpha / np.iinfo(alpha.dtype).max)


@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize(("grey", "alpha"), [(GREY, ALPHA), (WIDE, ALPHA.astype(np.uint16) * 257)], ids=["8", "16"])
def test_alpha_lies_on_black(channels, grey, alpha) -> None:
    read = read_picture(imagecodecs.png_encode(np.dstack([*[grey] * (channels - 1), alpha])))
    assert read.dtype == grey.dtype
    assert np.abs(read - on_black(grey, alpha)).max() <= 1


@pytest.mark.parametrize(
    ("image", "transparent"),
    [
        (Image.fromarray(GREY), 200),
        (Image.fromarray(GREY).convert("RGB"), (200, 200, 200)),
        (Image.fromarray(GREY).convert("P"), 200),
        (Image.fromarray(WIDE), 200 * 257 + 3),
    ],
    ids=["grey", "RGB", "palette", "grey of 16 bits"],
)
def test_one_transparent_colour_is_black(image, transparent) -> None:
    if image.mode == "P":
        image.putpalette([level for level in range(256) for _ in range(3)])
        image.frombytes(GREY.tobytes())
    read = read_picture(saved(image, transparency=transparent))
    whole = WIDE if image.mode == "I;16" else GREY
    assert np.array_equal(read, np.where(GREY == 200, 0, whole))


def test_palette_whose_entries_are_half_transparent() -> None:
    image = Image.fromarray(GREY).convert("P")
    image.putpalette([level for level in range(256) for _ in range(3)])
    image.frombytes(GREY.tobytes())
    read = read_picture(saved(image, transparency=bytes(range(256))))
    assert np.abs(read - on_black(GREY, GREY)).max() <= 1


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_reach_from_black_to_white(bits) -> None:
    image = Image.fromarray(np.arange(2**bits, dtype=np.uint8)[None].repeat(3, axis=0)).convert("P")
    image.putpalette([round(n * 255 / (2**bits - 1)) for n in range(2**bits) for _ in range(3)])
    assert np.array_equal(read_picture(saved(image, bits=bits))[0], np.rint(np.linspace(0, 255, 2**bits)))


@pytest.mark.parametrize(
    "name",
    ["XML:com.adobe.xmp", "Raw profile type exif"],
)
@pytest.mark.parametrize("packed", [False, True])
def test_turned_as_programs_write_it_as_text(name, packed) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    text = PngImagePlugin.PngInfo()
    if name.startswith("XML"):
        text.add_itxt(
            name, '<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>', zip=packed
        )
    else:
        block = exif.tobytes()
        text.add_text(name, f"\nexif\n{len(block):8d}\n{block.hex()}\n", zip=packed)
    read = read_picture(saved(Image.fromarray(GREY), pnginfo=text))
    assert np.array_equal(read, np.rot90(GREY, -1))


def test_an_animation_is_left_out_and_an_animation_of_one_frame_is_a_picture() -> None:
    pixels = (b"IDAT", zlib.compress(ROWS))
    assert np.array_equal(read_picture(png((b"acTL", b"\0\0\0\1\0\0\0\0"), pixels)), GREY)
    with pytest.raises(LeftOut, match="several frames: it is animated"):
        read_picture(png((b"acTL", b"\0\0\0\2\0\0\0\0"), pixels))


@given(cut=st.integers(0, 5_000), at=st.integers(0, 5_000), value=st.integers(0, 255))
def test_what_is_read_however_damaged_is_what_pillow_reads(cut, at, value) -> None:
    content = bytearray(saved(Image.fromarray(GREY)))
    if at < len(content):
        content[at] = value
    content = bytes(content[: len(content) - cut]) if cut < len(content) // 2 else bytes(content)
    try:
        read = read_picture(content)
        expected = np.asarray(Image.open(io.BytesIO(content)).convert("L"))
    except (LeftOut, OSError, SyntaxError, ValueError):
        return
    assert np.array_equal(read, expected)
