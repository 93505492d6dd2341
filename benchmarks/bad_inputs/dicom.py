"""DICOM: what the header means."""

from collections.abc import Iterator

import numpy as np
from pydicom.uid import ImplicitVRLittleEndian

from bad_inputs import GREY, TWELVE, WIDE, File
from bad_inputs.encoded import dicom, item, lut

_SIGNED = TWELVE.astype(np.int16) - 2048


def inputs() -> Iterator[File]:
    """Display attributes, look-up tables, bits, geometry, views, and what is no radiograph."""
    for name, content, says in _displayed():
        yield File("DICOM, display attributes", name, content, says=says, grey=GREY)
    for name, content in _tables():
        yield File("DICOM, look-up tables", name, content, grey=GREY)
    for name, content in _bits():
        yield File("DICOM, signs and bits", name, content, grey=GREY)
    yield from _geometry()
    yield from _views()
    yield from _no_radiograph()


def _displayed() -> Iterator[tuple[str, bytes, str]]:
    """Name, content, and what the note has to say."""
    for keyword in ("WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept", "VOILUTFunction"):
        yield f"{keyword} empty", dicom(TWELVE, bits=12, **{keyword: None}), ""
    for keyword in ("ModalityLUTSequence", "VOILUTSequence"):
        yield f"{keyword} empty", dicom(TWELVE, bits=12, **{keyword: []}), ""
    for keyword in ("PixelPaddingValue", "PixelAspectRatio", "PresentationLUTShape", "ViewPosition", "Modality"):
        yield f"{keyword} empty", dicom(TWELVE, bits=12, **{keyword: None}), ""
    window = {"WindowCenter": "2048", "WindowWidth": "4096"}
    yield "window of everything", dicom(TWELVE, bits=12, **window), ""
    for width in ("0", "-5"):
        yield (
            f"window of width {width}",
            dicom(TWELVE, bits=12, WindowCenter="5", WindowWidth=width),
            "window not applied",
        )
    for text in ("nan", "inf", "1e999", "wide", "2048x"):
        center = dicom(TWELVE, bits=12, WindowWidth="4096", vr_WindowCenter=("SH", text))
        yield f"window center {text}", _as(center, "WindowCenter", "DS"), ""
        slope = dicom(TWELVE, bits=12, RescaleIntercept="0", vr_RescaleSlope=("SH", text))
        yield f"rescale slope {text}", _as(slope, "RescaleSlope", "DS"), ""
    decimal = dicom(TWELVE, bits=12, WindowWidth="4096", vr_WindowCenter=("SH", "2048,5"))
    yield "decimal comma in the window", _as(decimal, "WindowCenter", "DS"), ""
    decimal = dicom(TWELVE, bits=12, RescaleIntercept="0", vr_RescaleSlope=("SH", "1,5"))
    yield "decimal comma in the slope", _as(decimal, "RescaleSlope", "DS"), ""
    yield "two windows, the first of width 0", dicom(TWELVE, bits=12, WindowCenter=[5, 2048], WindowWidth=[0, 4096]), ""
    yield "rescale slope 0", dicom(TWELVE, bits=12, RescaleSlope="0", RescaleIntercept="0"), ""
    yield "rescale slope without intercept", dicom(TWELVE, bits=12, RescaleSlope="2"), ""
    yield "window of another function", dicom(TWELVE, bits=12, VOILUTFunction="LOGARITHM", **window), ""
    table = lut(("US", [0, 0, 16]), ("US", []))
    yield "VOI LUT without entries", dicom(TWELVE, bits=12, VOILUTSequence=table), ""
    yield "VOI LUT without descriptor", dicom(TWELVE, bits=12, VOILUTSequence=item({"LUTData": ("US", [1, 2])})), ""
    yield "MONOCHROME1", dicom(4095 - TWELVE, bits=12, PhotometricInterpretation="MONOCHROME1"), ""
    inverse = dicom(4095 - TWELVE, bits=12, PresentationLUTShape="INVERSE", PhotometricInterpretation="MONOCHROME1")
    yield "MONOCHROME1 and PresentationLUTShape INVERSE", inverse, ""


def _as(content: bytes, keyword: str, vr: str) -> bytes:
    """A text that pydicom would not write in this value representation."""
    tag = {"WindowCenter": b"\x28\0\x50\x10", "RescaleSlope": b"\x28\0\x53\x10"}[keyword]
    return content.replace(tag + b"SH", tag + vr.encode())


