"""What a search finds in folders as people have them, and what it passes over and counts."""

import os
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cxrflow.errors import CxrflowError
from cxrflow.folders import (
    AGAIN,
    BROKEN_LINK,
    DICOMDIR,
    HIDDEN,
    NO_EXTENSION,
    OF_THE_SYSTEM,
    SPECIAL,
    Search,
    counted,
    expanded,
)

PNG, JPEG, DICOM = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", bytes(128) + b"DICM"


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def search(*paths: Path, below: Path) -> tuple[dict[str, str | None], Counter[str]]:
    """Each path found, relative to ``below``, with the reason if it is left out; and what was passed over."""
    searched = Search()
    found = list(searched.images(paths))
    named = {os.path.relpath(file.path, below): file.left_out for file in found}
    assert len(named) == len(found)
    return named, searched.passed_over


def test_images_are_known_by_ending_and_without_one_by_content(tmp_path: Path) -> None:
    images = {
        "b.PNG": b"",
        "a/deep/x.dcm": b"",
        "IM000001": DICOM,
        "1.2.840.10008.5": DICOM,
        "report.txt": DICOM,
        "scan": PNG,
        "1.2.3": JPEG,
    }
    directory = DICOM + b"\2\0\2\0UI\x14\0" + b"1.2.840.10008.1.3.10"  # PS3.10, 7.1
    packed = {"x.dcm.gz": b"", "any.zip": b"", "volume.nii.gz": b""}
    others = {"notes.txt": PNG, "odd.name": b"", "README": b"words", "1.2.4": b"", "DICOMDIR": directory, "x.TXT": b""}
    write(tmp_path, images | others | packed)
    found, passed_over = search(tmp_path, below=tmp_path)
    assert list(found) == sorted([*images, "x.dcm.gz", "any.zip"])
    assert set(found.values()) == {None}
    assert passed_over == {".txt": 2, ".name": 1, NO_EXTENSION: 2, DICOMDIR: 1, ".nii.gz": 1}


def test_a_file_named_by_the_user_is_taken_as_it_is_and_a_path_to_nothing_stops(tmp_path: Path) -> None:
    write(tmp_path, {"table.csv": b"a,b"})
    assert search(tmp_path / "table.csv", below=tmp_path)[0] == {"table.csv": None}
    with pytest.raises(CxrflowError, match=r"absent\\u000a: no such file or folder"):
        search(tmp_path / "absent\n", below=tmp_path)


def test_what_operating_systems_leave_behind_is_counted(tmp_path: Path) -> None:
    left = ("._a.png", ".DS_Store", "Thumbs.db", "sub/desktop.ini", "__MACOSX/._a.png", "__MACOSX/b.png")
    write(tmp_path, dict.fromkeys(left, b"") | {"a.png": PNG, ".git/annex/c.png": PNG})
    found, passed_over = search(tmp_path, below=tmp_path)
    assert found == {"a.png": None}
    assert passed_over == {OF_THE_SYSTEM: 5, HIDDEN: 1}


def test_links_are_followed_loops_end_and_broken_ones_are_listed(tmp_path: Path) -> None:
    write(tmp_path, {"disk/b.png": PNG, "disk/deep/c.png": PNG, "root/a.png": PNG})
    root = tmp_path / "root"
    (root / "patients").symlink_to(tmp_path / "disk")
    (tmp_path / "disk/deep/up").symlink_to(root)
    (root / "same.png").symlink_to("a.png")
    os.link(root / "a.png", root / "hard.png")
    (root / "gone.png").symlink_to("../.git/annex/objects/not-fetched")
    (root / "gone").symlink_to("nowhere")
    (root / "gone.txt").symlink_to("nowhere")
    (root / "self.png").symlink_to("self.png")
    found, passed_over = search(root, below=root)
    assert passed_over == {AGAIN: 1, ".txt": 1}
    assert {path for path, left_out in found.items() if left_out is None} == {
        "a.png", "patients/b.png", "patients/deep/c.png",
    }  # fmt: skip
    assert found["gone.png"] == found["gone"] == BROKEN_LINK
    assert found["same.png"] == found["hard.png"] == f"the same file as {root}/a.png"
    assert "symbolic links" in (found["self.png"] or "")
    assert search(root / "gone.png", below=root) == ({"gone.png": BROKEN_LINK}, {})


