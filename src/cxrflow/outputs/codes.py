"""Codes of classes and of what a result says, the same in DICOM and FHIR."""

import uuid
from typing import NamedTuple

from cxrflow.findings import CODES
from cxrflow.task import Task

#: Designator of cxrflow's own codes in DICOM: one that begins with 99 is private (PS3.16, section 8.2).
PRIVATE = "99CXRFLOW"
#: Longest meaning of a code in DICOM (PS3.3, section 8.3).
_LONGEST = 64
_NAMES = uuid.uuid5(uuid.NAMESPACE_DNS, "cxrflow.outputs")


class Coded(NamedTuple):
    """A concept: coding scheme as DICOM designates it, code, and what it means in words."""

    scheme: str
    value: str
    meaning: str


MOST_PROBABLE = Coded(PRIVATE, "most-probable", "Most probable class")
NOT_RULED_OUT = Coded(PRIVATE, "not-ruled-out", "Class that cannot be ruled out")
NO_CLASS = Coded(PRIVATE, "no-class", "None of the classes")
COVERAGE = Coded(PRIVATE, "coverage", "Coverage of the prediction set")
OPERATING_POINT = Coded(PRIVATE, "operating-point", "Result at the operating point")
FRONTAL = Coded(PRIVATE, "frontal", "Score for a frontal chest radiograph")
AS_FAR = Coded(PRIVATE, "as-far", "Share of new images at least as far from those of training")
USE = Coded(PRIVATE, "use", "Intended use")
WARNING = Coded(PRIVATE, "warning", "Warning")
HEADER = Coded(PRIVATE, "header", "Remark on the header of the image")
NO_ANSWER = Coded(PRIVATE, "no-answer", "Why there is no answer")
HEAT = Coded(PRIVATE, "grad-cam", "Grad-CAM, 1 at its maximum")
POSITIVE = Coded("SCT", "10828004", "Positive")
NEGATIVE = Coded("SCT", "260385009", "Negative")
PROBABILITY = Coded("DCM", "122157", "Probability")
THRESHOLD = Coded("DCM", "122411", "Threshold Value")
CHEST_XRAY = Coded("SCT", "399208008", "Plain chest X-ray")


def class_code(task: Task, name: str) -> Coded:
    """The code of a class: that of its finding if it has a single one with a public code, else its findings' paths."""
    paths = task.classes[name]
    if len(paths) == 1 and paths[0] in CODES:
        return Coded(*CODES[paths[0]])
    return Coded(PRIVATE, " + ".join(paths), task.names[name][:_LONGEST])


def uuid_of(*names: str) -> uuid.UUID:
    """The UUID that stands for these names (RFC 9562, version 5): always the same."""
    return uuid.uuid5(_NAMES, "\n".join(names))
