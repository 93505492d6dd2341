"""One image in a gzip file or a zip archive: inflated in memory, up to a bound, and never to the disk."""

import gzip
import io
import zipfile
import zlib
from typing import IO

from cxrflow.errors import LeftOut, one_line

_GZIP, _ZIP, _END_OF_ZIP = b"\x1f\x8b", (b"PK\3\4", b"PK\5\6"), b"PK\5\6"
#: Archives whose table of contents is larger are not opened (bytes): they hold more than one image.
_LARGEST_CONTENTS = 65_536
#: Bytes inflated at once.
_STEP = 1024 * 1024


def unpacked(content: bytes, largest: int) -> bytes:
    """The one file in a gzip file or a zip archive; ``content`` itself if it is neither.

    largest  limit of what it inflates to (bytes), whatever the archive declares
    Raises LeftOut if it holds no file or several, an archive, too much, or is damaged, encrypted or packed in another
    way than Deflate.
    """
    if content.startswith(_GZIP):
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as packed:
            inner = _inflate(packed, "gzip file", largest)
    elif content.startswith(_ZIP):
        inner = _from_zip(content, largest)
    else:
        return content
    if inner.startswith((_GZIP, *_ZIP)):
        raise LeftOut("archive in an archive: unpack it")
    return inner


def _from_zip(content: bytes, largest: int) -> bytes:
    end = content.rfind(_END_OF_ZIP)
    if end >= 0 and int.from_bytes(content[end + 12 : end + 16], "little") > _LARGEST_CONTENTS:
        raise LeftOut("zip archive holds many files: unpack it")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            files = [file for file in archive.infolist() if not _is_litter(file.filename)]
            if {"[Content_Types].xml", "mimetype"} & set(archive.namelist()):
                raise LeftOut("file is an Office document, which is not read: save the radiographs in it as PNG")
            if len(files) != 1:
                raise LeftOut(f"zip archive holds {len(files):,} files: unpack it" if files else "zip archive is empty")
            if files[0].flag_bits & 1:
                raise LeftOut("zip archive is encrypted: unpack it")
            if files[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise LeftOut("zip archive is packed by a rare method: unpack it")
            with archive.open(files[0]) as packed:
                return _inflate(packed, "zip archive", largest)
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise LeftOut(f"zip archive is damaged ({one_line(str(error))})") from None


def _is_litter(name: str) -> bool:
    """Whether a member is a folder, or what macOS and Windows add to archives."""
    return name.endswith("/") or name.startswith("__MACOSX/") or name.rpartition("/")[2] in (".DS_Store", "Thumbs.db")


def _inflate(packed: IO[bytes] | gzip.GzipFile, what: str, largest: int) -> bytes:
    inner = io.BytesIO()
    try:
        while step := packed.read(_STEP):
            inner.write(step)
            if inner.tell() > largest:
                raise LeftOut(f"{what} inflates to more than {largest // 1024**2:,} MiB")
    except (EOFError, gzip.BadGzipFile, zipfile.BadZipFile, zlib.error) as error:
        raise LeftOut(f"{what} is damaged ({one_line(str(error))})") from None
    if not inner.tell():
        raise LeftOut(f"{what} holds an empty file")
    return inner.getvalue()
