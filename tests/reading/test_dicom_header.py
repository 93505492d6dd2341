"""What a DICOM header means: grey levels, bits, geometry and views, against PS3.3 by hand and against dcmtk."""

import io
import re
import warnings

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.sr._concepts_dict import concepts
from pydicom.sr._snomed_dict import mapping
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from cxrflow.errors import LeftOut
from cxrflow.reading import Decoded, to_uint8
from cxrflow.reading.dicom import read_dicom
from cxrflow.reading.transformations import NotApplied, apply_lut, apply_window
from cxrflow.reading.views import view_in

RAMP = np.arange(3072, dtype=np.uint16).reshape(64, 48)  # 12 bits


def file(pixels: np.ndarray = RAMP, *, implicit: bool = False, raw: dict | None = None, **tags: object) -> bytes:
    """A DX image of 12 bits in 16 with the attributes changed; ``raw`` has (VR, value) by keyword."""
    syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = syntax, "1.2.840.10008.5.1.4.1.1.1.1"
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, "1.2.3"
    data.Modality, data.SamplesPerPixel, data.PhotometricInterpretation = "DX", 1, "MONOCHROME2"
    data.Rows, data.Columns = pixels.shape
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.PixelData = pixels.tobytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for keyword, value in tags.items():
            setattr(data, keyword, value)
        for keyword, (vr, value) in (raw or {}).items():
            data.add_new(pydicom.datadict.tag_for_keyword(keyword), vr, value)
        out = io.BytesIO()
        data.save_as(out)
    return out.getvalue()


def lut(descriptor: list[int], vr: str, entries: object, descriptor_vr: str = "US") -> Sequence:
    item = Dataset()
    item.add_new(0x00283002, descriptor_vr, descriptor)
    item.add_new(0x00283006, vr, entries)
    return Sequence([item])


PLAIN = read_dicom(file()).grey


def same_as_plain(found: Decoded) -> bool:
    return bool(np.array_equal(found.grey, PLAIN))


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize(
    "tags",
    [
        {"RescaleSlope": None, "RescaleIntercept": None},
        {"WindowCenter": "2048", "WindowWidth": "4096", "VOILUTFunction": ""},
        {"WindowCenter": None, "WindowWidth": None},
        {"PixelPaddingValue": None},
        {"VOILUTSequence": Sequence([])},
        {"ModalityLUTSequence": Sequence([])},
        {"PresentationLUTShape": "", "PixelAspectRatio": None, "PixelSpacing": None, "NumberOfFrames": None},
    ],
)
def test_an_empty_attribute_counts_as_absent(tags, implicit) -> None:
    found = read_dicom(file(implicit=implicit, **tags))
    assert same_as_plain(found)
    assert found.note is None


@pytest.mark.parametrize(
    ("tags", "note"),
    [
        ({"WindowCenter": "5", "WindowWidth": "0"}, "window not applied: center 5, width 0"),
        ({"WindowCenter": "2000", "WindowWidth": "-4"}, "window not applied: center 2000, width -4"),
        ({"WindowCenter": "60000", "WindowWidth": "10"}, "lies outside the image's values"),
        ({"WindowCenter": "2000"}, "window not applied: it has a center or a width only"),
        ({"VOILUTSequence": lut([256, 0, 16], "US", [1, 2, 3])}, "declares 256 entries and has 3"),
        ({"VOILUTSequence": lut([4, 0, 16], "US", [7, 7, 7, 7])}, "shows every value of the image the same"),
        ({"VOILUTSequence": lut([256, 0], "US", [1, 2, 3])}, "no usable descriptor"),
        ({"VOILUTSequence": Sequence([Dataset()])}, "VOI LUT not applied: it has no usable descriptor"),
        ({"ModalityLUTSequence": lut([9, 0, 40], "US", list(range(9)))}, "modality LUT not applied: it declares 40"),
        ({"RescaleSlope": "0", "RescaleIntercept": "5"}, "rescale not applied"),
        ({"RescaleSlope": "1e-9", "RescaleIntercept": "1e9"}, "different values become the same"),
        ({"VOILUTSequence": lut([256, 0, 16], "US", None)}, "declares 256 entries and has 0"),
        ({"PresentationIntentType": "FOR PROCESSING"}, "FOR PROCESSING"),
    ],
)  # fmt: skip
def test_what_cannot_be_applied_is_noted_and_costs_nothing(tags, note) -> None:
    found = read_dicom(file(**tags))
    assert same_as_plain(found)
    assert note in found.note