def test_a_file_named_twice_is_read_once(tmp_path: Path) -> None:
    write(tmp_path, {"a.png": PNG})
    found = list(Search().images([tmp_path, tmp_path / "a.png"]))
    assert [file.left_out for file in found] == [None, f"the same file as {tmp_path}/a.png"]


def test_patterns_are_expanded_as_by_a_shell_and_names_with_their_characters_are_names(tmp_path: Path) -> None:
    for name in ("a/1.png", "a/b/2.png", "c/3.png", "a/4.txt", "[5].png", "a/.hidden/6.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for pattern in ("a/*", "*/*.png", "**/*.png", "?/[13].png", "[5].png", "c"):
        shell = "shopt -s globstar; printf '%s\\n' " + (f"'{pattern}'" if pattern == "[5].png" else pattern)
        asked = subprocess.run(["bash", "-c", shell], cwd=tmp_path, capture_output=True, text=True, check=True)
        known = sorted(str(tmp_path / line) for line in asked.stdout.splitlines())
        assert sorted(map(str, expanded([tmp_path / pattern]))) == known, pattern
    with pytest.raises(CxrflowError, match=r"\*\.dcm: no file or folder matches this pattern"):
        list(expanded([tmp_path / "*.dcm"]))
    assert list(expanded([tmp_path / "absent"])) == [tmp_path / "absent"]  # the search says that it does not exist


def test_devices_are_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for ever
    os.mkfifo(tmp_path / "pipe.png")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        (tmp_path / "null.dcm").symlink_to("/dev/null")
        assert search(tmp_path, below=tmp_path) == ({}, {SPECIAL: 4})


def test_what_cannot_be_opened_is_named_and_the_search_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"closed/a.png": PNG, "open/b.png": PNG})
    scandir = os.scandir

    def refuse(folder: Path) -> object:
        if Path(folder).name == "closed":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)  # root, as in containers, may open everything
    found, _ = search(tmp_path, below=tmp_path)
    assert found == {"closed": "folder cannot be opened: Permission denied", "open/b.png": None}


@contextmanager
def folders_of(path: Path, count: int) -> Iterator[Path]:
    """``count`` folders in each other, deeper than a path may be long; removed afterwards."""
    here = os.getcwd()
    try:
        os.chdir(path)
        for _ in range(count):
            os.mkdir("d" * 100)
            os.chdir("d" * 100)
        Path("a.png").write_bytes(PNG)
        yield path
    finally:
        for _ in range(count):
            Path("a.png").unlink(missing_ok=True)
            os.chdir("..")
            os.rmdir("d" * 100)
        os.chdir(here)


def test_folders_deeper_than_paths_may_be_are_named(tmp_path: Path) -> None:
    with folders_of(tmp_path, 45):
        (deepest,) = Search().images([tmp_path])
    assert deepest.left_out == "folder cannot be opened: File name too long"


def test_names_in_any_bytes_are_found(tmp_path: Path) -> None:
    names = [b"M\xfcller.png", b"a\nb.png", b"-x.png", b" .png", b"\xff\xfe.PNG", b"x" * 251 + b".png"]
    for name in names:
        (tmp_path / os.fsdecode(name)).write_bytes(PNG)
    assert {os.fsencode(file.path.name) for file in Search().images([tmp_path])} == set(names)


def test_counts_in_words() -> None:
    assert counted(Counter({".pdf": 3, ".txt": 1200, NO_EXTENSION: 2})) == "1,200 .txt, 3 .pdf, 2 without extension"
    many = counted(Counter({f".{number:02}a": 1 for number in range(20)}))
    assert many.endswith("1 .11a, 8 with 8 other extensions")
    assert counted(Counter({".a\x1b[2J": 1})) == r"1 .a\u001b[2J"
