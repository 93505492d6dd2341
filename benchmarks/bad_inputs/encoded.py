"""Encoded pictures and DICOM files."""

import io
import warnings
from collections.abc import Mapping

import numpy as np
import tifffile
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian


def picture(kind: str, image: Image.Image | np.ndarray, **options: object) -> bytes:
    """A picture as Pillow writes it."""
    out = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(out, kind, **options)
    return out.getvalue()


def tiff(pixels: np.ndarray, **options: object) -> bytes:
    """A TIFF as tifffile writes it."""
    out = io.BytesIO()
    tifffile.imwrite(out, pixels, **options)
    return out.getvalue()


def dicom(
    pixels: np.ndarray | None,
    *,
    syntax: str = ExplicitVRLittleEndian,
    compressed: bytes | None = None,
    without: tuple[str, ...] = (),
    bits: int = 0,
    **tags: object,
) -> bytes:
    """A DICOM file of one grey frame.

    compressed  the frame as the transfer syntax encodes it
    without     keywords of attributes that are not there
    bits        BitsStored; 0 for all bits of the pixels
    tags        other attributes by keyword, or ``vr_KEYWORD=(vr, value)`` for a value as it stands
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that the standard does not allow
        return _dicom(pixels, syntax, compressed, without, bits, tags)


def _dicom(
    pixels: np.ndarray | None,
    syntax: str,
    compressed: bytes | None,
    without: tuple[str, ...],
    bits: int,
    tags: Mapping[str, object],
) -> bytes:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1", "1.2.3"
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID, data.Modality = "1.2.840.10008.5.1.4.1.1.1", "1.2.3", "CR"
    if pixels is not None:
        data.Rows, data.Columns = pixels.shape[:2]
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.PixelRepresentation = int(pixels.dtype.kind == "i")
        cells = pixels.dtype.itemsize * 8
        data.BitsAllocated, data.BitsStored, data.HighBit = cells, bits or cells, (bits or cells) - 1
        data.PixelData = encapsulate([compressed]) if compressed else pixels.tobytes()
        data["PixelData"].VR = "OB" if compressed or cells == 8 else "OW"
        data["PixelData"].is_undefined_length = compressed is not None
    for name, value in tags.items():
        if name.startswith("vr_"):
            vr, value = value  # type: ignore[misc]
            data.add_new(name.removeprefix("vr_"), vr, value)
        else:
            setattr(data, name, value)
    for name in without:
        del data[name]
    out = io.BytesIO()
    data.save_as(out, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True)
    return out.getvalue()


def item(values: Mapping[str, tuple[str, object]]) -> Sequence:
    """A sequence of one item, with the value representation of each value."""
    data = Dataset()
    for keyword, (vr, value) in values.items():
        data.add_new(keyword, vr, value)
    return Sequence([data])


def lut(descriptor: tuple[str, list[int]], entries: tuple[str, object]) -> Sequence:
    """A look-up table (PS3.3, C.11.1 and C.11.2)."""
    return item({"LUTDescriptor": descriptor, "LUTData": entries})