def _tables() -> Iterator[tuple[str, bytes]]:
    for implicit in (False, True):
        syntax = {"syntax": ImplicitVRLittleEndian} if implicit else {}
        how = ", implicit VR" if implicit else ""
        identity16 = lut(("US", [4096, 0, 16]), ("OW", (np.arange(4096) * 16).astype("<u2").tobytes()))
        yield f"modality LUT of 16 bits{how}", dicom(TWELVE, bits=12, ModalityLUTSequence=identity16, **syntax)
        identity12 = lut(("US", [4096, 0, 12]), ("OW", np.arange(4096).astype("<u2").tobytes()))
        yield f"modality LUT of 12 bits{how}", dicom(TWELVE, bits=12, ModalityLUTSequence=identity12, **syntax)
        yield f"VOI LUT of 12 bits{how}", dicom(TWELVE, bits=12, VOILUTSequence=identity12, **syntax)
        bytes8 = lut(("US", [256, 0, 8]), ("OW", np.arange(256).astype(np.uint8).tobytes()))
        yield f"VOI LUT of 8 bits, packed{how}", dicom(GREY, VOILUTSequence=bytes8, **syntax)
        words8 = lut(("US", [256, 0, 8]), ("OW", np.arange(256).astype("<u2").tobytes()))
        yield f"VOI LUT of 8 bits in words{how}", dicom(GREY, VOILUTSequence=words8, **syntax)
        many8 = lut(("US", [4096, 0, 8]), ("OW", (np.arange(4096) // 16).astype(np.uint8).tobytes()))
        yield f"VOI LUT of 4,096 entries of 8 bits{how}", dicom(TWELVE, bits=12, VOILUTSequence=many8, **syntax)
        signed = lut(("SS", [4096, -2048, 16]), ("OW", (np.arange(4096) * 16).astype("<u2").tobytes()))
        yield f"VOI LUT from -2048 on{how}", dicom(_SIGNED, bits=12, VOILUTSequence=signed, **syntax)
        rescaled = dicom(TWELVE, bits=12, RescaleSlope="1", RescaleIntercept="-2048", VOILUTSequence=signed, **syntax)
        yield f"VOI LUT from -2048 on, after a rescale{how}", rescaled


def _bits() -> Iterator[tuple[str, bytes]]:
    yield "8 bits", dicom(GREY)
    yield "8 bits in cells of 16", dicom(GREY.astype(np.uint16), bits=8)
    yield "10 bits", dicom(TWELVE >> 2, bits=10)
    yield "16 bits", dicom(WIDE)
    yield "signed", dicom(_SIGNED, bits=12)
    yield "signed, its sign not extended", dicom((_SIGNED & 0xFFF).view(np.int16), bits=12)
    yield "justified to the left", dicom(TWELVE << 4, bits=12, HighBit=15)
    yield "HighBit forgotten", dicom(TWELVE << 4, bits=12)
    yield "values beyond BitsStored", dicom(TWELVE, bits=10)
    yield "BitsStored absent", dicom(TWELVE, without=("BitsStored",))
    yield "BitsStored 0", dicom(TWELVE, BitsStored=0)
    yield "BitsStored above BitsAllocated", dicom(TWELVE, BitsStored=20)
    yield "32 bits", dicom(WIDE.astype(np.uint32) * 60_000)
    cases = ((65535, "US"), (4095, "US"), (-1, "SS"))
    for value, vr in cases:  # padding: never in the picture, so nothing is padding
        yield f"padding {value} ({vr})", dicom(np.minimum(TWELVE, 4000), bits=12, vr_PixelPaddingValue=(vr, value))


def _geometry() -> Iterator[File]:
    kind = "DICOM, geometry"
    flat = np.ascontiguousarray(GREY[::2])
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio"):
        value = ["2", "1"] if keyword == "PixelAspectRatio" else ["0.4", "0.2"]
        yield File(kind, f"{keyword} 2 to 1", dicom(flat, **{keyword: value}), grey=GREY)
        yield File(kind, f"{keyword} 0 to 0", dicom(GREY, **{keyword: ["0", "0"]}), grey=GREY)
    yield File(
        kind, "pixels 50 times as high as wide", dicom(GREY, PixelSpacing=["50", "1"]), grey=GREY, says="not applied"
    )


def _views() -> Iterator[File]:
    kind = "DICOM, views"
    for view in ("LL", "RL", "LATERAL", "LAT", "lateral", "L LAT", "RLO", "LAO"):
        yield File(
            kind, f"ViewPosition {view}", dicom(GREY, ViewPosition=view), "left out", "view, as the DICOM header"
        )
    for view in ("PA", "AP", "AP SUPINE", "LLD", "?"):
        yield File(kind, f"ViewPosition {view}", dicom(GREY, ViewPosition=view), grey=GREY)
    code = item(
        {"CodeValue": ("SH", "399067008"), "CodingSchemeDesignator": ("SH", "SCT"), "CodeMeaning": ("LO", "lateral")}
    )
    yield File(kind, "ViewCodeSequence lateral", dicom(GREY, ViewCodeSequence=code), "left out", "lateral view")
    yield File(kind, "PatientOrientation A\\F", dicom(GREY, PatientOrientation=["A", "F"]), "left out", "lateral view")
    yield File(kind, "PatientOrientation L\\F", dicom(GREY, PatientOrientation=["L", "F"]), grey=GREY)
    yield File(
        kind, "SeriesDescription lateral", dicom(GREY, SeriesDescription="Thorax lateral"), says="lateral", grey=GREY
    )


def _no_radiograph() -> Iterator[File]:
    kind = "DICOM, no radiograph"
    yield File(kind, "without pixels", dicom(None), "left out", "holds no pixels")
    yield File(kind, "3 frames", dicom(GREY, NumberOfFrames=3), "left out", "several frames")
    for modality in ("CT", "MR", "US", "MG"):
        yield File(kind, f"modality {modality}", dicom(GREY, Modality=modality), "left out", "modality is")
    colour = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    yield File(kind, "in colour", dicom(np.dstack([GREY] * 3), **colour), "left out", "in colour")
    yield File(kind, "without preamble", dicom(GREY)[132:], grey=GREY)
    yield File(kind, "one grey level", dicom(np.full((9, 9), 7, np.uint16)))
    for keyword in ("Rows", "Columns", "BitsAllocated"):
        yield File(kind, f"without {keyword}", dicom(GREY, without=(keyword,)), "left out", f"gives no {keyword}")
    yield File(kind, "Rows 0", dicom(GREY, Rows=0), "left out", "gives no Rows")
