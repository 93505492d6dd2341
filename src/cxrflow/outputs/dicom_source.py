"""What a DICOM object takes over from the image that it is about, whatever state the image's header is in.

highdicom expects a header as the standard demands it. Those of real images lack attributes, have them empty, or with
values of another representation; so the objects are built from a new, clean header.
"""

import re
from collections.abc import Iterable
from copy import deepcopy
from datetime import datetime
from typing import Any

from highdicom import SpecificCharacterSetValues
from pydicom import Dataset
from pydicom.charset import convert_encodings, decode_bytes, encode_string
from pydicom.uid import UID, ComputedRadiographyImageStorage

from cxrflow.bundle import Bundle
from cxrflow.errors import LeftOut
from cxrflow.outputs.codes import uuid_of
from cxrflow.outputs.dicom import NOT_DICOM
from cxrflow.reading import LARGEST_FILE, is_dicom
from cxrflow.reading.attributes import numbers, raw, text
from cxrflow.reading.containers import unpacked
from cxrflow.reading.header import open_dataset
from cxrflow.result import Result

#: What every object has of patient and study (PS3.3 C.7.1.1, C.7.2.1: type 2), empty where the image has none.
_ALWAYS = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
)
#: What it has if the image has it.
_IF_THERE = ("IssuerOfPatientID", "PatientAge", "StudyDescription", "DeidentificationMethod")
_UIDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
#: Archives file by the characters of a UID, also if the standard would not have it so (0 before another digit).
_PLAUSIBLE = re.compile(r"[0-9.]{1,64}")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_DATE = re.compile(r"(\d{4})[.\-/]?(\d{2})[.\-/]?(\d{2})")
_TIME = re.compile(r"([01]\d|2[0-3]):?([0-5]\d)?:?([0-5]\d)?(?:(\.\d{1,6})\d*)?")
_ORIENTATION = re.compile(r"[APLRHF]{1,3}")
_SEXES = {"M": "M", "F": "F", "O": "O", "MALE": "M", "FEMALE": "F"}
#: UTF-8 (PS3.3 C.12.1.1.2).
_ANY_CHARACTER = "ISO_IR 192"
#: Sets of two bytes a character, which cannot be the first of several (PS3.3 C.12.1.1.2).
_TWO_BYTES = ("ISO 2022 IR 87", "ISO 2022 IR 159", "ISO 2022 IR 149", "ISO 2022 IR 58")


def read_source(content: bytes, texts: Iterable[str]) -> Dataset:
    """The clean header of a DICOM image: patient, study, UIDs, geometry, and a character set that holds it and
    ``texts``, the image's own if that one does.

    Where it names no study or series, as many public collections, these are of one image alone, their UIDs derived from
    its own (``without_study``). Raises LeftOut if the content is no DICOM image, or has no UID itself.
    """
    content = unpacked(content, LARGEST_FILE)
    if not is_dicom(content):
        raise LeftOut(NOT_DICOM)
    data, source = open_dataset(content), Dataset()
    for keyword in _UIDS:
        setattr(source, keyword, _uid(data, keyword, source))
    if "PixelData" not in data and "Image Storage" not in (name := UID(source.SOPClassUID).name):
        raise LeftOut(f"DICOM object is no image but {name}")
    for keyword in _ALWAYS:
        setattr(source, keyword, _value(data, keyword) or None)
    for keyword in _IF_THERE:
        if value := _value(data, keyword):
            setattr(source, keyword, value)
    if "DeidentificationMethod" in source:
        source.PatientIdentityRemoved = "YES"
    if text(data, "LossyImageCompression") == "01":
        source.LossyImageCompression = "01"
    for keyword, form in (("PixelSpacing", ".10g"), ("ImagerPixelSpacing", ".10g"), ("PixelAspectRatio", ".0f")):
        sides = numbers(data, keyword)
        least = 1 if form == ".0f" else 0.001
        if len(sides) == 2 and all(least <= side < 1e6 for side in sides):
            setattr(source, keyword, [format(side, form) for side in sides])
    towards = text(data, "PatientOrientation").split("\\")
    if len(towards) == 2 and all(map(_ORIENTATION.fullmatch, towards)):
        source.PatientOrientation = towards
    values = [str(source[keyword].value) for keyword in (*_ALWAYS, *_IF_THERE) if source.get(keyword)]
    if characters := _character_set(data, [*values, *texts]):
        source.SpecificCharacterSet = characters
    return source


def for_highdicom(source: Dataset) -> Dataset:
    """A copy as of a computed radiograph. highdicom looks an image's class up in a table of its own, and takes the
    geometry of one that may have several frames from where other classes do not have it."""
    image = deepcopy(source)
    image.SOPClassUID = ComputedRadiographyImageStorage
    return image


def refer(made: Dataset, source: Dataset) -> None:
    """Name the image's own class in an object that was made of ``for_highdicom``."""
    for element in made.iterall():
        if element.keyword == "ReferencedSOPClassUID":
            element.value = source.SOPClassUID