@pytest.mark.parametrize("text", ["NaN", "Inf", "abc", "1e400"])
def test_a_number_that_is_none(text) -> None:
    for keyword in ("RescaleSlope", "WindowCenter"):
        others = {"RescaleIntercept": "0"} if keyword == "RescaleSlope" else {"WindowWidth": "4096"}
        found = read_dicom(file(raw={keyword: ("LO", text)}, **others))
        assert same_as_plain(found)
        assert "not applied" in found.note


@pytest.mark.parametrize("slope", ["1e-320", "1e300"])
def test_a_rescale_of_any_size_keeps_the_picture(slope) -> None:
    assert same_as_plain(read_dicom(file(RescaleSlope=slope, RescaleIntercept="0")))


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"BitsAllocated": 12}, "DICOM header gives 12 BitsAllocated"),
        ({"BitsAllocated": None}, "DICOM header gives no BitsAllocated"),
        ({"Rows": None}, "DICOM header gives no Rows"),
        ({"PhotometricInterpretation": "MONOCHROME3"}, r"colour \(MONOCHROME3\)"),
        ({"Modality": ["DX", "CT"]}, "modality is DX"),
    ],
)
def test_damaged_is_said_of_damaged_pixels_alone(tags, reason) -> None:
    with pytest.raises(LeftOut, match=reason) as raised:
        read_dicom(file(**tags))
    assert "damaged" not in str(raised.value)


@pytest.mark.parametrize("tags", [{"PhotometricInterpretation": "MONOCHROME"}, {"Modality": ["CR", "DX"]}])
def test_a_header_that_says_the_same_in_other_words(tags) -> None:
    assert same_as_plain(read_dicom(file(**tags)))


def test_a_decimal_comma_is_a_point() -> None:
    content = file(WindowCenter="1000.5", WindowWidth="500.0")
    comma = content.replace(b"1000.5", b"1000,5").replace(b"500.0", b"500,0")
    assert comma != content
    assert np.array_equal(read_dicom(comma).grey, read_dicom(content).grey)


@pytest.mark.parametrize(("vr", "value"), [("FD", 1000.0), ("US", 1000), ("LO", "1000"), ("UN", b"1000")])
def test_a_window_in_another_representation(vr, value) -> None:
    expected = read_dicom(file(WindowCenter="1000", WindowWidth="500"))
    assert np.array_equal(read_dicom(file(raw={"WindowCenter": (vr, value)}, WindowWidth="500")).grey, expected.grey)


def test_of_several_windows_the_first_that_can_be_applied_counts() -> None:
    several = read_dicom(file(WindowCenter=["5", "1000", "9"], WindowWidth=["0", "500", "9"]))
    assert np.array_equal(several.grey, read_dicom(file(WindowCenter="1000", WindowWidth="500")).grey)
    assert several.note == "window not applied: center 5, width 0"


def test_windows_by_hand() -> None:
    """PS3.3 C.11.2.1.2.1, C.11.2.1.3.2 and C.11.2.1.3.1 for center 100 and width 50, at five values."""
    x = np.array([0.0, 75, 100, 110, 200])
    assert np.allclose(apply_window(x, 100, 50, "LINEAR"), [0, 0, 0.5 / 49 + 0.5, 10.5 / 49 + 0.5, 1])
    assert np.allclose(apply_window(x, 100, 50, "LINEAR_EXACT"), [0, 0, 0.5, 0.7, 1])
    assert np.allclose(apply_window(x, 100, 50, "SIGMOID"), 1 / (1 + np.exp(-4 * (x - 100) / 50)))
    assert apply_window(x, 100, 1, "LINEAR").tolist() == [0, 0, 1, 1, 1]


