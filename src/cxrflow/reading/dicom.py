"""DICOM through pydicom: one grey frame as its header defines it, or the reason why it is left out."""

import re
import warnings
from contextlib import nullcontext, suppress

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.encaps import generate_fragments
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pixel_array
from pydicom.tag import Tag
from pydicom.uid import JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1, RLELossless

from cxrflow.errors import LeftOut
from cxrflow.reading import Decoded, Identity
from cxrflow.reading.attributes import numbers, raw, text, whole
from cxrflow.reading.codestream import check_frame
from cxrflow.reading.guard import guarded
from cxrflow.reading.header import open_dataset
from cxrflow.reading.jpeg import read_jpeg
from cxrflow.reading.pixels import LARGEST_IMAGE
from cxrflow.reading.transformations import transformed
from cxrflow.reading.views import declared_view, hinted_view

#: Modalities that may be a projection radiograph (PS3.3 C.7.3.1.1.1), including OT ("other"), used by exports.
_PROJECTION = ("CR", "DX", "DR", "RG", "RF", "OT")
#: Words of the body parts (PS3.16, annex L) that a chest radiograph shows; a BodyPartExamined without any is noted.
_CHEST = re.compile(r"CHEST|THORA|TORA|TÓRA|LUNG|RIB|BRUSTKORB|HEART|STERNUM|CLAVICLE")
#: PhotometricInterpretation of grey images; where it is absent or has no digit, 0 is black.
_GREY = ("", "MONOCHROME", "MONOCHROME1", "MONOCHROME2")
#: A UID (PS3.5, 9.1), if it has at most 64 characters.
_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")
#: Bits a pixel cell can have (PS3.5, 8.1.1).
_BITS = (1, 8, 16, 32, 64)
_TRANSFORMATIONS = ("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "WindowCenter", "VOILUTSequence")
#: Attributes that give the height of a pixel relative to its width, the most specific first.
_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio")
#: Pixels are made square if they are less square than this, and not more than four times as long as wide.
_SQUARE, _LONGEST = 0.01, 4.0
#: Transfer syntaxes of one JPEG picture (PS3.5, A.4.1 and A.4.2).
_JPEG = (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1)


def read_dicom(content: bytes) -> Decoded:
    """Decode one grey frame: (height, width), uint8 or uint16, air dark, pixels square.

    The order of the transformations is that of the standard (PS3.3 C.11, PS3.4 N.2): modality LUT or rescale, VOI LUT
    or window, inversion of MONOCHROME1 (PS3.3 C.7.6.3.1.2: lowest value white) and of PresentationLUTShape INVERSE
    (C.11.6.1.2, which DX images have together with MONOCHROME1). A display attribute that is empty counts as absent;
    one that cannot be applied is noted.
    Raises LeftOut if pixels are absent, damaged, in colour, in several frames or too many, or if the header gives
    another modality, or a lateral or oblique view.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _decoded(open_dataset(content))


def _decoded(data: Dataset) -> Decoded:
    _check(data)
    notes: list[str] = []
    if hint := hinted_view(data):
        notes.append("{} names a {} view".format(*hint))
    if (part := text(data, "BodyPartExamined")) and not _CHEST.search(part):
        notes.append(f"BodyPartExamined is {part[:40]}")
    if text(data, "PresentationIntentType") == "FOR PROCESSING":
        notes.append("FOR PROCESSING: the detector's values, not meant to be shown")
    pixels, lowest, highest = _samples(data, notes)
    padding = _padding(data, pixels, lowest, highest)
    grey = _grey(data, pixels, lowest, highest, padding, notes)
    if text(data, "PhotometricInterpretation") == "MONOCHROME1" or text(data, "PresentationLUTShape") == "INVERSE":
        grey = np.iinfo(grey.dtype).max - grey
    if padding is not None:
        grey[padding] = 0
    square = _with_square_pixels(grey, data, notes)
    return Decoded(square, grey.shape, "; ".join(dict.fromkeys(notes)) or None, identity(data))


def identity(data: Dataset) -> Identity:
    """The UIDs of an image by its header; one with other characters than those of UIDs (PS3.5, 9.1),
    or too long, counts as absent."""
    found = (text(data, keyword) for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"))
    return Identity(*(uid if len(uid) <= 64 and _UID.fullmatch(uid) else "" for uid in found))


def _check(data: Dataset) -> None:
    """Raise LeftOut if the header declares something other than one grey frontal radiograph of a possible size."""
    if "PixelData" not in data:
        raise LeftOut("DICOM holds no pixels")
    if (whole(data, "NumberOfFrames") or 1) > 1:
        raise LeftOut("DICOM holds several frames")
    interpretation = text(data, "PhotometricInterpretation")
    if (whole(data, "SamplesPerPixel") or 1) != 1 or interpretation not in _GREY:
        raise LeftOut(f"DICOM is in colour ({interpretation[:30]})")
    if not set((modality := text(data, "Modality") or "OT").split("\\")) <= set(_PROJECTION):
        raise LeftOut(f"modality is {modality[:30]}, as the DICOM header says")
    if (view := declared_view(data)) in ("lateral", "oblique"):
        raise LeftOut(f"{view} view, as the DICOM header says")
    for keyword in ("Rows", "Columns", "BitsAllocated"):
        if (whole(data, keyword) or 0) <= 0:
            raise LeftOut(f"DICOM header gives no {keyword}")
    if (bits := whole(data, "BitsAllocated")) not in _BITS:
        raise LeftOut(f"DICOM header gives {bits} BitsAllocated, not 1, 8, 16, 32 or 64")
    if whole(data, "Rows") * whole(data, "Columns") > LARGEST_IMAGE:  # type: ignore[operator]
        raise LeftOut(f"image has more than {LARGEST_IMAGE:,} pixels")


def _samples(data: Dataset, notes: list[str]) -> tuple[np.ndarray, int, int]:
    """Pixel values (height, width), integers, and the smallest and largest value that their bits can hold.

    The bits of a sample are those below HighBit (PS3.5, 8.1.1). Older files justify them to the left, keep overlays in
    the other bits (60xx,0102), leave the sign of 12 bits unextended, or declare fewer bits than their values take.
    """
    allocated, stored, high = (whole(data, key) or 0 for key in ("BitsAllocated", "BitsStored", "HighBit"))
    stored = stored if 1 <= stored <= allocated else allocated
    high = high if stored <= high + 1 <= allocated else stored - 1
    signed = whole(data, "PixelRepresentation") == 1
    lowest, highest = (-(1 << stored - 1), (1 << stored - 1) - 1) if signed else (0, (1 << stored) - 1)
    pixels = _stored_values(data, allocated, stored, signed)
    overlays = [whole(data, tag) or 0 for group in range(0x6000, 0x6020, 2) if (tag := Tag(group, 0x0102)) in data]
    if any(high < position < allocated for position in overlays):
        pixels = pixels & ((1 << (high + 1)) - 1)
    if shift := high + 1 - stored:
        # Some files say HighBit 15 of samples that are justified to the right: those fit, and use the low bits.
        fits = lowest <= int(pixels.min()) and int(pixels.max()) <= highest
        if not fits or not (pixels & ((1 << shift) - 1)).any():
            pixels = pixels >> shift
    smallest, largest = int(pixels.min()), int(pixels.max())
    if signed and smallest >= 0 and highest < largest <= 2 * highest + 1:
        pixels = (pixels ^ (highest + 1)) - (highest + 1)
    elif smallest < lowest or largest > highest:
        notes.append(f"BitsStored is {stored}, but the values take more bits")
        lowest, highest = np.iinfo(pixels.dtype).min, np.iinfo(pixels.dtype).max
    return pixels, lowest, highest


def _stored_values(data: Dataset, allocated: int, stored: int, signed: bool) -> np.ndarray:
    """The pixel cells as stored, (height, width), without interpretation of their bits."""
    syntax = data.file_meta.TransferSyntaxUID
    try:
        get_decoder(syntax)
    except NotImplementedError:
        raise LeftOut(f"DICOM is compressed in a way that cannot be decoded ({syntax.name})") from None
    data.NumberOfFrames, data.SamplesPerPixel, data.PixelRepresentation = 1, 1, int(signed)
    interpretation = text(data, "PhotometricInterpretation")
    data.PhotometricInterpretation = interpretation if interpretation in _GREY[2:] else "MONOCHROME2"
    in_cells = not syntax.is_compressed or syntax == RLELossless
    data.BitsStored = allocated if in_cells else stored  # pydicom would cut off the other bits
    check_frame(data)
    # JPEG is decoded as in a JPEG file; Baseline that this refuses, by Pillow, with the same pixels.
    if syntax in _JPEG:
        frame = b"".join(list(generate_fragments(data.PixelData))[1:])  # the first is the offset table
        with suppress(LeftOut) if syntax == JPEGBaseline8Bit else nullcontext():
            values, size = read_jpeg(frame).values, max(1, allocated // 8)
            if int(values.max()) >> allocated:
                raise LeftOut(f"the compressed picture takes more bits than the {allocated} that the DICOM header says")
            cells = values.astype(f"u{size}", copy=False)
            return cells.view(f"i{size}") if signed else cells
    with guarded("DICOM"):
        pixels = pixel_array(data, decoding_plugin="pillow" if syntax == JPEGBaseline8Bit else "")
    if pixels.ndim != 2 or pixels.shape != (data.Rows, data.Columns):
        raise LeftOut("DICOM holds several frames")
    return pixels


def _padding(data: Dataset, pixels: np.ndarray, lowest: int, highest: int) -> NDArray[np.bool_] | None:
    """Padding pixels (PS3.3 C.7.5.1.1.2): bool (height, width); None if no pixel is padding, or every one.

    The padding value may be written without its sign, or with more bits than the pixels have. The latter (65535 for 12
    bits) is cut only to the smallest or largest value: cut to another one, 63536 would be tissue of 2096.
    """
    value = whole(data, "PixelPaddingValue")
    if value is None:
        return None
    limit = whole(data, "PixelPaddingRangeLimit")
    in_cells, in_samples = (
        sorted(_in_bits(end, bits, lowest < 0) for end in (value, value if limit is None else limit))
        for bits in (pixels.dtype.itemsize * 8, (highest - lowest).bit_length())
    )
    for ends in (in_cells, in_samples):
        padding = (pixels >= ends[0]) & (pixels <= ends[1])
        if padding.any() and (ends is in_cells or ends[0] == lowest or ends[1] == highest):
            return None if padding.all() else padding
    return None


def _in_bits(value: int, bits: int, signed: bool) -> int:
    """The lowest ``bits`` of a value, as a signed or unsigned number."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if signed and value >> (bits - 1) else value


def _grey(
    data: Dataset,
    pixels: np.ndarray,
    lowest: int,
    highest: int,
    padding: NDArray[np.bool_] | None,
    notes: list[str],
) -> np.ndarray:
    """Grey levels after the header's transformations, without inversion.

    uint8 as stored if there are 8 bits and nothing to transform; else uint16, the darkest level 0, the brightest 65535.
    """
    if pixels.dtype == np.uint8 and padding is None and not any(raw(data, key) for key in _TRANSFORMATIONS):
        return pixels
    if pixels.dtype.itemsize > 2:
        levels, index = np.unique(pixels, return_inverse=True)
        present = np.ones(len(levels), bool) if padding is None else np.isin(levels, pixels[~padding])
    else:  # a table of all values that the cells can hold
        index = np.ascontiguousarray(pixels).view(f"u{pixels.dtype.itemsize}")
        levels = np.arange(1 << 8 * pixels.dtype.itemsize, dtype=index.dtype).view(pixels.dtype)
        seen = None if padding is None else (~padding).astype(np.uint8)
        present = cv2.calcHist([index], [0], seen, [len(levels)], [0, len(levels)]).ravel() > 0
    shown = transformed(levels[present].astype(np.float64), lowest, highest, data, notes)
    low, high = float(shown.min()), float(shown.max())
    table = np.zeros(len(levels), np.uint16)
    table[present] = np.rint((shown - low) / (high - low or 1) * 65535)
    return table[index].reshape(pixels.shape)


def _with_square_pixels(grey: np.ndarray, data: Dataset, notes: list[str]) -> np.ndarray:
    """The image with its rows or columns enlarged if the header says that its pixels are not square (bilinear)."""
    for keyword in _SPACINGS:
        sides = numbers(data, keyword)  # of a pixel: height, width
        if len(sides) == 2 and all(side > 0 for side in sides):
            break
    else:
        return grey
    ratio = sides[0] / sides[1]
    if abs(ratio - 1) <= _SQUARE:
        return grey
    height, width = grey.shape
    size = (width, round(height * ratio)) if ratio > 1 else (round(width / ratio), height)
    if not 1 / _LONGEST <= ratio <= _LONGEST or size[0] * size[1] > LARGEST_IMAGE:
        notes.append(f"{keyword} not applied: pixels {ratio:.3g} times as high as wide")
        return grey
    return cv2.resize(grey, size, interpolation=cv2.INTER_LINEAR)
