"""Which view a DICOM header declares: frontal, lateral or oblique, by every attribute that may say so."""

import re
from typing import Literal

from pydicom import Dataset

from cxrflow.reading.attributes import items, text

View = Literal["frontal", "lateral", "oblique"]

#: Codes of CID 4010 (PS3.16), SNOMED CT and the former SRT, of the views that a chest radiograph can have.
_CODES: dict[str, View] = {
    **dict.fromkeys(("399348003", "R-10206", "272479007", "R-40888", "R-10214", "399033003", "R-10202"), "frontal"),
    **dict.fromkeys(("399067008", "R-102CD", "399173006", "R-10236", "399198007", "R-10232"), "lateral"),
    **dict.fromkeys(("399352003", "R-10228", "399260004", "R-10224", "30730003", "G-A145"), "lateral"),
    **dict.fromkeys(("399135007", "R-10220", "399184004", "R-10238", "399006002", "R-10212"), "oblique"),
    **dict.fromkeys(("399356000", "R-40985", "399236003", "R-10234", "399038007", "R-10210"), "oblique"),
    **dict.fromkeys(("399182000", "R-102C1", "399312000", "R-10208", "399059000", "R-10216"), "oblique"),
    **dict.fromkeys(("399160007", "R-10204", "260427002", "R-40783"), "oblique"),
    **dict.fromkeys(("399132005", "R-10252", "399099002", "R-10230"), "oblique"),
    **dict.fromkeys(("260426006", "R-40782", "399368009", "R-10226"), "oblique"),
    **dict.fromkeys(("399004004", "R-10246", "399225005", "R-10250"), "oblique"),
    **dict.fromkeys(("399288005", "R-10248", "399325008", "R-10254"), "oblique"),
}
#: Words of the views, in the spellings of PS3.3 (C.8.1.3), of PS3.16 (CID 4010), and of the collections RSNA,
#: MIMIC-CXR, PadChest and covid-chestxray. A decubitus view shows a patient who lies on one side from the front; a
#: swimmer's view is a lateral one with an arm raised.
_WORDS: tuple[tuple[View | None, str], ...] = (
    ("frontal", r"\b(LAT\w* )?DECUB\w*|\b[LR]LD\b"),
    ("oblique", r"\b(LAT\w* )?OBL\w*( LAT\w*)?|\b[LR][APL]O\b"),
    ("lateral", r"\b[LR]?LAT(ERAL\w*|ERO ?LATERAL\w*)?\b|\b[LR]L\b|\b(X|CROSS) ?TABLE\b|\bSWIMMER\w*"),
    ("lateral", r"\bP(RO|ER)FIL\w*|\bSEITLICH\b"),
    ("frontal", r"\bP\.?A\.?\b|\bA\.?P\.?\b|\bFRONTAL\w*|\bPOSTERO ?ANTERIOR\b|\bANTERO ?POSTERIOR\b"),
)
#: ViewPosition of a lateral view in covid-chestxray and PadChest.
_LATERAL = "L"
#: Attributes with the name of an acquisition, from a device's own list; descriptions of a whole series are a hint only.
_DEVICE = ("AcquisitionDeviceProcessingCode", "AcquisitionDeviceProcessingDescription")
_HINTS = ("SeriesDescription", "ProtocolName", "PerformedProcedureStepDescription")


def declared_view(data: Dataset) -> View | None:
    """The view that the header declares; None if it declares none that is known.

    The first of these that decides counts: ViewPosition, ViewCodeSequence, PatientOrientation (C.7.6.1.1.1), the
    acquisition's name from the device.
    """
    position = text(data, "ViewPosition")
    if view := "lateral" if position == _LATERAL else view_in(position):
        return view
    for item in items(data, "ViewCodeSequence"):
        if view := _CODES.get(text(item, "CodeValue")) or view_in(text(item, "CodeMeaning")):
            return view
    # Directions of the rows and of the columns: from the patient's front to back in a lateral view only.
    directions = [direction[:1] for direction in text(data, "PatientOrientation").split("\\")]
    if len(directions) == 2 and all(directions):
        if set(directions) & {"A", "P"} and set(directions) & {"H", "F"}:
            return "lateral"
        if set(directions) & {"L", "R"} and set(directions) & {"H", "F"}:
            return "frontal"
    return next((view for key in _DEVICE if (view := view_in(text(data, key)))), None)


def hinted_view(data: Dataset) -> tuple[str, View] | None:
    """The attribute whose description names a view other than frontal, and the view; None if there is none."""
    for keyword in _HINTS:
        if (view := view_in(text(data, keyword))) in ("lateral", "oblique"):
            return keyword, view
    return None


def view_in(words: str) -> View | None:
    """The view that a text in capitals names; None if it names none, or several ("CHEST PA AND LATERAL")."""
    left = re.sub(r"[^\w.]+|_", " ", words)
    found: set[View] = set()
    for view, pattern in _WORDS:
        without = re.sub(pattern, " ", left)
        if view and without != left:
            found.add(view)
        left = without
    return found.pop() if len(found) == 1 else None
