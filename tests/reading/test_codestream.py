"""Sizes that codestreams declare, against pydicom's own files, imagecodecs, and headers written by hand."""

import io
import struct
import warnings
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    HTJ2K,
    UID,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSLossless,
    RLELossless,
)

from cxrflow.errors import LeftOut
from cxrflow.reading.codestream import MOST_SCANS, check_frame, read_jpeg, read_jpeg_2000

GREY = np.tile(np.arange(0, 192, 4, dtype=np.uint8), (64, 1))


def dataset(frames: list[bytes], syntax: UID = JPEGBaseline8Bit, rows: int = 64, **changes: int) -> FileDataset:
    """A data set of 64 x 48 grey pixels in these encapsulated frames."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    data = FileDataset("", {}, file_meta=meta)
    data.Rows, data.Columns, data.SamplesPerPixel, data.BitsAllocated = rows, 48, 1, 8
    data.PixelData = encapsulate(frames) if syntax.is_encapsulated else b"".join(frames)
    for key, value in changes.items():
        setattr(data, key, value)
    return data


def siz(width: int, height: int, tile: int = 2**20, components: int = 1) -> bytes:
    """The first bytes of a JPEG 2000 codestream."""
    sizes = struct.pack(">8IH", width, height, 0, 0, tile, tile, 0, 0, components)
    return b"\xff\x4f\xff\x51" + struct.pack(">HH", 38 + 3 * components, 0) + sizes + b"\7\1\1" * components


def sof(width: int, height: int, kind: int = 0xC1, components: int = 1) -> bytes:
    """The first bytes of a JPEG: the start, and a frame header."""
    length = 8 + 3 * components
    return (
        b"\xff\xd8\xff" + struct.pack(">BHBHHB", kind, length, 8, height, width, components) + b"\1\x11\0" * components
    )


def test_pydicoms_own_files_of_one_frame_pass() -> None:
    refused, passed = [], 0
    for path in sorted((Path(pydicom.__file__).parent / "data" / "test_files").glob("*.dcm")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = pydicom.dcmread(path, force=True)
            syntax = data.file_meta.get("TransferSyntaxUID")
            if syntax is None or not syntax.is_encapsulated or "PixelData" not in data:
                continue
            if int(data.get("NumberOfFrames") or 1) > 1:
                continue
            try:
                check_frame(data)
                passed += 1
            except LeftOut as reason:
                refused.append((path.name, str(reason)))
    assert passed > 25
    # Its SIZ segment is overwritten: no decoder reads it.
    assert refused == [
        ("JPEG2000-embedded-sequence-delimiter.dcm", "the compressed picture is 3722445056 x 1024 x 1, but the DICOM "
         "header says 256 x 1024 x 1")
    ]  # fmt: skip


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_by_pillow(mode: str, progressive: bool) -> None:
    out = io.BytesIO()
    Image.fromarray(GREY).convert(mode).save(out, "JPEG", progressive=progressive, restart_marker_rows=1)
    found = read_jpeg(out.getvalue())
    assert found[:3] == (64, 48, len(mode))
    assert (found.parts > 1) == progressive


def test_every_codec_of_imagecodecs() -> None:
    assert read_jpeg(imagecodecs.jpegls_encode(GREY))[:3] == (64, 48, 1)
    assert read_jpeg(imagecodecs.ljpeg_encode(GREY.astype(np.uint16)))[:3] == (64, 48, 1)
    for codecformat in ("j2k", "jp2"):
        assert read_jpeg_2000(imagecodecs.jpeg2k_encode(GREY, codecformat=codecformat))[:4] == (64, 48, 1, 1)
    assert read_jpeg_2000(siz(520, 300, tile=128))[:4] == (300, 520, 1, 3 * 5)
    assert read_jpeg_2000(imagecodecs.htj2k_encode(GREY))[:3] == (64, 48, 1)


@pytest.mark.parametrize("kind", [*sorted(set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}), 0xF7])
def test_the_size_in_every_frame_header(kind: int) -> None:
    assert read_jpeg(b"\xff\xd8\xff\xfe\0\4ab\xff\xff" + sof(65_500, 65_499, kind, 3)[3:])[:4] == (65_499, 65_500, 3, 0)


def test_another_size_than_the_header_says_is_left_out_before_decoding() -> None:
    for frame, syntax in (
        (sof(65_500, 65_500), JPEGExtended12Bit),
        (sof(48, 64, components=3), JPEGBaseline8Bit),
        (sof(64, 48), JPEGBaseline8Bit),
        (sof(65_500, 65_500, 0xF7), JPEGLSLossless),
        (siz(60_000, 60_000), JPEG2000Lossless),
        (siz(48, 64, components=16_384), JPEG2000Lossless),
        (siz(60_000, 60_000), HTJ2K),
    ):
        with pytest.raises(LeftOut, match=r"the compressed picture is .* but the DICOM header says 48 x 64 x 1"):
            check_frame(dataset([frame], syntax))


def test_floods_are_left_out() -> None:
    check_frame(dataset([siz(48, 64, tile=16)], JPEG2000Lossless))
    with pytest.raises(LeftOut, match="3,072 tiles, too many"):
        check_frame(dataset([siz(48, 64, tile=1)], JPEG2000Lossless))
    scan = b"\xff\xda\0\2\1\2\xff\0"
    assert read_jpeg(sof(48, 64) + scan * MOST_SCANS).parts == MOST_SCANS
    with pytest.raises(LeftOut, match=f"more than {MOST_SCANS} scans"):
        read_jpeg(sof(48, 64) + scan * (MOST_SCANS + 1))
    with pytest.raises(LeftOut, match="two frame headers"):
        read_jpeg(sof(48, 64) + sof(60_000, 60_000)[2:])


@pytest.mark.parametrize(
    ("encode", "syntax"),
    [(imagecodecs.jpeg8_encode, JPEGExtended12Bit), (imagecodecs.jpegls_encode, JPEGLSLossless)],
)
def test_a_picture_cut_short_is_not_filled_with_grey(encode: Callable[..., bytes], syntax: UID) -> None:
    whole = encode(GREY)
    check_frame(dataset([whole], syntax))
    with pytest.raises(LeftOut, match="image is damaged"):
        check_frame(dataset([whole[: len(whole) // 2]], syntax))


def test_the_codestream_of_a_jp2_file_is_that_of_its_box() -> None:
    """Not one that stands in another box: no decoder reads that."""
    whole = imagecodecs.jpeg2k_encode(GREY, codecformat="jp2")
    other = struct.pack(">I4s", 8 + 60, b"uuid") + siz(8, 8).ljust(60, b"\0")
    assert read_jpeg_2000(whole[:12] + other + whole[12:])[:2] == GREY.shape


def test_several_frames_are_left_out_whether_declared_or_not() -> None:
    native = pydicom.uid.ExplicitVRLittleEndian
    check_frame(dataset([GREY.tobytes() + b"\0"], native))
    rle = struct.pack("<16L", 1, 64, *[0] * 14) + b"\0\0"
    for frames, syntax in (
        ([GREY.tobytes()] * 2, native),
        ([sof(48, 64)] * 2, JPEGBaseline8Bit),
        ([siz(48, 64)] * 2, JPEG2000Lossless),
        ([rle] * 2, RLELossless),
    ):
        with pytest.raises(LeftOut, match="several frames"):
            check_frame(dataset(frames, syntax))


def test_rle_has_the_segments_of_its_pixels() -> None:
    def rle(*offsets: int) -> bytes:
        return struct.pack("<16L", len(offsets), *offsets, *[0] * (15 - len(offsets))) + bytes(8)

    check_frame(dataset([rle(64)], RLELossless))
    check_frame(dataset([rle(64, 68)], RLELossless, BitsAllocated=16))
    for frame, bits, reason in (
        (rle(64, 68), 8, "2 segments"),
        (rle(68, 64), 16, "out of order"),
        (rle(64, 4_000_000), 16, "out of order"),
        (rle(0), 8, "out of order"),
        (bytes(20), 8, "cut short"),
        (rle(64), 1, "not whole bytes"),
    ):
        with pytest.raises(LeftOut, match=reason):
            check_frame(dataset([frame], RLELossless, BitsAllocated=bits))


@given(st.binary(max_size=64), st.sampled_from([b"", sof(48, 64), siz(48, 64), b"\xff\xd8\xff\xda\0\0"]))
def test_any_bytes_give_a_size_or_a_reason(tail: bytes, head: bytes) -> None:
    for read in (read_jpeg, read_jpeg_2000):
        try:
            found = read(head + tail)
        except LeftOut:
            continue
        assert min(found) >= 0