RISING = [i >> 4 for i in range(4096)]


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("kind", ["VOILUTSequence", "ModalityLUTSequence"])
@pytest.mark.parametrize(
    ("bits", "vr", "entries"),
    [
        (8, "US", RISING),
        (8, "OW", np.array(RISING, "<u2").tobytes()),
        (8, "OW", bytes(RISING)),
        (8, "US", np.frombuffer(bytes(RISING), "<u2").tolist()),
        (12, "US", RISING),
        (16, "OW", np.array(RISING, "<u2").tobytes()),
        (8, "OB", bytes(RISING)),
        (12, "SS", RISING),
    ],
)
def test_a_table_of_any_width_and_packing_gives_its_entries(bits, vr, entries, kind, implicit) -> None:
    found = read_dicom(file(implicit=implicit, **{kind: lut([4096, 0, bits], vr, entries)}))
    expected = np.rint((RAMP >> 4) * (65535 / (3071 >> 4)))
    assert np.abs(found.grey - expected).max() <= 1
    assert found.note is None


@pytest.mark.parametrize(("vr", "descriptor"), [("OW", b"\x00\x10\0\0\x0c\0"), ("DS", ["4096", "0", "12"])])
def test_a_table_whose_descriptor_has_another_representation(vr, descriptor) -> None:
    found = read_dicom(file(VOILUTSequence=lut(descriptor, "US", RISING, vr)))
    assert found.note is None
    assert np.array_equal(found.grey, read_dicom(file(VOILUTSequence=lut([4096, 0, 12], "US", RISING))).grey)


def test_a_table_of_65536_entries_is_declared_as_zero() -> None:
    turned = np.arange(65536, dtype="<u2")[::-1]
    found = read_dicom(file(VOILUTSequence=lut([0, 0, 16], "OW", turned.tobytes())))
    assert np.array_equal(found.grey, 65535 - PLAIN)


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize(("descriptor_vr", "first"), [("SS", -1000), ("US", 64536)])
def test_the_first_mapped_value_is_signed_where_the_rescale_gives_negative_values(
    descriptor_vr, first, implicit
) -> None:
    """Values 0 to 3071, rescaled to -1000 to 2071: the table begins at -1000 and so shows all of them."""
    table = lut([3072, first, 16], "US", list(range(3072)), descriptor_vr)
    found = read_dicom(file(implicit=implicit, RescaleSlope="1", RescaleIntercept="-1000", VOILUTSequence=table))
    assert same_as_plain(found)
    # Not signed: values below 64536 get the first entry, so an unsigned reading would be one grey.
    unsigned = apply_lut(np.array([0.0, 64536, 64537, 65535]), table[0], False, True)
    assert unsigned.tolist() == [0, 0, 1, 999]


@given(st.integers(0, 70_000), st.integers(-70_000, 70_000), st.integers(0, 40), st.binary(max_size=600))
def test_any_table_is_applied_or_refused(count, first, bits, entries) -> None:
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [count & 0xFFFF, first & 0xFFFF, bits], entries
    try:
        shown = apply_lut(np.arange(0.0, 300), item, True, True)
    except NotApplied:
        return
    assert shown.shape == (300,)
    assert 0 <= shown.min() < shown.max() <= 65535


_CURVE = [int(65535 * (i / 3071) ** 2) for i in range(3072)]


