"""DICOM as its header says, or a reason."""

import io
import warnings
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_files
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset

from cxrflow.errors import LeftOut
from cxrflow.reading import dicom as module
from cxrflow.reading import is_dicom, read_radiograph
from cxrflow.reading.dicom import read_dicom

GREY = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (48, 1))
TWELVE = GREY.astype(np.uint16) * 16


def encoded(pixels: np.ndarray | None, bits: int = 8, **tags: object) -> bytes:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID = meta.MediaStorageSOPClassUID
    data.Modality = "CR"
    if pixels is not None:
        data.Rows, data.Columns = pixels.shape[-2:] if tags.get("SamplesPerPixel", 1) == 1 else pixels.shape[:2]
        data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
        data.BitsAllocated, data.BitsStored, data.HighBit = pixels.dtype.itemsize * 8, bits, bits - 1
        data.PixelData = pixels.tobytes()
    for key, value in tags.items():
        setattr(data, key, value)
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data.save_as(out)
    return out.getvalue()


@pytest.mark.parametrize("syntax", [pydicom.uid.JPEGLossless, pydicom.uid.JPEGLosslessSV1])
@pytest.mark.parametrize(("pixels", "bits"), [(GREY, 8), (TWELVE, 12), (TWELVE * 15, 16)])
def test_jpeg_lossless_is_lossless(syntax, pixels, bits) -> None:
    """pydicom's own files have no grey JPEG Lossless: imagecodecs writes them, with libjpeg-turbo."""
    data = pydicom.dcmread(io.BytesIO(encoded(pixels, bits)))
    data.PixelData = pydicom.encaps.encapsulate([imagecodecs.ljpeg_encode(pixels, bitspersample=bits)])
    data.file_meta.TransferSyntaxUID = syntax
    out = io.BytesIO()
    data.save_as(out)
    assert np.array_equal(grey_of(out.getvalue()), grey_of(encoded(pixels, bits)))


def grey_of(content: bytes) -> np.ndarray:
    return read_dicom(content).grey


@pytest.mark.parametrize("bits", [8, 1])
def test_a_jpeg_of_more_bits_than_its_header_says_is_left_out(bits) -> None:
    data = pydicom.dcmread(io.BytesIO(encoded(TWELVE, 12, BitsAllocated=bits, BitsStored=bits, HighBit=bits - 1)))
    data.PixelData = pydicom.encaps.encapsulate([imagecodecs.ljpeg_encode(TWELVE, bitspersample=12)])
    data.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLosslessSV1
    out = io.BytesIO()
    data.save_as(out)
    with pytest.raises(LeftOut, match=f"takes more bits than the {bits} that the DICOM header says"):
        read_dicom(out.getvalue())


