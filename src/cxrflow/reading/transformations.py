"""Grey levels of a DICOM image by its header: modality LUT or rescale, VOI LUT or window (PS3.3 C.11, PS3.4 N.2).

Every function maps an array of levels, not an image: an image of 16 bits has at most 65,536 of them, so that an image
is transformed by one look-up. What the header declares and cannot be applied is noted, and never costs the image.
"""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from cxrflow.reading.attributes import items, number, numbers, raw, text

Levels = NDArray[np.float64]


class NotApplied(Exception):
    """A transformation cannot be applied; the message says why."""


def transformed(levels: Levels, lowest: int, highest: int, data: Dataset, notes: list[str]) -> Levels:
    """Stored values after the transformations of the header, in no particular unit; float64, of the same shape.

    levels           the image's stored values, each once
    lowest, highest  smallest and largest value that its bits can hold
    notes            what was declared and not applied is appended
    """
    levels, signed = _modality(levels, lowest, highest, data, notes)
    return _voi(levels, signed, data, notes)


def _modality(levels: Levels, lowest: int, highest: int, data: Dataset, notes: list[str]) -> tuple[Levels, bool]:
    """Levels after the modality LUT or rescale (C.11.1), and whether the result may be negative."""
    for item in items(data, "ModalityLUTSequence"):
        try:
            return apply_lut(levels, item, lowest < 0, _little_endian(data)), False
        except NotApplied as why:
            notes.append(f"modality LUT not applied: {why}")
    slope, intercept = number(data, "RescaleSlope"), number(data, "RescaleIntercept")
    slope, intercept = 1.0 if slope is None else slope, 0.0 if intercept is None else intercept
    if not math.isfinite(slope) or not math.isfinite(intercept) or slope == 0:
        notes.append("rescale not applied: its slope or intercept is not a usable number")
        return levels, lowest < 0
    with np.errstate(over="ignore"):
        rescaled = levels * slope + intercept
    if not np.isfinite(rescaled).all() or (np.diff(rescaled) == 0).any():
        notes.append("rescale not applied: its result is not finite, or different values become the same")
        return levels, lowest < 0
    return rescaled, min(lowest * slope, highest * slope) + intercept < 0


def _voi(levels: Levels, signed: bool, data: Dataset, notes: list[str]) -> Levels:
    """Levels after the first VOI LUT or, if there is none, the first window that can be applied (C.11.2)."""
    failed = []
    for item in items(data, "VOILUTSequence"):
        try:
            return apply_lut(levels, item, signed, _little_endian(data))
        except NotApplied as why:
            failed.append(f"VOI LUT not applied: {why}")
    centres, widths = numbers(data, "WindowCenter"), numbers(data, "WindowWidth")
    function = text(data, "VOILUTFunction") or "LINEAR"
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        if centres:
            failed.append(f"VOI LUT function {function[:30]} is unknown, read as LINEAR")
        function = "LINEAR"
    if len(centres) != len(widths):
        failed.append("window not applied: it has a center or a width only")
    for centre, width in zip(centres, widths, strict=False):
        try:
            windowed = apply_window(levels, centre, width, function)
        except NotApplied as why:
            failed.append(f"window not applied: {why}")
            continue
        notes += failed
        return windowed
    notes += dict.fromkeys(failed)
    return levels


def apply_window(levels: Levels, centre: float, width: float, function: str) -> Levels:
    """Levels in [0, 1] after a window (C.11.2.1.2 and C.11.2.1.3).

    function  LINEAR, LINEAR_EXACT or SIGMOID
    Raises NotApplied if the window has no usable center or width, or shows every level of the image the same.
    """
    if not math.isfinite(centre) or not math.isfinite(width) or width < (1 if function == "LINEAR" else 1e-9):
        raise NotApplied(f"center {centre:g}, width {width:g}")
    if function == "SIGMOID":
        with np.errstate(over="ignore"):
            shown = 1 / (1 + np.exp(-4 * (levels - centre) / width))
    elif function == "LINEAR_EXACT":
        shown = ((levels - centre) / width + 0.5).clip(0, 1)
    elif width == 1:
        shown = (levels > centre - 0.5).astype(np.float64)
    else:
        shown = ((levels - (centre - 0.5)) / (width - 1) + 0.5).clip(0, 1)
    if np.ptp(levels) > 0 and np.ptp(shown) < 1e-6:
        raise NotApplied(f"center {centre:g}, width {width:g} lies outside the image's values")
    return shown


def apply_lut(levels: Levels, item: Dataset, signed: bool, little_endian: bool) -> Levels:
    """Levels after the look-up table of a modality or VOI LUT item (C.11.1.1, C.11.2.1.1).

    signed         whether the table's input may be negative: then its first mapped value is signed
    little_endian  byte order of the data set
    Raises NotApplied if the table is empty or broken, or shows every level of the image the same.
    """
    descriptor = numbers(item, "LUTDescriptor")
    if isinstance(stored := raw(item, "LUTDescriptor"), bytes):
        descriptor = np.frombuffer(stored[: len(stored) // 2 * 2], "<u2" if little_endian else ">u2").tolist()
    if len(descriptor) != 3 or not all(float(value).is_integer() for value in descriptor):
        raise NotApplied("it has no usable descriptor")
    # Each value is 16 bits, whose sign depends on the representation with which the file was read.
    count, first, bits = (int(value) & 0xFFFF for value in descriptor)
    count = count or 65536
    first = first - 65536 if signed and first > 32767 else first
    if not 1 <= bits <= 16:
        raise NotApplied(f"it declares {bits} bits an entry")
    entries = _entries(raw(item, "LUTData"), count, bits, little_endian)
    shown = entries[(np.rint(levels) - first).clip(0, count - 1).astype(np.int64)].astype(np.float64)
    if np.ptp(levels) > 0 and np.ptp(shown) == 0:
        raise NotApplied("it shows every value of the image the same")
    return shown


def _entries(value: Any, count: int, bits: int, little_endian: bool) -> NDArray[np.uint16]:
    """The entries of a table, uint16 (count,). Entries of up to 8 bits may be packed, two to a 16-bit word."""
    if isinstance(value, bytes):
        whole = value[: len(value) // 2 * 2]
        words = np.frombuffer(whole, "<u2" if little_endian else ">u2")
        odd = value[len(whole) :]
    else:
        several = value if isinstance(value, Iterable) else [] if value is None else [value]
        try:
            words = np.array([int(each) & 0xFFFF for each in several], dtype=np.uint16)
        except (TypeError, ValueError):
            raise NotApplied("its entries are not numbers") from None
        odd = b""
    if len(words) >= count:
        return words[:count].astype(np.uint16)
    packed = np.frombuffer(words.astype("<u2").tobytes() + odd, np.uint8)  # the first entry is the low byte
    if bits <= 8 and len(packed) >= count:
        return packed[:count].astype(np.uint16)
    raise NotApplied(f"it declares {count:,} entries and has {len(words):,}")


def _little_endian(data: Dataset) -> bool:
    return data.original_encoding[1] is not False
