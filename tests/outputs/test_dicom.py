"""DICOM objects of a result, read back by highdicom, pydicom and dcmtk, and checked by dciodvfy."""

import io
import shutil
import struct
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from highdicom.sr import srread
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_charset_files, get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sr._concepts_dict import concepts
from pydicom.sr.codedict import codes

from cxrflow.bundle import Bundle
from cxrflow.errors import CxrflowError, LeftOut
from cxrflow.findings import CODES
from cxrflow.outputs import dicom
from cxrflow.outputs.codes import class_code
from cxrflow.outputs.dicom import KINDS, dicom_objects
from cxrflow.outputs.pictures import drawn
from cxrflow.reading import read
from cxrflow.result import Look
from cxrflow.task import Task

Make = Callable[..., Any]
Objects = Callable[..., dict[str, Dataset]]


@pytest.fixture(scope="session")
def objects_of(bundle: Bundle, header: Make, content_of: Make, result_of: Make) -> Objects:
    """Makes all kinds for an image, as files, and reads them: by kind."""

    def make(data: Dataset | None = None, **fields: Any) -> dict[str, Dataset]:
        content = content_of(header() if data is None else data)
        made = dicom_objects(result_of(content, **fields), bundle, content, KINDS)
        return dict(zip(KINDS, map(_read_back, made), strict=False))

    return make


def _read_back(made: Dataset) -> Dataset:
    file = io.BytesIO()
    made.save_as(file, enforce_file_format=True)
    return pydicom.dcmread(io.BytesIO(file.getvalue()))


@pytest.fixture(scope="module")
def objects(objects_of: Objects) -> dict[str, Dataset]:
    return objects_of()


def said(item: Dataset) -> list[tuple[Any, ...]]:
    """Each content item below one: name, and value."""
    found = []
    for child in item.get("ContentSequence", ()):
        name = child.ConceptNameCodeSequence[0].CodeMeaning
        if child.ValueType == "NUM":
            found.append((name, float(child.MeasuredValueSequence[0].NumericValue)))
        elif child.ValueType == "CODE":
            code = child.ConceptCodeSequence[0]
            value = code.get("CodeValue") or code.get("LongCodeValue")
            found.append((name, code.CodingSchemeDesignator, value, code.CodeMeaning))
        elif child.ValueType == "IMAGE":
            found.append((name, child.ReferencedSOPSequence[0].ReferencedSOPInstanceUID))
        else:
            found.append((name, child.get("TextValue") or child.get("UID")))
    return found


def children(item: Dataset, name: str) -> list[Dataset]:
    return [each for each in item.ContentSequence if each.ConceptNameCodeSequence[0].CodeMeaning == name]


