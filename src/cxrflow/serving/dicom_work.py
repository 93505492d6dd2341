"""Work of the worker processes: a result as encoded DICOM objects. It imports neither torch nor pandas."""

import io
from collections.abc import Sequence
from pathlib import Path

from cxrflow.bundle import Bundle
from cxrflow.errors import LeftOut
from cxrflow.outputs.dicom import Kind, dicom_objects
from cxrflow.reading import read_content
from cxrflow.result import Result


def encoded_objects(bundle: Bundle, kinds: Sequence[Kind], item: tuple[Path, Result]) -> list[bytes] | str:
    """The DICOM objects of a result as DICOM files, or why there are none.

    kinds  as for ``dicom_objects``
    item   the DICOM file that was scored, and its result
    """
    path, result = item
    try:
        objects = dicom_objects(result, bundle, read_content(path), kinds)
    except LeftOut as reason:
        return str(reason)
    encoded = []
    for each in objects:
        file = io.BytesIO()
        each.save_as(file, enforce_file_format=True)
        encoded.append(file.getvalue())
    return encoded
