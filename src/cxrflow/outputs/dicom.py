"""A result as DICOM objects of the same patient and study as the image: a structured report, an overlay, a heat map.

Built by highdicom (extra ``pacs``). docs/dicom.md lists what each object holds.
"""

import hashlib
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from cxrflow.bundle import Bundle
from cxrflow.errors import CxrflowError, LeftOut
from cxrflow.reading.guard import guarded
from cxrflow.result import Result

if TYPE_CHECKING:
    from highdicom.base import SOPClass

#: sr: Comprehensive 3D SR; sc: Secondary Capture with the overlay; map: Parametric Map of the heat.
Kind = Literal["sr", "sc", "map"]
KINDS: tuple[Kind, ...] = ("sr", "sc", "map")


def check_extra() -> None:
    """Raise CxrflowError if highdicom is not installed."""
    if find_spec("highdicom") is None:
        raise CxrflowError("DICOM objects need highdicom: install the extra pacs (pip install 'cxrflow[pacs]').")


def dicom_objects(result: Result, bundle: Bundle, content: bytes, kinds: Sequence[Kind]) -> list["SOPClass"]:
    """The result of one DICOM image as DICOM objects, in the order of ``kinds``; each of a new series of its study.

    result   what ``Predictor.results_of`` gives for ``content``, with ``look``
    bundle   description of the bundle that gave it
    content  the DICOM file that was scored; "sc" decodes it again, so that content of unknown origin belongs into a
             guarded worker process (workers.py)
    kinds    of KINDS
    An image that was left out has a structured report alone, which says why. Where there is no heat (``result.look`` is
    None), "sc" and "map" are not in the list. UIDs are derived from the image's UID, the bundle and the program's
    version, so that whatever is built again has the same.
    Raises LeftOut if ``content`` is no DICOM image, not the one that was scored, or its header gives no UID of itself;
    CxrflowError if highdicom is not installed.
    """
    check_extra()
    if result.image.startswith("sha256:") and result.image != f"sha256:{hashlib.sha256(content).hexdigest()}":
        raise LeftOut("file is not as it was when it was scored")
    from cxrflow.outputs import dicom_pictures, dicom_report, dicom_source

    # Warnings of pydicom and highdicom quote values of the header: the patient's name.
    with guarded("DICOM header"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = dicom_source.read_source(content, dicom_report.texts(result, bundle))
        made: list[SOPClass] = []
        for kind in kinds:
            if kind == "sr":
                made.append(dicom_report.report(result, bundle, source))
            elif result.look and kind == "sc":
                made.append(dicom_pictures.overlay_picture(result, result.look, bundle, source, content))
            elif result.look:
                made.append(dicom_pictures.heat_map(result, result.look, bundle, source))
        return made
