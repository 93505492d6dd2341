"""DICOM through pydicom: one grey frame, with modality and VOI transformations applied and MONOCHROME1 inverted."""

import warnings

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import JPEGBaseline8Bit

from cxrflow.errors import LeftOut
from cxrflow.reading.codestream import check_frame
from cxrflow.reading.header import open_dataset
from cxrflow.reading.picture import LARGEST_IMAGE

#: Modalities that may be a projection radiograph (PS3.3 C.7.3.1.1.1), including OT ("other"), used by exports.
_PROJECTION = ("CR", "DX", "DR", "RG", "RF", "OT")
#: View positions (PS3.3 C.8.1.3) that are lateral.
_LATERAL = ("LL", "RL", "LLO", "RLO", "LATERAL", "LAT")
_TRANSFORMATIONS = ("RescaleSlope", "ModalityLUTSequence", "WindowCenter", "VOILUTSequence")


def read_dicom(content: bytes) -> np.ndarray:
    """Decode one grey frame: (height, width), uint8 or uint16, windowed according to the header, air dark.

    The order of the transformations is that of the standard (PS3.3 C.11, PS3.4 N.2): modality LUT or rescale, VOI LUT
    or window, inversion of MONOCHROME1 (PS3.3 C.7.6.3.1.2: lowest value white).
    Raises LeftOut if pixels are absent, damaged, in colour, in several frames or too many, or if the header gives
    another modality or a lateral view.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _grey(open_dataset(content))
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
    if (modality := str(data.get("Modality") or "OT")) not in _PROJECTION:
        raise LeftOut(f"modality is {modality}, as the DICOM header says")
    if str(data.get("ViewPosition") or "").strip().upper() in _LATERAL:
        raise LeftOut("lateral view, as the DICOM header says")
    if int(data.Rows) * int(data.Columns) > LARGEST_IMAGE:
        raise LeftOut(f"image has more than {LARGEST_IMAGE:,} pixels")
    check_frame(data)
    # For JPEG Baseline, Pillow is three times as fast as pylibjpeg, with a difference of at most one grey level.
    baseline = data.file_meta.TransferSyntaxUID == JPEGBaseline8Bit
    pixels = pixel_array(data, decoding_plugin="pillow" if baseline else "")
    padding = _padding(data, pixels)
    plain = padding is None and not any(key in data for key in _TRANSFORMATIONS)
    if plain and pixels.dtype == np.uint8 and int(data.get("BitsStored", 8)) == 8:
        return 255 - pixels if interpretation == "MONOCHROME1" else pixels
    values = apply_voi_lut(apply_modality_lut(pixels, data), data).astype(np.float64)
    seen = values if padding is None else values[~padding]
    low, high = float(seen.min()), float(seen.max())
    grey = np.rint((values.clip(low, high) - low) * (65535 / max(high - low, 1e-12))).astype(np.uint16)
    if interpretation == "MONOCHROME1":
        grey = 65535 - grey
    if padding is not None:
        grey[padding] = 0
    return grey


def _padding(data: pydicom.Dataset, pixels: np.ndarray) -> np.ndarray | None:
    """Padding pixels (PS3.3 C.7.5.1.1.2): bool (height, width); None if no pixel is padding, or every one."""
    if "PixelPaddingValue" not in data:
        return None
    ends = sorted((int(data.PixelPaddingValue), int(data.get("PixelPaddingRangeLimit", data.PixelPaddingValue))))
    padding = (pixels >= ends[0]) & (pixels <= ends[1])
    return padding if padding.any() and not padding.all() else None
