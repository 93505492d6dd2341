"""What archives may hold, and that nothing else of them reaches the disk."""

import contextlib
import hashlib
import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cxrflow.errors import CxrflowError
from cxrflow.fetching import archives, space
from cxrflow.fetching.archives import unpack

FILES = {"top/a.csv": b"a,b\n1,2\n", "top/images/1.png": b"\x89PNG" * 1000, "top/empty": b""}


def make(path: Path, files: dict[str, bytes]) -> Path:
    """An archive of the kind that its name says."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
            opened.writestr("top/images/", b"")
            for name, content in files.items():
                opened.writestr(name, content)
    else:
        with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as opened:
            folder = tarfile.TarInfo("top/images")
            folder.type = tarfile.DIRTYPE
            opened.addfile(folder)
            for name, content in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                opened.addfile(info, io.BytesIO(content))
    return path


def on_disk(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if not path.is_dir()}


@pytest.fixture(params=["a.zip", "a.tar.gz", "a.tgz", "a.tar"])
def kind(request) -> str:
    return request.param


def test_files_appear_with_their_checksums(tmp_path, kind) -> None:
    folder = tmp_path / "there"
    sums = unpack(make(tmp_path / kind, FILES), folder)
    assert on_disk(folder) == FILES
    assert sums == {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}


def test_a_leading_folder_is_left_out_and_another_put_before(tmp_path, kind) -> None:
    files = FILES | {"other/b": b"b", "top/__MACOSX/._a": b"x", "top/.DS_Store": b"x"}
    unpack(make(tmp_path / kind, files), tmp_path / "there", into="in", strip="top")
    assert sorted(on_disk(tmp_path / "there")) == ["in/a.csv", "in/empty", "in/images/1.png", "in/other/b"]


@pytest.mark.parametrize(
    "name",
    [
        "../out",
        "top/../../out",
        "/out",
        "top/./a",
        "c:/out",
        "top\\..\\out",
        "top//a",
        "a\nb",
        "a\u202eb",
        ".fetched/x",
        "top/.git/config",
        "top/.Git",
    ],
)
def test_names_that_lead_elsewhere_are_refused(tmp_path, kind, name) -> None:
    archive = make(tmp_path / kind, {"top/first": b"1", name: b"2", "top/last": b"3"})
    with pytest.raises(CxrflowError, match=rf"{kind}: holds a (name|file) .*; it was not unpacked further\.$") as error:
        unpack(archive, tmp_path / "in" / "there")
    assert str(error.value).isprintable()
    assert sorted(on_disk(tmp_path)) == [kind, "in/there/top/first"]


@pytest.mark.parametrize("kind_of", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_tar_are_refused(tmp_path, kind_of) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as opened:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = kind_of, "/etc/passwd"
        opened.addfile(info)
    with pytest.raises(CxrflowError, match="holds a link, a device or a sparse file, link; it was not unpacked"):
        unpack(tmp_path / "a.tar", tmp_path / "there")
    assert not (tmp_path / "there").exists()


def test_links_in_zip_are_refused(tmp_path) -> None:
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as opened:
        opened.writestr(info, "/etc/passwd")
    with pytest.raises(CxrflowError, match="holds a link or a device, link"):
        unpack(tmp_path / "a.zip", tmp_path / "there")


def test_a_link_in_the_folder_is_not_followed(tmp_path, kind) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "top").symlink_to(tmp_path)
    with pytest.raises(CxrflowError, match="through a link"):
        unpack(make(tmp_path / kind, FILES), tmp_path / "there")
    assert not (tmp_path / "a.csv").exists()


def test_bombs_are_refused(tmp_path, kind, monkeypatch) -> None:
    monkeypatch.setattr(archives, "_FREE", 1000)
    monkeypatch.setattr(archives, "_RATIO", 2)
    bomb = make(tmp_path / kind, {"top/1": b"0", "top/2": bytes(3_000_000)})
    if kind != "a.tar":  # which is as large as what it holds
        with pytest.raises(CxrflowError, match=r"unpacks to .*far more than its size allows"):
            unpack(bomb, tmp_path / "there")
        assert sum(map(len, on_disk(tmp_path / "there").values())) <= 1
    monkeypatch.setattr(archives, "_FILES", 2)
    with pytest.raises(CxrflowError, match="holds more than 2 files"):
        unpack(make(tmp_path / kind, dict.fromkeys("abc", b"")), tmp_path / "other")


def test_a_full_disk_is_said_before_a_zip_is_unpacked(tmp_path, monkeypatch) -> None:
    archive = make(tmp_path / "a.zip", FILES)
    monkeypatch.setattr(space.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 0})())
    with pytest.raises(CxrflowError, match=r"there: needs 4\.0 kB more"):
        unpack(archive, tmp_path / "there")
    assert not (tmp_path / "there").exists()


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 10_000), cut=st.booleans(), kind_of=st.sampled_from(["a.zip", "a.tar.gz"]))
def test_a_damaged_archive_gives_right_files_or_an_error(tmp_path, at, cut, kind_of) -> None:
    archive = make(tmp_path / kind_of, {name: content * 3 for name, content in FILES.items()})
    content = bytearray(archive.read_bytes())
    at %= len(content)
    content[at] ^= 0x55
    archive.write_bytes(content[:at] if cut else content)
    with contextlib.suppress(CxrflowError):
        sums = unpack(archive, tmp_path / "there")
        # Names and dates in a zip have no checksum.
        assert sorted(sums.values()) == sorted(hashlib.sha256(content * 3).hexdigest() for content in FILES.values())


def test_encrypted_archives_are_refused(tmp_path) -> None:
    archive = make(tmp_path / "a.zip", {"a": b"1"})
    content = bytearray(archive.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 8] |= 1  # the flag in the last entry of the directory
    archive.write_bytes(content)
    with pytest.raises(CxrflowError, match="is encrypted"):
        unpack(archive, tmp_path / "there")
