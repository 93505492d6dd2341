"""One image in a gzip file or a zip archive is read; everything else that is no image is named."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_file

from cxrflow import reading
from cxrflow.errors import LeftOut
from cxrflow.reading import decode
from cxrflow.reading.containers import unpacked

GREY = np.add.outer(np.arange(24), np.arange(32)).astype(np.uint8) * 4


def saved(kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.fromarray(GREY).save(out, kind)
    return out.getvalue()


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def read(folder: Path, content: bytes) -> np.ndarray:
    (folder / "file").write_bytes(content)
    return decode(folder / "file")


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_one_picture_in_gzip_or_zip(tmp_path, kind) -> None:
    content = saved(kind)
    middle = len(content) // 2
    for packed in (
        gzip.compress(content, mtime=0),
        gzip.compress(content[:middle], mtime=0) + gzip.compress(content[middle:]),  # members follow one another
        zipped({"a.png": content}),
        zipped({"a.png": content}, zipfile.ZIP_STORED),
        zipped({"../../a.png": content}),
        zipped({"folder/": b"", "folder/a.png": content, "__MACOSX/folder/._a.png": b"x", "folder/.DS_Store": b"x"}),
    ):
        assert np.array_equal(read(tmp_path, packed), GREY)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file"]


def test_one_dicom_in_gzip(tmp_path) -> None:
    data = dcmread(get_testdata_file("CT_small.dcm"))
    data.Modality = "CR"
    data.save_as(tmp_path / "file")
    content = (tmp_path / "file").read_bytes()
    assert np.array_equal(read(tmp_path, gzip.compress(content, mtime=0)), read(tmp_path, content))


def encrypted() -> bytes:
    """An archive whose file is marked as encrypted, in both of its headers."""
    content = bytearray(zipped({"a.png": saved()}))
    for name, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(name) + flags] |= 1
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (zipped({f"{n}.png": saved() for n in range(12)}), "holds 12 files: unpack it"),
        (zipped({f"{n}.png": b"" for n in range(5_000)}), "holds many files: unpack it"),
        (zipped({}), "zip archive is empty"),
        (zipped({"a.png": b""}), "holds an empty file"),
        (gzip.compress(b"", mtime=0), "holds an empty file"),
        (zipped({"b.zip": zipped({"a.png": saved()})}), "archive in an archive: unpack it"),
        (gzip.compress(gzip.compress(saved(), mtime=0), mtime=0), "archive in an archive"),
        (encrypted(), "zip archive is encrypted: unpack it"),
        (zipped({"a.png": saved()}, zipfile.ZIP_LZMA), "rare method: unpack it"),
        (zipped({"a.png": saved()})[:-30], "zip archive is damaged"),
        (zipped({"a.png": saved()}, zipfile.ZIP_STORED).replace(b"IHDR", b"IHDX"), "zip archive is damaged"),
        (gzip.compress(saved(), mtime=0)[:-20], "gzip file is damaged"),
        (gzip.compress(saved(), mtime=0)[:-8] + bytes(8), "gzip file is damaged"),
        (zipped({"[Content_Types].xml": b"<xml/>", "word/document.xml": b"<xml/>"}), "an Office document"),
    ],
)
def test_containers_left_out_with_the_reason(tmp_path, content, reason) -> None:
    with pytest.raises(LeftOut, match=reason):
        read(tmp_path, content)


@pytest.mark.parametrize("packed", [gzip.compress(bytes(1_000_000), mtime=0), zipped({"a": bytes(1_000_000)})])
def test_inflating_is_bounded(packed) -> None:
    assert len(packed) < 2_000
    assert unpacked(packed, 1_000_000) == bytes(1_000_000)
    with pytest.raises(LeftOut, match="inflates to more than 0 MiB"):
        unpacked(packed, 999_999)


def test_what_a_container_holds_is_bounded_like_a_file(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(reading, "LARGEST_FILE", 1024 * 1024)
    with pytest.raises(LeftOut, match="gzip file inflates to more than 1 MiB"):
        read(tmp_path, gzip.compress(bytes(3 * 1024 * 1024), mtime=0))


def tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.png"))
    return out.getvalue()


def nifti() -> bytes:
    header = bytearray(352)
    header[0:4], header[344:348] = (348).to_bytes(4, "little"), b"n+1\0"
    return bytes(header)


def npy() -> bytes:
    out = io.BytesIO()
    np.save(out, GREY)
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"%PDF-1.7\nx", "a PDF document"),
        (Path(get_testdata_file("DICOMDIR")).read_bytes(), "a DICOMDIR, an index"),
        (nifti(), "a NIfTI volume"),
        (gzip.compress(nifti(), mtime=0), "a NIfTI volume"),
        (b"NRRD0004\n# x", "an NRRD volume"),
        (b"ObjectType = Image\nNDims = 3\n", "a MetaImage volume"),
        (npy(), "a NumPy array"),
        (b"patient,label\n1,covid\n", "a text or a table"),
        ("patient,Diagnose\n1,unauffällig\n".encode(), "a text or a table"),
        ("patient,label\n1,covid\n".encode("utf-16"), "a text or a table"),
        (b'\xef\xbb\xbf{"error": "not found"}', "a JSON text"),
        (b"<?xml version='1.0'?><a/>", "an XML text"),
        (b"\n<!DOCTYPE HTML><html><title>Log in</title>", "a failed download: fetch the file again"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 3\n", "git lfs pull"),
        (b"/annex/objects/SHA256E-s1--12.png\n", "git annex get"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500), "an Office document"),
        (bz2.compress(saved()), "a bzip2 archive, which is not read: unpack it"),
        (lzma.compress(saved()), "an xz archive"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(40), "a 7z archive"),
        (b"Rar!\x1a\x07\1\0", "a RAR archive"),
        (tar(), "a tar archive"),
        (gzip.compress(tar(), mtime=0), "a tar archive"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "a HEIC picture, which is not read: convert it to PNG"),
        (saved("AVIF"), "an AVIF picture"),
        (b"\xff\x0a" + bytes(50), "a JPEG XL picture"),
        (b"\0\0\0\x18ftypisom", "a film"),
        (b"P5\n32 24\n255\n" + GREY.tobytes(), "a Netpbm picture"),
        (b"\0\5\x16\7\0\2\0\0Mac OS X", "AppleDouble"),
        (bytes(5_000), "begins with zeros"),
        (bytes(range(128, 256)) * 4, "no known picture format or DICOM"),
    ],
)
def test_what_is_no_image_is_named_with_what_to_do(tmp_path, content, reason) -> None:
    with pytest.raises(LeftOut, match=reason):
        read(tmp_path, content)