@pytest.mark.parametrize(
    ("tags", "levels"),
    [
        ({"WindowCenter": "1000", "WindowWidth": "500"}, [0, 0, 127, 255, 255, 255]),
        ({"WindowCenter": "1500", "WindowWidth": "800", "VOILUTFunction": "SIGMOID"}, [0, 1, 19, 127, 253, 254]),
        (
            {"RescaleSlope": "2", "RescaleIntercept": "-1000", "WindowCenter": "1000", "WindowWidth": "2000"},
            [0, 0, 127, 255, 255, 255],
        ),
        ({"VOILUTSequence": lut([4096, 0, 8], "OW", bytes(RISING))}, [0, 31, 62, 93, 156, 191]),
        (
            {
                "RescaleSlope": "1",
                "RescaleIntercept": "-1000",
                "VOILUTSequence": lut([3072, -1000, 16], "US", _CURVE, "SS"),
            },
            [0, 6, 27, 61, 169, 255],
        ),
        ({"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"}, [255, 213, 171, 130, 47, 0]),
    ],
)
def test_the_grey_levels_of_dcmtk(tags, levels) -> None:
    """Pixels 0, 500, 1000, 1500, 2500 and 3071 of the ramp as dcmtk 3.6.7 shows them (dcm2pnm +Wi 1, +Wl 1 or +Wm)."""
    ours = read_dicom(file(**tags)).grey.ravel()[[0, 500, 1000, 1500, 2500, 3071]] / 65535
    theirs = np.array(levels)
    assert np.abs(ours - (theirs - theirs.min()) / np.ptp(theirs)).max() < 1.5 / 255


@pytest.mark.parametrize(("vr", "value"), [("SS", -2000), ("US", 63536)])
def test_padding_of_signed_pixels_may_be_written_without_sign(vr, value) -> None:
    pixels = RAMP.astype(np.int16) - 1000
    pixels[:, :8] = -2000
    bits = {"BitsStored": 16, "HighBit": 15, "PixelRepresentation": 1}
    grey = read_dicom(file(pixels, raw={"PixelPaddingValue": (vr, value)}, **bits)).grey
    assert not grey[:, :8].any()
    expected = (pixels[:, 8:] + 992) * (65535 / (2071 + 992))  # the darkest tissue is RAMP's 8
    assert np.abs(grey[:, 8:] - expected).max() <= 0.5


def test_padding_of_12_bits_may_be_written_with_16() -> None:
    pixels = RAMP.copy()
    pixels[:, :8] = 4095
    grey = read_dicom(file(pixels, raw={"PixelPaddingValue": ("US", 65535)})).grey
    assert not grey[:, :8].any()
    assert grey[:, 8:].max() == 65535
    assert grey[-1, -1] == 65535


@pytest.mark.parametrize(("vr", "value"), [("US", 63536), ("SS", -2000)])
def test_padding_beyond_the_pixels_is_no_tissue(vr, value) -> None:
    """Cut to 12 bits, -2000 would be 2096, a value of tissue."""
    assert same_as_plain(read_dicom(file(raw={"PixelPaddingValue": (vr, value)})))


def test_left_justified_samples() -> None:
    assert same_as_plain(read_dicom(file(RAMP << 4, HighBit=15)))
    overlay = (RAMP << 4) | (RAMP % 2)  # the lowest bit is an overlay, as before 2014
    assert same_as_plain(read_dicom(file(overlay, HighBit=15)))


def test_left_justified_samples_of_a_dark_image() -> None:
    """Values that 12 bits could hold as they are, too: HighBit decides, so that the window lies at 96 and not at 6."""
    dark = (RAMP >> 4) << 4
    window = {"WindowCenter": "96", "WindowWidth": "65"}
    found = read_dicom(file(dark, HighBit=15, **window))
    assert np.array_equal(found.grey, read_dicom(file(RAMP >> 4, **window)).grey)


def test_samples_that_are_not_left_justified_as_declared() -> None:
    assert same_as_plain(read_dicom(file(RAMP, HighBit=15)))
    signed = RAMP.astype(np.int16) - 1000
    bits = {"BitsStored": 13, "PixelRepresentation": 1}
    right, wrong = (read_dicom(file(signed, HighBit=high, **bits)) for high in (12, 15))
    assert np.array_equal(wrong.grey, right.grey)


