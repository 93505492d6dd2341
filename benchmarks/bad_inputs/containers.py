"""gzip files, zip archives, and files that are no image at all."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Iterator

import numpy as np
from pydicom.data import get_testdata_file

from bad_inputs import GREY, File
from bad_inputs.encoded import dicom, picture

_PNG = picture("PNG", GREY)


def inputs() -> Iterator[File]:
    """Archives, and files of other kinds."""
    yield from _archives()
    yield from _others()


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def _archives() -> Iterator[File]:
    kind = "archives"
    for name, content in {
        "gzip of a PNG": gzip.compress(_PNG),
        "gzip of a DICOM": gzip.compress(dicom(GREY)),
        "gzip in two members": gzip.compress(_PNG[:90]) + gzip.compress(_PNG[90:]),
        "zip of a PNG": zipped({"a.png": _PNG}),
        "zip of a DICOM in folders": zipped({"PAT001/": b"", "PAT001/IM1": dicom(GREY), "__MACOSX/._IM1": b"x"}),
        "zip of ../../a.png": zipped({"../../a.png": _PNG}),
    }.items():
        yield File(kind, name, content, grey=GREY)
    for name, content, reason in (
        ("zip of 12 files", zipped({f"{n}.png": _PNG for n in range(12)}), "holds 12 files: unpack it"),
        ("zip of 20,000 files", lambda: zipped({f"{n}.png": b"" for n in range(20_000)}), "holds many files"),
        ("zip of nothing", zipped({}), "is empty"),
        ("zip of an empty file", zipped({"a.png": b""}), "empty file"),
        ("zip in a zip", zipped({"a.zip": zipped({"a.png": _PNG})}), "archive in an archive"),
        ("zip of a text", zipped({"a.txt": b"words"}), "text or a table"),
        ("zip by LZMA", zipped({"a.png": _PNG}, zipfile.ZIP_LZMA), "rare method"),
        ("zip, cut", zipped({"a.png": _PNG})[:-30], "damaged"),
        ("gzip, cut", gzip.compress(_PNG)[:-20], "damaged"),
        ("gzip, its sum wrong", gzip.compress(_PNG)[:-8] + bytes(8), "damaged"),
        (
            "gzip of 600 MB of zeros",
            lambda: gzip.compress(bytes(600 * 1024 * 1024), 1),
            "inflates to more than 512 MiB",
        ),
        ("bzip2", bz2.compress(_PNG), "bzip2 archive, which is not read: unpack it"),
        ("xz", lzma.compress(_PNG), "xz archive"),
        ("7z", b"7z\xbc\xaf\x27\x1c" + bytes(60), "7z archive"),
        ("rar", b"Rar!\x1a\x07\1\0" + bytes(60), "RAR archive"),
        ("tar", _tar(), "tar archive"),
        ("tar.gz", gzip.compress(_tar()), "tar archive"),
    ):
        yield File(kind, name, content, "left out", reason)


def _tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.png"))
    return out.getvalue()


def _others() -> Iterator[File]:
    array = io.BytesIO()
    np.save(array, GREY)
    nifti = bytearray(352)
    nifti[0:4], nifti[344:348] = (348).to_bytes(4, "little"), b"n+1\0"
    with open(str(get_testdata_file("DICOMDIR")), "rb") as file:
        index = file.read()
    for name, content, reason in (
        ("an empty file", b"", "file is empty"),
        ("500 zeros", bytes(500), "begins with zeros"),
        ("random bytes", np.random.default_rng(0).bytes(5_000), "no known picture format or DICOM"),
        ("a CSV table", b"patient,label\n1,covid\n", "text or a table"),
        ("a table in UTF-16", "patient,label\n1,covid\n".encode("utf-16"), "text or a table"),
        ("a JSON text", b'{"error": 404}', "JSON text"),
        ("a page that a failed download left", b"<!DOCTYPE html><title>Log in</title>", "fetch the file again"),
        ("an XML text", b"<?xml version='1.0'?><a/>", "XML text"),
        ("a PDF", b"%PDF-1.7\n" + bytes(500), "PDF document"),
        ("a Word document", zipped({"[Content_Types].xml": b"<x/>", "word/document.xml": b"<x/>"}), "Office document"),
        ("an old Word document", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "Office document"),
        ("a DICOMDIR", index, "DICOMDIR, an index"),
        ("a NIfTI volume", bytes(nifti), "NIfTI volume"),
        ("a NIfTI volume in gzip", gzip.compress(bytes(nifti)), "NIfTI volume"),
        ("an NRRD volume", b"NRRD0004\n", "NRRD volume"),
        ("a MetaImage header", b"ObjectType = Image\n", "MetaImage volume"),
        ("a NumPy array", array.getvalue(), "NumPy array"),
        ("an HDF5 file", b"\x89HDF\r\n\x1a\n" + bytes(60), "HDF5"),
        ("a pointer of Git LFS", b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
        ("a pointer of git-annex", b"/annex/objects/SHA256E-s1--1.png\n", "git annex get"),
        ("a film", b"\0\0\0\x18ftypisom" + bytes(60), "a film"),
        ("a ._ file of macOS", b"\0\5\x16\7\0\2\0\0" + bytes(60), "AppleDouble"),
        ("a pickle", b"\x80\4\x95" + bytes(60), "no known picture format or DICOM"),
    ):
        yield File("files that are no image", name, content, "left out", reason)
