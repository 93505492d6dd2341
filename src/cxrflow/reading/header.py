"""Open DICOM files at a bounded cost: the data set of a whole file, or some elements of its header.

A deflated data set (PS3.5 A.5) is inflated here, because pydicom inflates it whole, whatever its size.
"""

import io
import stat
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path

import pydicom
from pydicom.filereader import read_dataset, read_preamble
from pydicom.tag import Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from cxrflow.errors import LeftOut
from cxrflow.reading.guard import guarded

#: A deflated data set that is larger than this is not read (bytes): the largest image has 200 MB of pixels.
LARGEST_INFLATED = 256 * 1024 * 1024
#: Part of a file that ``read_header`` looks at, and of its inflated data set (bytes).
_HEAD = 256 * 1024
_DEFLATED = DeflatedExplicitVRLittleEndian.encode()


def open_dataset(content: bytes) -> pydicom.Dataset:
    """The data set of a DICOM file, its transfer syntax filled in for files that predate part 10 of the standard.

    Raises LeftOut if the content is no DICOM, damaged, or inflates to more than LARGEST_INFLATED.
    """
    with guarded("DICOM header"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = pydicom.dcmread(io.BytesIO(_inflated(content)), force=True)
        if "TransferSyntaxUID" not in data.file_meta:
            implicit, _ = data.original_encoding
            data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        return data


def read_header(path: Path, tags: Sequence[str]) -> dict[str, str]:
    """Values of elements near the beginning of a DICOM file, by keyword; those absent or empty are left out.

    Raises LeftOut if the file cannot be opened or its header is damaged. Reads at most 256 KiB.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise LeftOut("not a file")
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except (OSError, ValueError) as error:
        raise LeftOut(f"file cannot be opened: {error}") from None
    with guarded("DICOM header"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        content = io.BytesIO(_inflated(head, part=_HEAD))
        data = pydicom.dcmread(content, stop_before_pixels=True, force=True, specific_tags=list(tags))
        return {tag: str(data[tag].value) for tag in tags if tag in data and data[tag].value}


def _inflated(content: bytes, part: int | None = None) -> bytes:
    """The content of a file with its data set inflated and declared as such; unchanged if it is not deflated.

    part  size at which inflating stops (bytes); None for the whole data set, up to LARGEST_INFLATED
    """
    if _DEFLATED not in content[:4096]:
        return content
    file = io.BytesIO(content)
    read_preamble(file, force=True)
    meta = read_dataset(file, False, True, stop_when=lambda tag, *_: Tag(tag).group != 2)
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return content
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    data = inflater.decompress(content[file.tell() :], part or LARGEST_INFLATED)
    if inflater.unconsumed_tail and part is None:
        raise LeftOut(f"DICOM inflates to more than {LARGEST_INFLATED // 1024**2} MiB")
    if not inflater.eof and part is None:
        raise LeftOut("DICOM is damaged: its deflated data set is cut short")
    head = content[: file.tell()].replace(_DEFLATED, ExplicitVRLittleEndian.encode().ljust(len(_DEFLATED), b"\0"))
    return head + data
