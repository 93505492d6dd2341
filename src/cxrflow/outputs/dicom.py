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
from cxrflow.result import Result

if TYPE_CHECKING:
    from highdicom.base import SOPClass

#: sr: Comprehensive 3D SR; sc: Secondary Capture with the overlay; map: Parametric Map of the heat.
Kind = Literal["sr", "sc", "map"]
#: Why there are no objects about a file.
NOT_DICOM = "file is not DICOM"
KINDS: tuple[Kind, ...] = ("sr", "sc", "map")


def check_extra() -> None:
    """Raise CxrflowError if highdicom is not installed."""
    if find_spec("highdicom") is None:
        raise CxrflowError("DICOM objects need highdicom: install the extra pacs (pip install 'cxrflow[pacs]').")


def kinds_of(result: Result, kinds: Sequence[Kind]) -> list[Kind]:
    """Those of ``kinds`` that there is an object of: of an image without heat, or left out, the report alone."""
    return [kind for kind in kinds if kind == "sr" or (result.look and result.left_out is None)]


def dicom_objects(result: Result, bundle: Bundle, content: bytes, kinds: Sequence[Kind]) -> list["SOPClass"]:
    """The result of one DICOM image as DICOM objects, in the order of ``kinds``; each of a new series of its study.

    result   what ``Predictor.results_of`` gives for ``content``, with ``look``
    bundle   description of the bundle that gave it
    content  the DICOM file that was scored; "sc" decodes it again, so that content of unknown origin belongs into a
             guarded worker process (workers.py)
    kinds    of KINDS
    The list has one object for each of ``kinds_of``. The report of an image that was left out says why. UIDs are made
    of the image's UID, ``content``, the bundle and the program's version, so that whatever is built again has the same.
    Raises LeftOut if ``content`` is no DICOM image, not the one that was scored, or its header gives no UID of itself;
    CxrflowError if highdicom is not installed.
    """
    check_extra()
    image = f"sha256:{hashlib.sha256(content).hexdigest()}"
    if result.image.startswith("sha256:") and result.image != image:
        raise LeftOut("file is not as it was when it was scored")
    result = result.model_copy(update={"image": image})  # one that ended its worker has a number
    from cxrflow.outputs import dicom_pictures, dicom_report, dicom_source

    made: list[SOPClass] = []
    try:
        with warnings.catch_warnings():  # those of pydicom and highdicom quote values: the patient's name
            warnings.simplefilter("ignore")
            source = dicom_source.read_source(content, dicom_report.texts(result, bundle))
            for kind in kinds_of(result, kinds):
                if kind == "sr":
                    made.append(dicom_report.report(result, bundle, source))
                elif result.look and kind == "sc":
                    made.append(dicom_pictures.overlay_picture(result, result.look, bundle, source, content))
                elif result.look:
                    made.append(dicom_pictures.heat_map(result, result.look, bundle, source))
    except (LeftOut, MemoryError):
        raise
    except Exception as error:  # whose text may quote the header, too
        raise LeftOut(f"no DICOM object can be made of its header ({type(error).__name__})") from error
    return made