def test_the_report_says_everything_that_the_result_says(objects: dict[str, Dataset], bundle: Bundle) -> None:
    report = objects["sr"]
    assert report.SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.34"  # Comprehensive 3D SR
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert (report.CompletionFlag, report.VerificationFlag, report.PreliminaryFlag) == (
        "COMPLETE",
        "UNVERIFIED",
        "PRELIMINARY",
    )
    groups = children(children(report, "Imaging Measurements")[0], "Measurement Group")
    same = [  # algorithm and image
        ("Algorithm Name", "cxrflow, resnet18"),
        ("Algorithm Version", "9.8"),
        ("Algorithm Parameters", "bundle SHA-256 " + "ab" * 32),
        ("Source of Measurement", "1.2.3.4.5"),
    ]
    items = [said(group) for group in groups]
    assert all(set(same) <= set(each) for each in items)
    told = [[item for item in each if item not in same and item[0] != "Tracking Unique Identifier"] for each in items]
    bacterial = ("SCT", "53084003", "Bacterial pneumonia")
    assert told == [
        [("Tracking Identifier", "Class: clear"), ("Finding", "SCT", "17621005", "Normal"), ("Probability", 0.5)],
        [
            ("Tracking Identifier", "Class: viral"),
            ("Finding", "SCT", "75570004", "Viral pneumonia"),
            ("Probability", 0.125),
        ],
        [("Tracking Identifier", "Class: bacterial"), ("Finding", *bacterial), ("Probability", 0.25)],
        [
            ("Tracking Identifier", "Class: other pneumonia"),
            ("Finding", "SCT", "233604007", "Pneumonia"),
            ("Probability", 0.125),
        ],
        [
            ("Tracking Identifier", "Operating point: chosen for a specificity of 0.9"),
            ("Finding", *bacterial),
            ("Threshold Value", 0.25),
            ("Result at the operating point", "SCT", "10828004", "Positive"),
        ],
        [
            ("Tracking Identifier", "Operating point: chosen as if a missed case cost 5 false alarms"),
            ("Finding", *bacterial),
            ("Threshold Value", 0.125),
            ("Result at the operating point", "SCT", "260385009", "Negative"),
        ],
        [
            ("Tracking Identifier", "Image"),
            ("Score for a frontal chest radiograph", 0.75),
            ("Share of new images at least as far from those of training", 0.375),
            ("Coverage of the prediction set", 0.9),
            ("Most probable class", "SCT", "17621005", "Normal"),
            ("Class that cannot be ruled out", "SCT", "17621005", "Normal"),
            ("Class that cannot be ruled out", *bacterial),
        ],
    ]
    assert said(children(report, "Qualitative Evaluations")[0]) == [
        ("Intended use", f"Research use only. {bundle.purpose}"),
        ("Warning", "The image was stored inverted and has been corrected."),
        ("Remark on the header of the image", "BodyPartExamined is HAND"),
    ]
    observer = dict(item[:2] for item in said(report))
    assert observer["Device Observer Name"] == "cxrflow"
    assert observer["Device Observer Serial Number"] == "ab" * 32


def test_highdicom_reads_the_report_by_its_templates(objects: dict[str, Dataset], tmp_path: Path) -> None:
    objects["sr"].save_as(tmp_path / "sr.dcm")
    report = srread(tmp_path / "sr.dcm").content
    groups = report.get_image_measurement_groups()
    assert len(groups) == 7
    (probability,) = groups[2].get_measurements()
    assert (probability.name.value, probability.value, probability.unit.value) == ("122157", 0.25, "1")
    (evaluation,) = groups[4].get_qualitative_evaluations()
    assert evaluation.value == codes.SCT.Positive
    (device,) = report.get_observer_contexts()
    assert device.observer_identifying_attributes.model_name == "resnet18"


def test_a_left_out_image_has_a_report_that_says_so_and_nothing_else(objects_of: Objects, header: Make) -> None:
    empty = {"scores": {}, "prediction": None, "positive_at": {}, "prediction_set": None, "flags": ()}
    empty |= {"frontal": None, "as_far": None}
    made = objects_of(header(Modality="CT"), left_out="modality is CT", note=None, look=None, **empty)
    assert list(made) == ["sr"]
    (group,) = children(children(made["sr"], "Imaging Measurements")[0], "Measurement Group")
    assert {item[0] for item in said(group)} == {
        *("Tracking Identifier", "Tracking Unique Identifier", "Source of Measurement"),
        *("Algorithm Name", "Algorithm Version", "Algorithm Parameters"),
    }
    assert ("Why there is no answer", "No answer: modality is CT.") in said(
        children(made["sr"], "Qualitative Evaluations")[0]
    )


def test_an_empty_prediction_set_is_no_class(objects_of: Objects) -> None:
    group = children(children(objects_of(prediction_set=())["sr"], "Imaging Measurements")[0], "Measurement Group")[-1]
    assert ("Class that cannot be ruled out", "99CXRFLOW", "no-class", "None of the classes") in said(group)


