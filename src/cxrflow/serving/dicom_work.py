"""Work of the worker processes: a result as encoded DICOM objects. It imports neither torch nor pandas."""

from collections.abc import Sequence
from pathlib import Path

from cxrflow.bundle import Bundle
from cxrflow.errors import LeftOut
from cxrflow.outputs.dicom import Kind, dicom_objects
from cxrflow.outputs.dicom_files import encoded
from cxrflow.reading import read_content
from cxrflow.reading.guard import guarded
from cxrflow.result import Result


def encoded_objects(bundle: Bundle, kinds: Sequence[Kind], item: tuple[Path, Result]) -> list[bytes] | str:
    """The DICOM objects of a result as DICOM files, or why there are none.

    kinds  as for ``dicom_objects``
    item   the DICOM file that was scored, and its result
    """
    path, result = item
    try:
        with guarded("DICOM"):
            return [encoded(each) for each in dicom_objects(result, bundle, read_content(path), kinds)]
    except LeftOut as reason:
        return str(reason)
