"""DICOM through pydicom: modality and VOI transformations, MONOCHROME1 turned, anything but one grey frame left out."""

import io
import warnings

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from cxrflow.errors import LeftOut
from cxrflow.reading.picture import LARGEST_IMAGE

#: First tags of files without a preamble: groups 2 and 8, little-endian.
_FIRST = tuple(bytes([group, 0, element, 0]) for group, element in ((2, 0), (8, 0), (8, 5), (8, 8), (8, 0x16)))


def is_dicom(content: bytes) -> bool:
    """True where the content starts like DICOM, with its preamble or without."""
    return content[128:132] == b"DICM" or content[:4] in _FIRST


def read_dicom(content: bytes) -> np.ndarray:
    """Decode one grey frame: (height, width), uint8 or uint16, windowed as the header says, air dark.

    The order is the standard's (PS3.3 C.11, PS3.4 N.2): modality LUT or rescale, VOI LUT or window, then
    MONOCHROME1 (PS3.3 C.7.6.3.1.2: lowest value white) turned.
    Raises LeftOut where pixels are absent, damaged, coloured, of several frames or too many.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = pydicom.dcmread(io.BytesIO(content), force=True)
            if "TransferSyntaxUID" not in data.file_meta:  # files from before part 10 of the standard
                implicit, _ = data.original_encoding
                data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
            return _grey(data)
    except LeftOut:
        raise
    except InvalidDicomError:
        raise LeftOut("not an image: the content is no known picture format or DICOM") from None
    except Exception as error:  # pydicom and its decoders raise almost anything on a damaged file
        raise LeftOut(f"DICOM is damaged or cannot be decoded ({' '.join(str(error).split())[:200]})") from None


def _grey(data: pydicom.Dataset) -> np.ndarray:
    if "PixelData" not in data:
        raise LeftOut("DICOM holds no pixels")
    if int(data.get("NumberOfFrames") or 1) > 1:
        raise LeftOut("DICOM holds several frames")
    interpretation = str(data.get("PhotometricInterpretation", "MONOCHROME2"))
    if int(data.get("SamplesPerPixel", 1)) != 1 or not interpretation.startswith("MONOCHROME"):
        raise LeftOut(f"DICOM is in colour ({interpretation})")
    if data.get("Modality") == "CT":
        raise LeftOut("CT slice, as the DICOM header says")
    if int(data.Rows) * int(data.Columns) > LARGEST_IMAGE:
        raise LeftOut(f"image has more than {LARGEST_IMAGE:,} pixels")
    pixels = data.pixel_array
    plain = not any(key in data for key in ("RescaleSlope", "ModalityLUTSequence", "WindowCenter", "VOILUTSequence"))
    if plain and pixels.dtype == np.uint8 and int(data.get("BitsStored", 8)) == 8:
        return 255 - pixels if interpretation == "MONOCHROME1" else pixels
    values = apply_voi_lut(apply_modality_lut(pixels, data), data).astype(np.float64)
    low, high = float(values.min()), float(values.max())
    grey = np.rint((values - low) * (65535 / max(high - low, 1e-12))).astype(np.uint16)
    return 65535 - grey if interpretation == "MONOCHROME1" else grey