def test_the_heat_is_at_its_place_in_the_map(objects: dict[str, Dataset], look: Look) -> None:
    heat = objects["map"]
    assert heat.SOPClassUID == "1.2.840.10008.5.1.4.1.1.30"
    assert (heat.Rows, heat.Columns, heat.NumberOfFrames) == (240, 200, 1)
    pixels = heat.pixel_array
    assert pixels.dtype == np.float32
    assert np.array_equal(pixels, look.heat())
    # The cell (6, 3), 40 pixels from the top. Its side is 20 pixels: the window of 200 pixels is what the map shows.
    row, column = (np.argwhere(pixels == pixels.max()) + 0.5).mean(axis=0)
    assert (row, column) == pytest.approx((40 + 6.5 * 20, 3.5 * 20), abs=0.5)
    assert not pixels[:40].any()
    mapping = heat.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "1"
    assert "Grad-CAM for bacterial" in mapping.LUTExplanation
    source = heat.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    assert source.ReferencedSOPInstanceUID == "1.2.3.4.5"
    assert source.ReferencedSOPClassUID == "1.2.840.10008.5.1.4.1.1.1.1"
    assert heat.ContentQualification == "RESEARCH"
    spacing = heat.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
    assert list(spacing) == [0.2, 0.2]  # of the detector, as the image has no other


def test_the_overlay_is_what_predict_draws_with_research_use_only_burned_in(
    objects: dict[str, Dataset], objects_of: Objects, look: Look, header: Make, content_of: Make
) -> None:
    picture = objects["sc"]
    assert picture.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7"
    assert (picture.BurnedInAnnotation, picture.PhotometricInterpretation) == ("YES", "RGB")
    assert "Research use only" in picture.DerivationDescription
    assert list(picture.PatientOrientation) == ["L", "F"]
    reference = picture.SourceImageSequence[0]
    assert reference.ReferencedSOPInstanceUID == "1.2.3.4.5"
    assert reference.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
    expected = drawn(look, read(content_of(header())).grey)[..., ::-1].astype(int)
    changed = (picture.pixel_array != expected).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert rows.min() > 220  # the text is at the bottom, over about 0.6 of the width
    assert 100 < columns.max() < 150
    written = picture.pixel_array[changed]
    assert (written < 30).all(axis=1).mean() > 0.5  # black, and white upon it
    assert (written > 100).all(axis=1).sum() > 50
    without_lungs = objects_of(look=Look(look.label, look.shape, look.heats, ()))["sc"]
    colour = np.ptp(without_lungs.pixel_array[:220].astype(float), axis=2)
    places = np.argwhere(colour > 0) + 0.5
    assert np.average(places, axis=0, weights=colour[colour > 0]) == pytest.approx((170, 70), abs=2)


def test_objects_are_of_the_same_patient_and_study_in_series_of_their_own(
    objects: dict[str, Dataset], header: Make
) -> None:
    image = header()
    same = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate", "StudyTime")
    same = (*same, "StudyID", "AccessionNumber", "ReferringPhysicianName", "StudyDescription")
    for made in objects.values():
        assert {keyword: str(made[keyword].value) for keyword in same} == {
            keyword: str(image[keyword].value) for keyword in same
        }
        assert made.SeriesDescription.startswith("Research use only: ")
        assert (made.Manufacturer, made.ManufacturerModelName) == ("cxrflow", "resnet18")
        assert list(made.SoftwareVersions) == ["cxrflow 9.8", "bundle " + ("ab" * 32)[:57]]
        assert made.ContentDate
    for keyword in ("SeriesInstanceUID", "SOPInstanceUID", "SeriesNumber"):
        assert len({str(made[keyword].value) for made in objects.values()}) == 3
    assert not {made.SeriesInstanceUID for made in objects.values()} & {image.SeriesInstanceUID}


