"""DICOM objects of results as files, made by worker processes. It imports neither torch nor pandas."""

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cxrflow.bundle import Bundle
from cxrflow.errors import CxrflowError, LeftOut, nearest
from cxrflow.files import write_whole
from cxrflow.outputs.dicom import KINDS, Kind, dicom_objects, kinds_of
from cxrflow.reading import read_content
from cxrflow.reading.guard import guarded
from cxrflow.result import Result

if TYPE_CHECKING:
    from pydicom import Dataset


def dicom_name(result: Result, kind: Kind) -> str:
    """The name of an object's file: the digits of ``Result.image``, so that it contains no patient's name."""
    return f"{result.image.partition(':')[2]}-{kind}.dcm"


def dicom_files(bundle: Bundle, kinds: Sequence[Kind], about: tuple[Path | bytes, Result]) -> list[bytes] | str:
    """Work of a worker process: the objects of a result as DICOM files (PS3.10), or why they cannot be made.

    kinds  as for ``dicom_objects``
    about  the DICOM file that was scored, or its content, and its result
    """
    source, result = about
    try:
        with guarded("DICOM object"):
            content = read_content(source) if isinstance(source, Path) else source
            return [_encoded(made) for made in dicom_objects(result, bundle, content, kinds)]
    except LeftOut as reason:
        return str(reason)


def write_objects(
    bundle: Bundle, wanted: tuple[Kind, ...], folder: Path, about: tuple[Path, Result]
) -> tuple[int, str | None]:
    """Read a file again, and write the objects of its result into a folder.

    about  the file and its result, of the bundle described
    Returns the number of objects written, and the reason if one of them cannot be made. Raises CxrflowError if one
    cannot be written.
    """
    _, result = about
    kinds = kinds_of(result, wanted)
    contents = dicom_files(bundle, kinds, about)
    if isinstance(contents, str):
        return 0, contents
    for kind, content in zip(kinds, contents, strict=True):
        write_whole(folder / dicom_name(result, kind), content)
    return len(kinds), None if result.left_out is not None or len(kinds) == len(wanted) else "no finite heat"


def kinds_named(names: str) -> tuple[Kind, ...]:
    """The kinds in a text such as ``sr,sc``, each once. Raises CxrflowError for another word, or none."""
    words: Sequence[str] = list(dict.fromkeys(word.strip() for word in names.split(",")))
    if others := [word for word in words if word not in KINDS]:
        near = nearest(others[0], KINDS)
        raise CxrflowError(f"kinds of objects: {others[0]!r} is none of sr, sc, map{near}; separate several by commas.")
    return tuple(kind for kind in KINDS if kind in words)


def _encoded(made: "Dataset") -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():  # they may quote the header
        warnings.simplefilter("ignore")
        made.save_as(file, enforce_file_format=True)
    return file.getvalue()