def test_an_overlay_in_the_high_bits_is_no_grey_level() -> None:
    overlay = RAMP | ((RAMP % 2) << 15)
    for tags in ({}, {"HighBit": None}):
        data = pydicom.dcmread(io.BytesIO(file(overlay, **tags)))
        data.add_new(0x60000100, "US", 16)
        data.add_new(0x60000102, "US", 15)
        out = io.BytesIO()
        data.save_as(out)
        assert same_as_plain(read_dicom(out.getvalue()))


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_pixels_of_one_bit(photometric) -> None:
    """Eight to a byte, the first in its lowest bit (PS3.5, 8.1.1). A byte for each is eight frames, not declared."""
    white = RAMP % 3 == 0
    bits = {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0, "PhotometricInterpretation": photometric}
    packed = np.packbits(white, bitorder="little")
    shape = {"Rows": 64, "Columns": 48}
    grey = to_uint8(read_dicom(file(packed[None], **shape, **bits)).grey)
    assert np.array_equal(grey == 255, white if photometric == "MONOCHROME2" else ~white)
    with pytest.raises(LeftOut, match="several frames"):
        read_dicom(file(white.astype(np.uint8), **bits))


def test_values_beyond_the_bits_stored_are_kept_and_noted() -> None:
    found = read_dicom(file(BitsStored=10, HighBit=9))
    assert same_as_plain(found)
    assert found.note == "BitsStored is 10, but the values take more bits"


def test_the_sign_of_twelve_bits_is_extended() -> None:
    signed = RAMP.astype(np.int16) - 1000
    found = read_dicom(file((signed.view(np.uint16) & 0x0FFF), PixelRepresentation=1))
    expected = np.where(signed < 2048, signed, signed - 4096).astype(float)  # 12 bits hold -2048 to 2047
    expected = (expected - expected.min()) * (65535 / np.ptp(expected))
    assert np.abs(found.grey - expected).max() <= 0.5


@pytest.mark.parametrize(
    ("photometric", "shape", "turned"),
    [
        ("MONOCHROME2", "IDENTITY", False), ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME1", "INVERSE", True), ("MONOCHROME1", "IDENTITY", True),
    ],
)  # fmt: skip
def test_the_presentation_lut_shape(photometric, shape, turned) -> None:
    found = read_dicom(file(PhotometricInterpretation=photometric, PresentationLUTShape=shape))
    assert np.array_equal(found.grey, 65535 - PLAIN if turned else PLAIN)


@pytest.mark.parametrize(
    ("tags", "shape"),
    [
        ({"PixelSpacing": ["0.2", "0.1"]}, (128, 48)),
        ({"ImagerPixelSpacing": ["0.1", "0.2"]}, (64, 96)),
        ({"NominalScannedPixelSpacing": ["0.15", "0.1"]}, (96, 48)),
        ({"PixelAspectRatio": ["2", "1"]}, (128, 48)),
        ({"PixelSpacing": ["0", "0"], "PixelAspectRatio": ["3", "2"]}, (96, 48)),
        ({"PixelSpacing": ["0.143", "0.143"], "PixelAspectRatio": ["2", "1"]}, (64, 48)),
        ({"PixelAspectRatio": ["1", "0"]}, (64, 48)),
    ],
)
def test_pixels_become_square(tags, shape) -> None:
    found = read_dicom(file(**tags))
    assert found.grey.shape == shape
    assert found.note is None


def test_an_impossible_aspect_is_not_applied() -> None:
    found = read_dicom(file(PixelAspectRatio=["60000", "1"]))
    assert same_as_plain(found)
    assert found.note == "PixelAspectRatio not applied: pixels 6e+04 times as high as wide"


def code(value: str, meaning: str) -> Sequence:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", meaning
    return Sequence([item])