def test_what_is_made_again_is_the_same_instance_and_of_another_content_or_bundle_another(
    objects: dict[str, Dataset], objects_of: Objects, header: Make
) -> None:
    def uids(made: dict[str, Dataset]) -> set[str]:
        return {str(each.SOPInstanceUID) for each in made.values()}

    assert uids(objects_of()) == uids(objects)
    assert uids(objects_of(image="file:1")) == uids(objects_of(image="file:2")) == uids(objects)
    for other in (
        objects_of(header(PatientID="P 2")),  # corrected: an archive would drop another report of the same UID
        objects_of(bundle="cd" * 32),
        objects_of(cxrflow="9.9"),
        objects_of(text_places=0),  # text was looked for, and none found
        objects_of(header(SOPInstanceUID="1.2.3.4.6")),
    ):
        assert not uids(other) & uids(objects)
    assert all(pydicom.uid.UID(uid).is_valid for uid in uids(objects))


@pytest.mark.skipif(not shutil.which("dsrdump"), reason="dcmtk is not installed")
def test_dcmtk_reads_them(objects: dict[str, Dataset], tmp_path: Path) -> None:
    for kind, made in objects.items():
        made.save_as(tmp_path / f"{kind}.dcm")
        done = subprocess.run(["dcmdump", tmp_path / f"{kind}.dcm"], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
    done = subprocess.run(["dsrdump", "+Pc", "+Pl", tmp_path / "sr.dcm"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert 'NUM:(122157,DCM,"Probability")="0.25" (1,UCUM,"no units")' in done.stdout
    assert 'CODE:(121071,DCM,"Finding")=(53084003,SCT,"Bacterial pneumonia")' in done.stdout
    assert "Research use only" in done.stdout


#: Headers as real images have them.
QUIRKS: dict[str, dict[str, Any]] = {
    "whole": {},
    "nothing but UIDs": dict.fromkeys(
        (
            *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"),
            *("AccessionNumber", "ReferringPhysicianName", "StudyDescription", "PatientOrientation"),
            *("ImagerPixelSpacing", "Modality"),
        )
    ),
    "empty": dict.fromkeys(
        (
            *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"),
            *("AccessionNumber", "ReferringPhysicianName", "PatientOrientation", "ImagerPixelSpacing"),
        ),
        "",
    ),
    "no study and series": {"StudyInstanceUID": None, "SeriesInstanceUID": None},
    "pixels of a size": {"PixelSpacing": [0.15, 0.15], "LossyImageCompression": "01"},
    "another class": {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.3"},  # of several frames, without functional groups
    "turned": {"PatientOrientation": ["L", "FF"]},
    "private class": {"SOPClassUID": "1.2.826.0.1.3680043.8.498.1"},
}


@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="dicom3tools is not installed")
@pytest.mark.parametrize("name", QUIRKS)
def test_dciodvfy_finds_no_error(name: str, objects_of: Objects, header: Make, tmp_path: Path) -> None:
    for kind, made in objects_of(header(**QUIRKS[name])).items():
        made.save_as(tmp_path / f"{kind}.dcm")
        done = subprocess.run(["dciodvfy", tmp_path / f"{kind}.dcm"], capture_output=True, text=True, errors="replace")
        assert [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")] == []


def test_an_image_without_study_has_one_of_its_own_and_the_report_says_so(objects_of: Objects, header: Make) -> None:
    made = objects_of(header(StudyInstanceUID=None))
    (study,) = {each.StudyInstanceUID for each in made.values()}
    assert study.startswith("2.25.")
    words = [value for _, value in said(children(made["sr"], "Qualitative Evaluations")[0])]
    assert any("names no study" in each for each in words)


MENDED = {
    "1960.01.02": ("PatientBirthDate", "19600102"),
    "1960-01-02": ("PatientBirthDate", "19600102"),
    "19601302": ("PatientBirthDate", ""),
    "unknown": ("PatientBirthDate", ""),
    "05:06:07": ("StudyTime", "050607"),
    "050607.12345678": ("StudyTime", "050607.123456"),
    "25": ("StudyTime", ""),
    "female": ("PatientSex", "F"),
    "W": ("PatientSex", ""),
    "12345678901234567890": ("AccessionNumber", "12345678901234567890"),  # too long, but the archive's
}


@pytest.mark.parametrize("value", MENDED)
def test_values_are_mended_or_left_empty(value: str, objects_of: Objects, header: Make) -> None:
    keyword, mended = MENDED[value]
    data = header()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        setattr(data, keyword, value)
    assert {str(made[keyword].value or "") for made in objects_of(data).values()} == {mended}


def test_names_keep_their_characters_and_where_possible_their_character_set(objects_of: Objects, header: Make) -> None:
    kept = 0
    for path in get_charset_files("chr*.dcm"):
        theirs = pydicom.dcmread(path)
        if "PatientName" not in theirs:  # it is in a sequence
            continue
        data = header(SpecificCharacterSet=theirs.get("SpecificCharacterSet", ""), PatientName=theirs.PatientName)
        made = objects_of(data, look=None)["sr"]
        assert str(made.PatientName) == str(theirs.PatientName).strip(), path
        kept += made.SpecificCharacterSet == theirs.get("SpecificCharacterSet")
    assert kept >= 10


def test_class_names_in_other_characters_than_the_image_s_make_it_utf_8(
    bundle: Bundle, header: Make, content_of: Make, result_of: Make
) -> None:
    task = bundle.task.model_copy(update={"names": bundle.task.names | {"viral": "病毒性肺炎"}})
    content = content_of(header(SpecificCharacterSet="ISO_IR 100", PatientName="Müller^Jörg"))
    (made,) = dicom_objects(result_of(content), bundle.model_copy(update={"task": task}), content, ["sr"])
    made = _read_back(made)
    assert made.SpecificCharacterSet == "ISO_IR 192"
    assert made.PatientName == "Müller^Jörg"
    groups = children(children(made, "Imaging Measurements")[0], "Measurement Group")
    assert ("Tracking Identifier", "Class: 病毒性肺炎") in said(groups[1])


def test_files_that_are_no_images_are_refused_in_one_sentence(
    bundle: Bundle, header: Make, content_of: Make, result_of: Make
) -> None:
    report = Path(get_testdata_file("reportsi.dcm")).read_bytes()
    no_uid = header(SOPInstanceUID=None)
    for content, why in (
        (b"\x89PNG\r\n\x1a\n" + bytes(200), "file is not DICOM"),
        (report, "DICOM object is no image but "),
        (content_of(no_uid), "gives no SOPInstanceUID"),
        (content_of(header(SOPInstanceUID="1.2.3 4")), "gives no SOPInstanceUID"),
        (content_of(header())[:140], "gives no SOPClassUID"),
    ):
        with pytest.raises(LeftOut, match=why):
            dicom_objects(result_of(content), bundle, content, KINDS)
    content = content_of(header())
    with pytest.raises(LeftOut, match="not as it was when it was scored"):
        dicom_objects(result_of(b"other"), bundle, content, KINDS)


def test_without_highdicom_one_sentence_says_what_to_install(
    bundle: Bundle, result_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dicom, "find_spec", lambda name: None)
    with pytest.raises(CxrflowError, match=r"install the extra pacs"):
        dicom_objects(result_of(b""), bundle, b"", KINDS)


def test_pixels_that_are_not_square_stay_so(objects_of: Objects, header: Make) -> None:
    made = objects_of(header(ImagerPixelSpacing=[0.4, 0.2]))
    assert (made["sc"].Rows, made["sc"].Columns) == (240, 200)
    assert list(made["sc"].PixelAspectRatio) == [400, 200]
    spacing = made["map"].SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
    assert list(spacing) == [0.4, 0.2]


KEYWORDS = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID", "Modality"),
    *("AccessionNumber", "ReferringPhysicianName", "StudyInstanceUID", "SeriesInstanceUID", "SpecificCharacterSet"),
    *("PatientOrientation", "PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio", "PatientAge", "SOPClassUID"),
    *("DeidentificationMethod", "LossyImageCompression", "StudyDescription", "IssuerOfPatientID"),
)


ELEMENTS = st.tuples(st.sampled_from(KEYWORDS), st.sampled_from(["LO", "UN", "SQ", "US"]), st.binary(max_size=80))


def encoded(keyword: str, vr: str, value: bytes) -> bytes:
    """An element of any representation and value in explicit little endian (PS3.5, 7.1.2)."""
    tag = pydicom.tag.Tag(keyword)
    value = b"\xfe\xff\x00\xe0\0\0\0\0" if vr == "SQ" else value + b" " * (len(value) % 2)
    length = struct.pack("<2xI", len(value)) if vr in ("SQ", "UN") else struct.pack("<H", len(value))
    return struct.pack("<HH", tag.group, tag.element) + vr.encode() + length + value


@settings(max_examples=25)
@given(st.lists(ELEMENTS, max_size=6))
def test_no_header_crashes(
    bundle: Bundle, header: Make, content_of: Make, result_of: Make, elements: list[tuple[str, str, bytes]]
) -> None:
    """Values of any bytes and of any representation: the objects are made and can be read, or the header cannot be
    opened, or names no class."""
    content = content_of(header()) + b"".join(encoded(*element) for element in elements)
    made, why, kinds = [], "", KINDS
    try:
        read(content)
    except LeftOut:  # of another modality, for example: such an image is never scored, and never drawn
        kinds = ("sr", "map")
    try:
        made = dicom_objects(result_of(content), bundle, content, kinds)
    except LeftOut as reason:
        why = str(reason)
    assert made or why.startswith(("DICOM header is damaged", "DICOM header gives no SOPClassUID"))
    for each in map(_read_back, made):
        assert each.SeriesDescription.startswith("Research use only")
        str(each)


def test_public_codes_are_as_the_standard_lists_them_and_others_are_paths(four_classes: Task) -> None:
    listed = 0
    for scheme, code, meaning in CODES.values():
        names = [entry[code][0] for entry in concepts[scheme].values() if code in entry]
        if names:
            listed += 1
            assert meaning.casefold() in {name.casefold() for name in names}
    assert listed >= 8
    task = Task(
        classes={"a": ("no finding",), "b": ("hernia", "pneumonia/lipoid")}, positive="b", names={"b": "either"}
    )
    assert class_code(task, "b") == ("99CXRFLOW", "hernia + pneumonia/lipoid", "either")
    assert class_code(four_classes, "clear").scheme == "SCT"


def test_real_images(real_data: Path, bundle: Bundle, result_of: Make) -> None:
    """They name no study, have a name without parts, an age without unit, and compressed pixels."""
    folder = real_data / "sources" / "rsna-pneumonia-detection-challenge" / "stage_2_train_images"
    content = sorted(folder.glob("*.dcm"))[0].read_bytes()
    source = pydicom.dcmread(io.BytesIO(content))
    shape = (source.Rows, source.Columns)
    look = result_of(content).look
    heat, window = look.heats[0]
    moved = Look(
        "bacterial", shape, ((heat, window._replace(top=0, side=shape[0], height=shape[0], width=shape[1])),), ()
    )
    made = [_read_back(each) for each in dicom_objects(result_of(content, look=moved), bundle, content, KINDS)]
    for each in made:
        assert each.PatientID == source.PatientID
        assert each.PatientName == source.PatientName
    assert np.unravel_index(made[2].pixel_array.argmax(), shape) == pytest.approx(
        (0.65 * shape[0], 0.35 * shape[1]), abs=2
    )
    assert made[1].pixel_array.shape == (*shape, 3)
