"""Pictures of every kind come back as the grey values they were made of."""

import io
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from cxrflow.errors import LeftOut
from cxrflow.reading import picture as module
from cxrflow.reading.picture import read_picture
from cxrflow.reading.plain import read_plain

#: A slope from dark to bright, with one corner that tells which way is up (height 48, width 64).
GREY = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (48, 1))
GREY[:16, :16] = 200
WIDE = GREY.astype(np.uint16) * 200 + 7


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "LA", "CMYK"])
def test_grey_of_every_mode_without_loss(kind, mode) -> None:
    image = Image.fromarray(GREY)
    image = image.convert("RGB").convert(mode) if mode == "CMYK" else image.convert(mode)
    if (kind, mode) in {("PNG", "CMYK"), ("BMP", "CMYK"), ("BMP", "LA")}:
        with pytest.raises(OSError, match="cannot write"):
            saved(image, kind)
        return
    read = read_picture(saved(image, kind))
    assert read.dtype == np.uint8
    assert np.abs(read.astype(int) - GREY).max() <= (3 if mode == "P" else 1)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_jpeg_that_is_damaged_in_the_middle_is_left_out(mode) -> None:
    """A stray marker in the scan: what follows would be a grey field."""
    noise = np.random.default_rng(0).integers(0, 256, (160, 160)).astype(np.uint8)
    content = bytearray(saved(Image.fromarray(noise).convert(mode), "JPEG", quality=90))
    middle = len(content) // 2
    content[middle : middle + 2] = b"\xff\xc4"
    with pytest.raises(LeftOut, match="damaged"):
        read_picture(bytes(content))


def test_a_png_is_turned_by_what_adobe_wrote_in_it() -> None:
    xmp = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    )
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", xmp)
    content = saved(Image.fromarray(GREY), "PNG", pnginfo=text)
    assert np.array_equal(read_picture(content), np.rot90(GREY, -1))


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_lossy_kinds_come_close(kind, mode) -> None:
    image = Image.fromarray(GREY).convert("RGB").convert(mode if (kind, mode) != ("WEBP", "CMYK") else "RGB")
    read = read_picture(saved(image, kind, quality=95))
    assert np.abs(read.astype(int) - GREY).mean() < 3


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_stay_sixteen_bits(kind) -> None:
    read = read_picture(saved(Image.fromarray(WIDE), kind))
    assert read.dtype == np.uint16
    assert np.array_equal(read, WIDE)


def test_float_is_stretched_and_not_a_number_is_left_out() -> None:
    values = GREY.astype(np.float32) / 255
    read = read_picture(saved(Image.fromarray(values), "TIFF"))
    assert np.abs(read / 65535 - (values - values.min()) / np.ptp(values)).max() < 1e-4
    values[0, 0] = np.nan
    with pytest.raises(LeftOut, match="not numbers"):
        read_picture(saved(Image.fromarray(values), "TIFF"))


@pytest.mark.parametrize("grey", [GREY, WIDE], ids=["8 bits", "16 bits"])
def test_tiff_whose_zero_is_white_is_turned(grey) -> None:
    white = np.iinfo(grey.dtype).max
    content = bytearray(saved(Image.fromarray(white - grey), "TIFF"))
    tag = content.index(b"\x06\x01\x03\x00\x01\x00\x00\x00")  # 262, one short
    assert content[tag + 8] == 1
    content[tag + 8] = 0
    assert np.array_equal(read_picture(bytes(content)), grey)


def test_what_is_transparent_becomes_air() -> None:
    alpha = np.where(np.arange(64) < 32, 0, 255).astype(np.uint8) * np.ones((48, 1), dtype=np.uint8)
    read = read_picture(saved(Image.fromarray(np.dstack([GREY, GREY, GREY, alpha])), "PNG"))
    assert (read[:, :32] == 0).all()
    assert np.array_equal(read[:, 32:], GREY[:, 32:])


@pytest.mark.parametrize(
    ("orientation", "undo"),
    [(1, lambda a: a), (3, lambda a: a[::-1, ::-1]), (6, lambda a: np.rot90(a, 1)), (8, lambda a: np.rot90(a, -1))],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_upright_by_exif(kind, orientation, undo) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95} if kind == "JPEG" else {}
    read = read_picture(saved(Image.fromarray(np.ascontiguousarray(undo(GREY))), kind, exif=exif, **options))
    assert read.shape == GREY.shape
    assert np.abs(read.astype(int) - GREY).mean() < 3


@pytest.mark.parametrize("kind", ["TIFF", "WEBP", "PNG"])
def test_several_frames_are_left_out(kind) -> None:
    others = [Image.fromarray(np.roll(GREY, n, axis=1)) for n in (5, 9)]
    with pytest.raises(LeftOut, match="several frames"):
        read_picture(saved(Image.fromarray(GREY), kind, save_all=True, append_images=others))