@pytest.mark.parametrize(
    "tags",
    [
        {"ViewPosition": "LL"}, {"ViewPosition": "rl "}, {"ViewPosition": "LATERAL"}, {"ViewPosition": "LEFT LATERAL"},
        {"ViewPosition": "XTABLE LATERAL"}, {"ViewPosition": "L"}, {"ViewPosition": "LAT"},
        {"ViewPosition": "Latero-lateral"}, {"ViewPosition": "PERFIL"}, {"ViewPosition": "LLAT"},
        {"ViewPosition": "SWIMMERS"},
        {"ViewPosition": "", "ViewCodeSequence": code("399067008", "")},
        {"ViewCodeSequence": code("R-10236", "")},
        {"ViewCodeSequence": code("x", "lateral projection")},
        {"PatientOrientation": ["A", "F"]}, {"PatientOrientation": ["PR", "FL"]},
        {"AcquisitionDeviceProcessingDescription": "CHEST_LAT"},
        {"AcquisitionDeviceProcessingCode": "THORAX LAT"},
    ],
)  # fmt: skip
def test_a_lateral_view_is_left_out_wherever_it_is_declared(tags) -> None:
    with pytest.raises(LeftOut, match="lateral view, as the DICOM header says"):
        read_dicom(file(**tags))


@pytest.mark.parametrize(
    "tags",
    [
        {"ViewPosition": "PA"}, {"ViewPosition": "AP"}, {"ViewPosition": "AP SUPINE"}, {"ViewPosition": "LLD"},
        {"ViewPosition": "LEFT LATERAL DECUBITUS"}, {"ViewPosition": "PA", "PatientOrientation": ["A", "F"]},
        {"PatientOrientation": ["L", "F"]}, {"PatientOrientation": ["L"]}, {"ViewCodeSequence": code("272479007", "")},
        {"AcquisitionDeviceProcessingDescription": "CHEST PA AND LATERAL"}, {"ViewPosition": "PLATE 3"},
    ],
)  # fmt: skip
def test_a_frontal_or_unknown_view_is_read(tags) -> None:
    found = read_dicom(file(**tags))
    assert same_as_plain(found)
    assert found.note is None


def test_codes_of_views_are_those_of_the_standard() -> None:
    """CID 4010 as pydicom has it: each lateral or oblique view by its SNOMED CT code and by the former SRT code."""
    before = mapping["SCT"]
    views = {
        code: meaning
        for names in concepts["SCT"].values()
        for code, (meaning, groups) in names.items()
        if 4010 in groups and re.search("lateral|medial|oblique", meaning)
    }
    assert len(views) > 20
    for code_value, meaning in views.items():
        for value in (code_value, before[code_value]):
            with pytest.raises(LeftOut, match="oblique view" if "oblique" in meaning else "lateral view"):
                read_dicom(file(ViewCodeSequence=code(value, "")))


def test_an_oblique_view_is_left_out() -> None:
    with pytest.raises(LeftOut, match="oblique view"):
        read_dicom(file(ViewPosition="LAO"))


def test_a_description_is_a_hint_only() -> None:
    found = read_dicom(file(SeriesDescription="Thorax lateral", BodyPartExamined="KNEE"))
    assert same_as_plain(found)
    assert found.note == "SeriesDescription names a lateral view; BodyPartExamined is KNEE"
    for part in ("CHEST", "THORAX_AP", "TORAX", "Lung"):
        assert read_dicom(file(BodyPartExamined=part)).note is None


@pytest.mark.parametrize(
    ("words", "view"),
    [
        ("", None), ("W033 THORAX PA", "frontal"), ("W034 THORAX LAT", "lateral"), ("PLATELET", None),
        ("OBLIQUE LATERAL", "oblique"), ("PA/LAT", None),
    ],
)  # fmt: skip
def test_views_in_words(words, view) -> None:
    assert view_in(words) == view


def test_grey_levels_are_the_same_in_every_bit_depth() -> None:
    """A pale picture of 8 bits, as stored, with a rescale that changes nothing, with a window, and in 12 bits."""
    pale = (100 + RAMP // 50).astype(np.uint8)
    bits = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    files = [
        file(pale, **bits),
        file(pale, RescaleSlope="1", RescaleIntercept="0", **bits),
        file(pale, RescaleSlope="1", RescaleIntercept="-1024", **bits),
        file(pale, WindowCenter="128", WindowWidth="256", **bits),
        file(pale.astype(np.uint16) * 16),
    ]
    first, *others = (to_uint8(read_dicom(content).grey) for content in files)
    assert (first.min(), first.max()) == (0, 255)
    for other in others:
        assert np.array_equal(other, first)