def named(result: Result, bundle: Bundle, source: Dataset, kind: str, what: str) -> dict[str, Any]:
    """Arguments that all of highdicom's objects take: UIDs and numbers of series and instance, and the device.

    what  of the series' description
    """
    return {
        "series_instance_uid": uid(result, source, kind, "series"),
        "series_number": {"sr": 9001, "sc": 9002, "map": 9003}[kind],
        "sop_instance_uid": uid(result, source, kind, "instance"),
        "instance_number": 1,
        "series_description": f"Research use only: {what}",
        "manufacturer": "cxrflow",
        "manufacturer_model_name": bundle.name[:64],
        "software_versions": [f"cxrflow {result.cxrflow}"[:64], f"bundle {result.bundle[:57]}"],
        "device_serial_number": result.bundle[:64],
        "specific_character_set": source.get("SpecificCharacterSet"),
    }


def uid(result: Result, source: Dataset, *what: str) -> str:
    """A UID of an object about an image, always the same for the same file, bundle and version of the program: that of
    a UUID (PS3.5, B.2) of their names (RFC 9562, version 5).

    A file with another content has others, also under the image's UID: an archive keeps the first instance of a UID,
    and would drop the result of a corrected image. A result for which text was looked for has others, too, which depend
    on the number of places found: its flags differ.
    """
    text = [] if result.text_places is None else [f"text {result.text_places}"]
    return _uuid(source.SOPInstanceUID, result.image, result.bundle, result.cxrflow, *text, *what)


def device_uid(result: Result) -> str:
    """The UID of a bundle in this version of the program, as the device that observed."""
    return _uuid(result.bundle, result.cxrflow, "device")


def _uuid(*names: str) -> str:
    return f"2.25.{uuid_of(*names).int}"


def without_study(source: Dataset) -> bool:
    """Whether the image's header names no study, so that archives do not know the one that its results are of."""
    return bool(source.StudyInstanceUID == _uuid(source.SOPInstanceUID, "StudyInstanceUID"))


def _uid(data: Dataset, keyword: str, source: Dataset) -> str:
    of_file = keyword.startswith("SOP")
    found = text(data, keyword) or (text(data.file_meta, f"MediaStorage{keyword}") if of_file else "")
    if _PLAUSIBLE.fullmatch(found):
        return found
    if of_file:
        raise LeftOut(f"DICOM header gives no {keyword}, which results refer to")
    return _uuid(source.SOPInstanceUID, keyword)


def _value(data: Dataset, keyword: str) -> str:
    """An attribute as its representation wants it; empty if it is absent or cannot be made so.

    Texts stay as they are but for control characters, also if they are too long: the archive knows the patient by them.
    """
    value = raw(data, keyword)
    if isinstance(value, (list, tuple)) or (hasattr(value, "__iter__") and not isinstance(value, (str, bytes))):
        value = next(iter(value), None) if not hasattr(value, "alphabetic") else value
    if isinstance(value, Dataset) or value is None:
        return ""
    said = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    said = _CONTROLS.sub("", said.replace("\\", "")).strip()
    if keyword.endswith("Date"):
        return _date(said)
    if keyword.endswith("Time"):
        found = _TIME.fullmatch(said)
        return "".join(part or "" for part in found.groups()) if found else ""
    if keyword == "PatientSex":
        return _SEXES.get(said.upper(), "")
    if keyword == "PatientAge":
        return said if re.fullmatch(r"\d{3}[DWMY]", said) else ""
    return said


def _date(said: str) -> str:
    found = _DATE.fullmatch(said)
    try:
        return datetime(*map(int, found.groups())).strftime("%Y%m%d") if found else ""  # type: ignore[arg-type]
    except ValueError:
        return ""


def _character_set(data: Dataset, texts: Iterable[str]) -> str | list[str] | None:
    """The image's own character set if it is one of the standard's and has all characters of ``texts``; None for
    ASCII, the default; else UTF-8."""
    declared = raw(data, "SpecificCharacterSet") or ""
    several = declared.split("\\") if isinstance(declared, str) else list(map(str, declared))
    if not any(several):
        return None if all(said.isascii() for said in texts) else _ANY_CHARACTER
    # An empty first value is the default set with extensions (PS3.3 C.12.1.1.2), as Japanese images have it.
    several[0] = several[0] or "ISO 2022 IR 6"
    known, extensions = {each.value for each in SpecificCharacterSetValues}, len(several) > 1
    if any(value not in known or value.startswith("ISO 2022") is not extensions for value in several):
        return _ANY_CHARACTER
    try:
        encodings = convert_encodings(several)
        fits = all(decode_bytes(encode_string(said, encodings), encodings, set()) == said for said in texts)
    except (ValueError, LookupError):
        return _ANY_CHARACTER
    if not fits or several[0] in _TWO_BYTES:
        return _ANY_CHARACTER
    return several if extensions else several[0]