def test_other_formats_are_left_out() -> None:
    with pytest.raises(LeftOut, match="not an image"):
        read_picture(saved(Image.fromarray(GREY), "GIF"))


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    """GREY as a PNG whose chunks are given, between its header and its end."""
    content = saved(Image.fromarray(GREY), "PNG")
    made = (len(data).to_bytes(4) + name + data + zlib.crc32(name + data).to_bytes(4) for name, data in chunks)
    return content[:33] + b"".join(made) + content[-12:]


ROWS = b"".join(b"\0" + row.tobytes() for row in GREY)


def test_a_plain_png_is_read_however_its_pixels_are_laid_out() -> None:
    packed = zlib.compress(ROWS)
    content = png((b"pHYs", bytes(9)), (b"IDAT", packed[:7]), (b"IDAT", b""), (b"IDAT", packed[7:]))
    assert np.array_equal(read_plain(content, GREY.size), GREY)
    assert read_plain(content, GREY.size - 1) is None


@pytest.mark.parametrize(
    "packed",
    [zlib.compress(ROWS[:-1]), zlib.compress(ROWS)[:-3], zlib.compress(ROWS)[:-1] + b"!", b"no zlib"],
    ids=["short", "cut", "wrong sum", "other"],
)
def test_a_png_whose_pixels_are_damaged_is_not_plain(packed) -> None:
    assert read_plain(png((b"IDAT", packed)), GREY.size) is None


@pytest.mark.parametrize("more", [1, 60_000_000], ids=["one byte", "a bomb"])
def test_what_follows_the_last_row_of_a_png_is_not_inflated_and_not_reported(more, capfd) -> None:
    """As Pillow does."""
    content = png((b"IDAT", zlib.compress(ROWS + bytes(more))))

    def resident(key: str) -> int:
        status = Path("/proc/self/status").read_text()
        return int(status.partition(f"{key}:")[2].split()[0])  # KiB

    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # begins a new peak
    found = read_plain(content, GREY.size)
    assert resident("VmHWM") - before < 20_000
    assert np.array_equal(found, GREY)
    assert np.array_equal(found, np.asarray(Image.open(io.BytesIO(content))))
    assert capfd.readouterr() == ("", "")


NOISE = np.random.default_rng(0).integers(0, 256, (48, 64)).astype(np.uint8)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": "4:2:0"}, {"restart_marker_blocks": 2}])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_plain_jpeg_is_read_however_it_is_coded_and_only_as_a_whole(mode, options) -> None:
    content = saved(Image.fromarray(NOISE).convert(mode), "JPEG", quality=90, **options)
    with Image.open(io.BytesIO(content)) as image:
        image.draft("L", image.size)
        expected = np.asarray(image.convert("L"))
    assert np.array_equal(read_plain(content, NOISE.size), expected)
    assert read_plain(content, NOISE.size - 1) is None
    end = b"\xff\xd9"
    middle = len(content) * 2 // 3
    for damaged in (content[:-2], content[:middle] + end + content[middle:], content + b"!", content[:50] + end):
        assert read_plain(damaged, NOISE.size) is None


def test_a_jpeg_that_is_no_ycbcr_is_left_to_pillow() -> None:
    """Adobe's marker says RGB: its first component is no luminance."""
    colours = np.dstack([NOISE, NOISE // 2, 255 - NOISE])
    content = saved(Image.fromarray(colours), "JPEG", quality=95, keep_rgb=True)
    assert read_plain(content, NOISE.size) is None
    assert np.abs(read_picture(content).astype(int) - np.asarray(Image.fromarray(colours).convert("L"))).mean() < 3


@given(
    cut=st.integers(0, 5_000),
    at=st.integers(0, 5_000),
    value=st.integers(0, 255),
    kind=st.sampled_from(["PNG", "JPEG"]),
)
def test_plain_pictures_are_the_same_as_pillows_however_damaged(cut, at, value, kind) -> None:
    """Whatever is read by the short way, Pillow reads alike."""
    content = bytearray(saved(Image.fromarray(GREY), kind))
    if at < len(content):
        content[at] = value
    content = bytes(content[: len(content) - cut]) if cut < len(content) // 2 else bytes(content)
    short = read_plain(content, GREY.size)
    if short is not None:
        with Image.open(io.BytesIO(content)) as image:
            if image.format == "JPEG":
                image.draft("L", image.size)
            assert np.array_equal(short, np.asarray(image.convert("L")))


def test_too_many_pixels_are_not_decoded(monkeypatch) -> None:
    content = saved(Image.fromarray(GREY), "PNG")
    monkeypatch.setattr(module, "LARGEST_IMAGE", GREY.size)
    assert read_picture(content).size == GREY.size
    monkeypatch.setattr(module, "LARGEST_IMAGE", GREY.size - 1)
    with pytest.raises(LeftOut, match="more than 3,071 pixels"):
        read_picture(content)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "WEBP"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_cut_short_is_left_out(kind, share) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    content = saved(Image.fromarray(noise), kind)
    with pytest.raises(LeftOut, match=r"damaged|not an image"):
        read_picture(content[: int(len(content) * share)])
