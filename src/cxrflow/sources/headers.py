"""What a collection's DICOM files say of their patients and pixels, without reading the pixels."""

from collections.abc import Sequence
from pathlib import Path

from cxrflow.errors import LeftOut
from cxrflow.files import below
from cxrflow.reading.header import read_header
from cxrflow.sources.collection import Options


def header_of(folder: Path, path: str, options: Options, tags: Sequence[str]) -> dict[str, str]:
    """Elements of the header of a file in a collection's folder, by keyword; empty if image files are not there, or if
    it cannot be read (reading the pixels reports the reason)."""
    if not options.with_files:
        return {}
    try:
        return read_header(below(folder, path, options.follow_links), tags)
    except LeftOut:
        return {}
