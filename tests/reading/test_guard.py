"""Reading gives an image or a reason, whatever a decoder does; headers too."""

import io
import os
import socket
import struct
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, RLELossless

from cxrflow import reading
from cxrflow.errors import LeftOut
from cxrflow.reading import decode, header
from cxrflow.reading.guard import checked, guarded
from cxrflow.reading.header import open_dataset, read_header

GREY = np.tile(np.arange(0, 192, 4, dtype=np.uint8), (64, 1))


def dicom(pixels: bytes = GREY.tobytes(), syntax: UID = ExplicitVRLittleEndian, **tags: object) -> bytes:
    """A DICOM file of 64 x 48 pixels, 8 bits."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = syntax, "1.2.840.10008.5.1.4.1.1.7"
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.Modality, data.PatientAge, data.PhotometricInterpretation = "CR", "058Y", "MONOCHROME2"
    data.Rows, data.Columns, data.SamplesPerPixel, data.PixelRepresentation = 64, 48, 1, 0
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelData = 8, 8, 7, pixels
    for key, value in tags.items():
        setattr(data, key, value)
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data.save_as(out)
    return out.getvalue()


def deflated(inflates_to: int, cut: int | None = None) -> bytes:
    """A deflated data set: an age, and an element that inflates to as many bytes as given."""
    head = dicom(syntax=DeflatedExplicitVRLittleEndian)
    start = head.index(DeflatedExplicitVRLittleEndian.encode()) + len(DeflatedExplicitVRLittleEndian)
    packed = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    parts = [packed.compress(struct.pack("<HH2sH", 0x10, 0x1010, b"AS", 4) + b"058Y")]
    parts.append(packed.compress(struct.pack("<HH2sHL", 0x11, 0x1010, b"OB", 0, inflates_to)))
    parts += [packed.compress(bytes(2**20)) for _ in range(inflates_to // 2**20)]
    parts.append(packed.flush())
    return head[:start] + b"".join(parts)[:cut]


class Panic(BaseException):
    """As a decoder written in Rust raises."""


FAILURES = (Panic("index 4480"), MemoryError(), RecursionError(), zlib.error(-5), struct.error(), StopIteration())


@pytest.mark.parametrize("error", FAILURES, ids=repr)
def test_everything_that_a_decoder_raises_becomes_a_reason(error: BaseException, tmp_path, monkeypatch) -> None:
    def fail(content: bytes) -> np.ndarray:
        raise error

    monkeypatch.setattr(reading, "read_picture", fail)
    (tmp_path / "a").write_bytes(b"any")
    with pytest.raises(LeftOut, match=r"damaged|nested|memory"):
        decode(tmp_path / "a")


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_an_interruption_passes(stop: type[BaseException]) -> None:
    with pytest.raises(stop), guarded("file"):
        raise stop


@pytest.mark.parametrize(
    "result",
    [None, [[1]], np.zeros((2, 3, 4), np.uint8), np.zeros((0, 4), np.uint8), np.zeros(4, np.uint8)]
    + [np.zeros((2, 2), kind) for kind in (np.float32, np.uint32, np.int16, np.bool_, object)],
)
def test_a_result_that_is_no_grey_image_is_left_out(result: object) -> None:
    with pytest.raises(LeftOut, match="decoding gave"):
        checked(result)


def test_a_grey_image_is_in_native_byte_order() -> None:
    big = np.array([[1, 256]], ">u2")
    assert checked(big).dtype == np.dtype(np.uint16)
    assert checked(big).tolist() == [[1, 256]]
    assert checked(GREY) is GREY


def test_undeclared_frames_and_a_panicking_decoder_are_left_out(tmp_path: Path) -> None:
    start = struct.pack("<16L", 1, 64, *[0] * 14)
    for content, reason in (
        (dicom(GREY.tobytes() * 2), "several frames"),
        (dicom(BitsAllocated=1, BitsStored=1, HighBit=0), "several frames"),
        (dicom(pydicom.encaps.encapsulate([start + b"\x81\1" * 40]), RLELossless, BitsAllocated=1), "RLE of 1 bits"),
        (dicom(pydicom.encaps.encapsulate([start + b"\x7f"]), RLELossless), "DICOM is damaged"),
    ):
        (tmp_path / "a.dcm").write_bytes(content)
        with pytest.raises(LeftOut, match=reason):
            decode(tmp_path / "a.dcm")


def test_a_deflated_file_is_read_up_to_a_bound(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "a.dcm").write_bytes(dicom(syntax=DeflatedExplicitVRLittleEndian))
    assert (decode(tmp_path / "a.dcm") == GREY).all()
    own = Path(pydicom.__file__).parent / "data" / "test_files" / "image_dfl.dcm"
    assert (open_dataset(own.read_bytes()).pixel_array == pydicom.dcmread(own).pixel_array).all()
    monkeypatch.setattr(header, "LARGEST_INFLATED", 3 * 2**20)
    with pytest.raises(LeftOut, match="inflates to more than 3 MiB"):
        open_dataset(deflated(4 * 2**20))
    with pytest.raises(LeftOut, match="cut short"):
        open_dataset(deflated(2**20, cut=-40))


def test_a_header_is_read_at_a_bounded_cost(tmp_path: Path) -> None:
    path, tags = tmp_path / "a.dcm", ["PatientAge", "PatientSex"]
    whole = dicom()
    for content, expected in (
        (whole, {"PatientAge": "058Y"}),
        (whole[:-100], {"PatientAge": "058Y"}),
        (dicom(syntax=DeflatedExplicitVRLittleEndian), {"PatientAge": "058Y"}),
        (deflated(4 * 2**20), {"PatientAge": "058Y"}),
        (deflated(0, cut=4), {}),
        (b"", {}),
    ):
        path.write_bytes(content)
        assert read_header(path, tags) == expected
    path.write_bytes(whole.replace(b"\2\0\x10\0UI", b"\2\0\x10\0\x55\xff"))
    with pytest.raises(LeftOut, match="DICOM header"):
        read_header(path, tags)
    with pytest.raises(LeftOut, match="file cannot be opened"):
        read_header(tmp_path / "absent", tags)


def test_a_file_nested_without_end_is_left_out(tmp_path: Path) -> None:
    item = struct.pack("<HH2sHL", 0x8, 0x1140, b"SQ", 0, 0xFFFFFFFF) + struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
    (tmp_path / "a.dcm").write_bytes(dicom()[:-3100] + item * 5_000)
    started = time.process_time()
    with pytest.raises(LeftOut):
        decode(tmp_path / "a.dcm")
    assert time.process_time() - started < 2


def test_devices_fifos_and_sockets_are_never_opened(tmp_path: Path, monkeypatch) -> None:
    os.mkfifo(tmp_path / "fifo")
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        for path in (tmp_path / "fifo", tmp_path / "socket", Path("/dev/zero"), tmp_path):
            with pytest.raises(LeftOut, match="not a file"):
                decode(path)
            with pytest.raises(LeftOut, match="not a file"):
                read_header(path, ["PatientAge"])
    with pytest.raises(LeftOut, match="cannot be opened"):
        decode(tmp_path / "a\0b")
