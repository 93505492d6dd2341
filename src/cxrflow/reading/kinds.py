"""Kinds of files that are not images, recognised by their first bytes, and what to do with each."""

from typing import NamedTuple

#: Bytes read from the start of a file to recognise its kind.
_HEAD = 1_024


class Kind(NamedTuple):
    """What a file is, what to do with it, and the bytes at a place in it by which it is known."""

    name: str
    advice: str
    signature: bytes
    place: int = 0


_CONVERT = "convert it to PNG or, of 8 bits, JPEG"
_UNPACK = "unpack it"
_PAGES = "save the radiographs in it as PNG"
_SLICES = "save its radiographs as DICOM or PNG"
_FILM = "save one frame of it as PNG"

_KINDS = (
    Kind("a HEIC picture", _CONVERT, b"ftyphei", 4),
    Kind("a HEIC picture", _CONVERT, b"ftyphev", 4),
    Kind("a HEIF picture", _CONVERT, b"ftypmif1", 4),
    Kind("a HEIF picture", _CONVERT, b"ftypmsf1", 4),
    Kind("an AVIF picture", _CONVERT, b"ftypavi", 4),
    Kind("a camera's raw picture", _CONVERT, b"ftypcrx", 4),
    Kind("a film", _FILM, b"ftyp", 4),
    Kind("a film", _FILM, b"AVI ", 8),
    Kind("a film", _FILM, b"\x1a\x45\xdf\xa3"),
    Kind("a JPEG XL picture", _CONVERT, b"\xff\x0a"),
    Kind("a JPEG XL picture", _CONVERT, b"\0\0\0\x0cJXL "),
    Kind("a JPEG XR picture", _CONVERT, b"II\xbc"),
    Kind("a Photoshop picture", _CONVERT, b"8BPS"),
    Kind("an animated PNG (MNG)", _FILM, b"\x8aMNG"),
    Kind("a Windows icon", _CONVERT, b"\0\0\1\0"),
    Kind("an OpenEXR picture", _CONVERT, b"\x76\x2f\x31\x01"),
    Kind("a DjVu document", _PAGES, b"AT&TFORM"),
    *(Kind("a Netpbm picture", _CONVERT, b"P%d" % n + space) for n in range(1, 8) for space in (b"\n", b" ", b"\r\n")),
    Kind("a PDF document", _PAGES, b"%PDF-"),
    Kind("a PostScript document", _PAGES, b"%!PS"),
    Kind("an Office document", _PAGES, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
    Kind("an RTF document", _PAGES, b"{\\rtf"),
    Kind("a NIfTI volume", _SLICES, b"n+1\0", 344),
    Kind("a NIfTI volume", _SLICES, b"ni1\0", 344),
    Kind("a NIfTI volume", _SLICES, b"n+2\0\r\n\x1a\n", 4),
    Kind("an NRRD volume", _SLICES, b"NRRD000"),
    Kind("the header of a MetaImage volume", _SLICES, b"ObjectType = Image"),
    Kind("an Analyze volume", _SLICES, b"\x5c\1\0\0"),
    Kind("a NumPy array", _SLICES, b"\x93NUMPY"),
    Kind("an HDF5 or MATLAB file", _SLICES, b"\x89HDF\r\n\x1a\n"),
    Kind("a MATLAB file", _SLICES, b"MATLAB 5.0 MAT-file"),
    Kind("a SQLite database", "nothing in it is read", b"SQLite format 3\0"),
    Kind("a Parquet table", "nothing in it is read", b"PAR1"),
    Kind("a bzip2 archive", _UNPACK, b"BZh"),
    Kind("an xz archive", _UNPACK, b"\xfd7zXZ\0"),
    Kind("a Zstandard archive", _UNPACK, b"\x28\xb5\x2f\xfd"),
    Kind("a 7z archive", _UNPACK, b"7z\xbc\xaf\x27\x1c"),
    Kind("a RAR archive", _UNPACK, b"Rar!\x1a\x07"),
    Kind("a tar archive", _UNPACK, b"ustar", 257),
    Kind("a pointer of Git LFS", "fetch the file with `git lfs pull`", b"version https://git-lfs.github.com/spec/"),
    Kind("a pointer of git-annex", "fetch the file with `git annex get`", b"/annex/objects/"),
    Kind("a program", "nothing in it is read", b"\x7fELF"),
    Kind("a program", "nothing in it is read", b"MZ"),
    Kind("a Windows shortcut", "copy the file that it points to", b"L\0\0\0\1\x14\2\0"),
    Kind("an AppleDouble file of macOS", "delete it: the picture is in the file without ._", b"\0\5\x16\7"),
)

#: Beginnings of texts, in lower case, after spaces and a byte order mark.
_TEXTS = (
    Kind("a page of HTML", "probably a failed download: fetch the file again", b"<!doctype html"),
    Kind("a page of HTML", "probably a failed download: fetch the file again", b"<html"),
    Kind("an SVG drawing", _CONVERT, b"<svg"),
    Kind("an XML text", "nothing in it is read", b"<?xml"),
    Kind("a JSON text", "nothing in it is read", b"{"),
    Kind("a JSON text", "nothing in it is read", b"["),
)


def is_dicomdir(content: bytes) -> bool:
    """Whether a DICOM file is a DICOMDIR (PS3.4, B.5: Media Storage Directory Storage)."""
    return content[128:132] == b"DICM" and b"1.2.840.10008.1.3.10" in content[:_HEAD]


def what_it_is(content: bytes) -> str:
    """The reason why a file that is no readable image is left out, such as "file is a PDF document, not ...".

    content  the whole file or at least its first kilobyte
    """
    head = content[:_HEAD]
    if is_dicomdir(head):
        return "file is a DICOMDIR, an index of DICOM files: give the folder or the files instead"
    if not head.strip(b"\0"):
        return "not an image: the file begins with zeros, as after a copy that failed; copy it again"
    for kind in _KINDS:
        if head.startswith(kind.signature, kind.place):
            return f"file is {kind.name}, which is not read: {kind.advice}"
    text = _as_text(head)
    if text is None:
        return "not an image: the content is no known picture format or DICOM"
    for kind in _TEXTS:
        if text.startswith(kind.signature.decode()):
            return f"file is {kind.name}, which is not read: {kind.advice}"
    return "file is a text or a table, not an image"


def _as_text(head: bytes) -> str | None:
    """The head in lower case without leading spaces if it is text; None if it is not."""
    encoding = "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    for cut in range(4):  # the last character may be cut
        try:
            text = head[: len(head) - cut].decode(encoding)
        except UnicodeDecodeError:
            continue
        return text.lstrip().lower() if all(c.isprintable() or c.isspace() for c in text) else None
    return None