def test_jpeg_baseline_is_that_of_opencv_and_never_half_a_picture() -> None:
    noise = cv2.resize(np.random.default_rng(0).integers(0, 256, (8, 8)).astype(np.uint8), (96, 64))
    frame = cv2.imencode(".jpg", noise)[1].tobytes()
    assert np.array_equal(grey_of(_jpeg(frame, noise)), cv2.imdecode(np.frombuffer(frame, np.uint8), 0))
    with pytest.raises(LeftOut, match="damaged"):
        grey_of(_jpeg(frame[: len(frame) // 2], noise))


def _jpeg(frame: bytes, pixels: np.ndarray) -> bytes:
    data = pydicom.dcmread(io.BytesIO(encoded(pixels)))
    data.PixelData = pydicom.encaps.encapsulate([frame])
    data.file_meta.TransferSyntaxUID = pydicom.uid.JPEGBaseline8Bit
    out = io.BytesIO()
    data.save_as(out)
    return out.getvalue()


def share(values: np.ndarray) -> np.ndarray:
    """Grey values as shares of what the type holds."""
    return values / np.iinfo(values.dtype).max


def test_plain_eight_bits_come_back_untouched() -> None:
    read = grey_of(encoded(GREY))
    assert read.dtype == np.uint8
    assert np.array_equal(read, GREY)


@pytest.mark.parametrize(("pixels", "bits"), [(GREY, 8), (TWELVE, 12), (TWELVE * 15, 16)])
@pytest.mark.parametrize("tags", [{}, {"RescaleSlope": "2", "RescaleIntercept": "-5"}])
def test_monochrome1_is_monochrome2_turned(pixels, bits, tags) -> None:
    white = np.array(2**bits - 1, dtype=pixels.dtype)
    second = grey_of(encoded(pixels, bits, **tags))
    first = grey_of(encoded(white - pixels, bits, PhotometricInterpretation="MONOCHROME1", **tags))
    assert np.allclose(share(first), share(second), atol=1e-4)
    assert share(second)[0, -1] > share(second)[0, 0]


def test_a_window_clips_what_lies_outside() -> None:
    # PS3.3 C.11.2.1.2.1: below c - 0.5 - (w - 1) / 2 black, above c - 0.5 + (w - 1) / 2 white, linear between
    read = share(grey_of(encoded(TWELVE, 12, WindowCenter="2000", WindowWidth="1000")))
    expected = np.clip((TWELVE - 1999.5) / 999 + 0.5, 0, 1)
    assert np.abs(read - expected).max() < 1e-3


def test_rescale_comes_before_the_window() -> None:
    tags = {"RescaleSlope": "2", "RescaleIntercept": "-1000", "WindowCenter": "3000", "WindowWidth": "2000"}
    read = share(grey_of(encoded(TWELVE, 12, **tags)))
    expected = np.clip((TWELVE * 2.0 - 1000 - 2999.5) / 1999 + 0.5, 0, 1)
    assert np.abs(read - expected).max() < 1e-3


def test_the_first_of_several_windows_counts() -> None:
    one = grey_of(encoded(TWELVE, 12, WindowCenter="2000", WindowWidth="1000"))
    two = grey_of(encoded(TWELVE, 12, WindowCenter=["2000", "9"], WindowWidth=["1000", "9"]))
    assert np.array_equal(one, two)


@pytest.mark.parametrize("tags", [{"WindowCenter": None, "WindowWidth": None}, {"WindowCenter": "2000"}])
def test_half_a_window_is_none(tags) -> None:
    assert np.array_equal(grey_of(encoded(TWELVE, 12, **tags)), grey_of(encoded(TWELVE, 12)))


def test_a_voi_table_is_applied() -> None:
    table = Dataset()
    table.LUTDescriptor = [256, 0, 16]
    table.LUTData = ((255 - np.arange(256)) * 257).astype("<u2").tobytes()
    read = grey_of(encoded(GREY, VOILUTSequence=[table]))
    low, high = GREY.min(), GREY.max()
    assert np.allclose(share(read), (float(high) - GREY) / (high - low), atol=1e-4)


def test_signed_pixels() -> None:
    signed = GREY.astype(np.int16) - 100
    read = grey_of(encoded(signed, 16, PixelRepresentation=1))
    assert np.allclose(share(read), (signed + 100) / GREY.max(), atol=1e-4)


def test_one_value_everywhere_is_read() -> None:
    assert np.ptp(grey_of(encoded(np.full((8, 8), 500, dtype=np.uint16), 12))) == 0


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (encoded(None), "holds no pixels"),
        (encoded(np.stack([GREY, GREY]), NumberOfFrames=2), "several frames"),
        (
            encoded(np.dstack([GREY] * 3), SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0),
            r"colour \(RGB\)",
        ),
        (encoded(GREY, PhotometricInterpretation="PALETTE COLOR"), "colour"),
        (encoded(GREY, Modality="CT"), "modality is CT"),
        (encoded(GREY, Modality="US"), "modality is US"),
        (encoded(GREY, ViewPosition="LL"), "lateral view"),
        (encoded(GREY)[:-100], "damaged"),
        (encoded(GREY, Rows=4096), "damaged"),
        (encoded(GREY)[:200], "no pixels|damaged"),
        (encoded(GREY, BitsAllocated=None), "header gives no BitsAllocated"),
    ],
)
def test_left_out_with_the_reason(content, reason) -> None:
    assert is_dicom(content)
    with pytest.raises(LeftOut, match=reason):
        grey_of(content)


def test_too_many_pixels_are_not_decoded(monkeypatch) -> None:
    monkeypatch.setattr(module, "LARGEST_IMAGE", GREY.size)
    assert grey_of(encoded(GREY)).size == GREY.size
    monkeypatch.setattr(module, "LARGEST_IMAGE", GREY.size - 1)
    with pytest.raises(LeftOut, match="more than 3,071 pixels"):
        grey_of(encoded(GREY))


@pytest.mark.parametrize("first", [{}, {"SpecificCharacterSet": "ISO_IR 100"}])
@pytest.mark.parametrize("implicit", [True, False])
def test_old_files_without_preamble_and_transfer_syntax(implicit, first) -> None:
    data = pydicom.dcmread(io.BytesIO(encoded(GREY, **first)))
    out = io.BytesIO()
    bare = Dataset({element.tag: element for element in data})
    bare.save_as(out, implicit_vr=implicit, little_endian=True, enforce_file_format=False)
    assert is_dicom(out.getvalue())
    assert np.array_equal(grey_of(out.getvalue()), GREY)


def test_a_file_that_lost_its_preamble() -> None:
    content = encoded(GREY)[132:]
    assert is_dicom(content)
    assert np.array_equal(grey_of(content), GREY)


@pytest.mark.parametrize("interpretation", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_air_and_does_not_stretch_the_rest(interpretation) -> None:
    """A frame of -2000 about 12 bits of picture: without the frame the picture reads the same, the frame is black."""
    inner = TWELVE.astype(np.int16)
    framed = np.pad(inner, 4, constant_values=-2000)
    tags = {"PhotometricInterpretation": interpretation, "PixelRepresentation": 1}
    read = grey_of(encoded(framed, 16, PixelPaddingValue=-2000, **tags))
    assert (read[:4] == 0).all()
    assert (read[:, -4:] == 0).all()
    assert np.array_equal(read[4:-4, 4:-4], grey_of(encoded(inner, 16, **tags)))
    ranged = grey_of(encoded(framed, 16, PixelPaddingValue=-3000, PixelPaddingRangeLimit=-1000, **tags))
    assert np.array_equal(ranged, read)


BUNDLED = [path for path in get_testdata_files() if path.endswith(".dcm")]


def test_the_files_that_pydicom_brings_never_crash(monkeypatch) -> None:
    """Grey, or left out with a reason; some of each, so that neither is the answer to everything."""
    modalities = {str(pydicom.dcmread(path, force=True).get("Modality") or "OT") for path in BUNDLED}
    monkeypatch.setattr(module, "_PROJECTION", modalities)  # most of them are CT and MR
    assert len(BUNDLED) > 50
    read = 0
    for path in BUNDLED:
        try:
            grey = read_radiograph(Path(path))
        except LeftOut:
            continue
        read += 1
        assert grey.ndim == 2
        assert grey.dtype in (np.uint8, np.uint16)
    assert 10 < read < len(BUNDLED)


def _plain_grey() -> list[pydicom.Dataset]:
    """The single grey frames that pydicom's own files hold and pydicom can decode, without what transforms them."""
    found = []
    for path in BUNDLED:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = pydicom.dcmread(path, force=True)
            if not str(data.get("PhotometricInterpretation")).startswith("MONOCHROME"):
                continue
            try:
                if data.pixel_array.ndim != 2:
                    continue
            except Exception:  # noqa: S112  what pydicom cannot decode is no reference
                continue
        for tag in ("PixelPaddingValue", "RescaleSlope", "ModalityLUTSequence", "WindowCenter", "VOILUTSequence"):
            if tag in data:
                del data[tag]
        data.Modality = "CR"
        found.append(data)
    return found


def test_pixels_are_those_that_pydicom_decodes() -> None:
    """Every transfer syntax in pydicom's files, against its own pixel_array; lossy JPEG within one grey level."""
    seen = set()
    for data in _plain_grey():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pixels = data.pixel_array.astype(np.float64)
            grey = module._decoded(data).grey
        spread = max(np.ptp(pixels), 1)
        turned = data.PhotometricInterpretation == "MONOCHROME1"
        if grey.dtype == np.uint8:
            expected, level = (255 - pixels if turned else pixels), 1.0
        else:
            stretched = (pixels - pixels.min()) * 65535 / spread
            expected, level = (65535 - stretched if turned else stretched), 65535 / spread
        lossy = data.file_meta.TransferSyntaxUID in (pydicom.uid.JPEGBaseline8Bit, pydicom.uid.JPEGExtended12Bit)
        assert np.abs(grey - expected).max() <= (level if lossy else 0) + 0.5
        seen.add(data.file_meta.TransferSyntaxUID.name)
    for kind in ("RLE", "JPEG 2000", "JPEG-LS", "JPEG Extended", "Explicit VR Little", "Implicit VR"):
        assert any(kind in name for name in seen), f"no file in {kind} among {sorted(seen)}"
