"""Pictures of every kind come back as the grey values they were made of."""

import gzip
import io

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from cxrflow.errors import LeftOut
from cxrflow.reading import format_of
from cxrflow.reading import pixels as module
from cxrflow.reading.picture import read_picture

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


@pytest.mark.parametrize("kind", ["TIFF", "WEBP", "PNG", "GIF"])
def test_several_frames_are_left_out(kind) -> None:
    others = [Image.fromarray(np.roll(GREY, n, axis=1)) for n in (5, 9)]
    with pytest.raises(LeftOut, match="several frames"):
        read_picture(saved(Image.fromarray(GREY), kind, save_all=True, append_images=others))


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


@pytest.mark.parametrize("name", ["PNG", "JPEG", "TIFF", "BMP", "GIF", "WebP", "JPEG 2000"])
def test_the_format_is_known_by_the_content(name) -> None:
    file = io.BytesIO()
    Image.new("L", (8, 8), 7).save(file, name.replace(" 2", "2"))
    assert format_of(file.getvalue()) == name
    assert format_of(gzip.compress(file.getvalue())) == "packed"


def test_a_dicom_file_is_known_by_its_preamble() -> None:
    assert format_of(bytes(128) + b"DICM") == "DICOM"
