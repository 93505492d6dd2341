"""JPEG of every process, and the first picture of files that hold more."""

import io

import cv2
import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cxrflow.errors import LeftOut
from cxrflow.reading.picture import read_picture

NOISE = np.random.default_rng(0).integers(0, 256, (48, 64)).astype(np.uint8)
SMOOTH = cv2.GaussianBlur(NOISE, (0, 0), 4)
WIDE = cv2.normalize(SMOOTH.astype(np.float32), None, 0, 4095, cv2.NORM_MINMAX).astype(np.uint16)


def saved(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def by_pillow(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        image.draft("L", image.size)
        return np.asarray(image.convert("L"))


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": "4:2:0"}, {"restart_marker_blocks": 2}])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_read_however_it_is_coded_and_only_as_a_whole(mode, options) -> None:
    content = saved(Image.fromarray(NOISE).convert(mode), quality=90, **options)
    assert np.array_equal(read_picture(content), by_pillow(content))
    assert np.array_equal(read_picture(content + b"whatever follows"), by_pillow(content))
    for damaged in (content[:-2], content[: len(content) * 2 // 3]):
        with pytest.raises(LeftOut, match="image is damaged"):
            read_picture(damaged)


@pytest.mark.parametrize("preview", [Image.fromarray(NOISE[:12, :16]), Image.fromarray(255 - NOISE)])
def test_the_first_picture_of_a_phones_jpeg(preview) -> None:
    """With a preview or a gain map behind it (CIPA DC-007, multi-picture format)."""
    photo = Image.fromarray(NOISE).convert("RGB")
    content = saved(photo, "MPO", save_all=True, append_images=[preview.convert("RGB")], quality=95)
    assert Image.open(io.BytesIO(content)).n_frames == 2
    read = read_picture(content)
    assert np.array_equal(read, cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE))
    assert np.abs(read.astype(int) - NOISE).mean() < 3


def test_a_preview_inside_exif_is_not_the_picture() -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    content = saved(
        Image.fromarray(NOISE), quality=95, exif=b"Exif\0\0" + exif.tobytes()[6:] + saved(Image.fromarray(SMOOTH))
    )
    assert np.abs(read_picture(content).astype(int) - NOISE[::-1, ::-1]).mean() < 3


def test_colours_that_are_no_ycbcr() -> None:
    """Adobe's marker says RGB: its first component is no luminance."""
    colours = np.dstack([NOISE, NOISE // 2, 255 - NOISE])
    content = saved(Image.fromarray(colours), quality=95, keep_rgb=True)
    assert np.abs(read_picture(content).astype(int) - np.asarray(Image.fromarray(colours).convert("L"))).mean() < 3


@pytest.mark.parametrize("adobe", [True, False])
def test_inks(adobe) -> None:
    """Adobe's programs store 255 for no ink, and say so by their marker; without it, 0 is no ink."""
    colour, black = SMOOTH, SMOOTH // 2
    content = saved(Image.fromarray(np.dstack([colour, colour, colour, black]), "CMYK"), quality=98)  # as Adobe does
    expected = (255.0 - colour) * (255.0 - black) / 255
    if not adobe:
        marker = content.index(b"\xff\xee\0\x0eAdobe")
        content = content[:marker] + content[marker + 16 :]
        expected = colour / 255.0 * black
    assert np.abs(read_picture(content) - expected).mean() < 2


@pytest.mark.parametrize("colour", [False, True])
def test_twelve_bits(colour) -> None:
    values = np.dstack([WIDE] * 3) if colour else WIDE
    read = read_picture(imagecodecs.jpeg8_encode(values, bitspersample=12, level=98))
    assert read.dtype == np.uint16
    assert np.abs(read.astype(int) - WIDE).mean() < 20


def test_lossless_and_jpeg_ls() -> None:
    for content in (
        imagecodecs.jpeg8_encode(WIDE, bitspersample=16, lossless=True),
        imagecodecs.ljpeg_encode(WIDE),
        imagecodecs.jpegls_encode(WIDE),
    ):
        assert np.array_equal(read_picture(content), WIDE)
    assert np.array_equal(read_picture(imagecodecs.jpegls_encode(NOISE)), NOISE)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_eight_orientations_as_opencv_turns_them(orientation) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = saved(Image.fromarray(NOISE), quality=95, exif=exif)
    assert np.array_equal(read_picture(content), cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE))


def test_a_damaged_exif_block_is_ignored() -> None:
    for block in (
        b"Exif\0\0II*\0\xff\xff\xff\x7f",
        b"Exif\0\0",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0",
    ):
        content = saved(Image.fromarray(NOISE), quality=90)
        content = content[:2] + b"\xff\xe1" + (len(block) + 2).to_bytes(2) + block + content[2:]
        assert np.array_equal(read_picture(content), by_pillow(content))


def test_a_scan_flood_is_not_decoded() -> None:
    """60,000 scans of a progressive JPEG take minutes; so do 30 of 90 million pixels."""
    content = saved(Image.fromarray(NOISE), progressive=True)
    scan = content.rindex(b"\xff\xda")
    flood = content[:-2] + content[scan:-2] * 60_000 + content[-2:]
    with pytest.raises(LeftOut, match="JPEG has more than 100 scans"):
        read_picture(flood)
    frame = content.index(b"\xff\xc2")
    large = bytearray(content[:-2] + content[scan:-2] * 30 + content[-2:])
    large[frame + 5 : frame + 9] = b"\x25\x1c\x25\x1c"  # 9,500 x 9,500
    with pytest.raises(LeftOut, match="scans, too many for 9500 x 9500 pixels"):
        read_picture(bytes(large))


@pytest.mark.parametrize(
    ("size", "reason"), [(b"\xff\xdc\xff\xdc", "more than 100,000,000"), (b"\0\0\0\x40", "64 x 0")]
)
def test_declared_sizes(size, reason) -> None:
    content = bytearray(saved(Image.fromarray(NOISE)))
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = size
    with pytest.raises(LeftOut, match=reason):
        read_picture(bytes(content))


@given(cut=st.integers(0, 5_000), at=st.integers(0, 5_000), value=st.integers(0, 255))
def test_what_is_read_however_damaged_is_what_pillow_reads(cut, at, value) -> None:
    content = bytearray(saved(Image.fromarray(SMOOTH)))
    if at < len(content):
        content[at] = value
    content = bytes(content[: len(content) - cut]) if cut < len(content) // 2 else bytes(content)
    try:
        read = read_picture(content)
        expected = by_pillow(content)
    except (LeftOut, OSError, SyntaxError, ValueError):
        return
    if read.size == expected.size:  # EXIF may have been made of the damage
        assert np.array_equal(read, expected)
