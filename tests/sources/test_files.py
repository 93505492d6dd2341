"""What tables call files and what files are called; what no row lists; links; texts that would harm a terminal."""

import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrflow.errors import LeftOut
from cxrflow.files import LINK, Root
from cxrflow.sources import find_collections, read_collections
from cxrflow.sources.collection import Options
from cxrflow.sources.files import Files, print_files

PNG = b"\x89PNG\r\n\x1a\n"


def write(folder: Path, *names: str | bytes) -> Path:
    for name in names:
        path = folder / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PNG)
    return folder


@pytest.mark.parametrize(
    ("listed", "there"),
    [
        ("images/a.png", "images/a.png"),
        (r"images\a.png", "images/a.png"),
        (r".\images\sub\a.png", "images/sub/a.png"),
        ("Images/A.PNG", "images/a.png"),
        ("images/M\u00fcller.png", "images/Mu\u0308ller.png"),
        ("images/Mu\u0308LLER.png", "images/m\u00fcller.png"),
        ("m\u00fcller/m\u00fcller.png", os.fsdecode(b"M\xfcller/M\xfcller.png")),
        ("STRASSE.png", "stra\u00dfe.png"),
        (r"odd\name.png", r"odd\name.png"),
    ],
)
def test_other_spellings_meet_their_file(tmp_path: Path, listed: str, there: str) -> None:
    files = Files(write(tmp_path, there, "images/other.png"))
    assert files.find(listed) == there
    assert files.respelled == (listed != there)
    assert files.unlisted == {"images/*.png": 1}


def test_the_exact_name_comes_first_and_doubt_is_a_reason(tmp_path: Path) -> None:
    files = Files(write(tmp_path, "a.png", "A.png", "b.png"))
    assert files.find("A.png") == "A.png"
    with pytest.raises(LeftOut, match=r"file is not certain: .* \(A\.png, a\.png\)"):
        files.find("a.PNG")
    assert files.unlisted == {"*.png": 2}


@pytest.mark.parametrize(
    "listed", ["absent.png", r"c:\absent.png", "", "images/", "../a.png", "/a.png", "a.png/b", "x" * 5000, "a\0.png"]
)
def test_what_is_not_there_stays_as_listed(tmp_path: Path, listed: str) -> None:
    files = Files(write(tmp_path / "root", "a.png"))
    write(tmp_path, "a.png")
    assert files.find(listed) == listed.replace("\\", "/")
    assert files.respelled == 0


@given(st.text(alphabet="aA\u00e9e\u0301\u00c9\u00df\u017f\u212b\u00e5\u0130iI/\\. "))
def test_any_text_finds_a_file_or_none(tmp_path_factory: pytest.TempPathFactory, listed: str) -> None:
    folder = tmp_path_factory.getbasetemp() / "any"
    if not folder.is_dir():
        write(folder, "\u00e9.a", "sub/aA", "\u00e5")
    found = Files(folder).find(listed)
    same = unicodedata.normalize("NFC", unicodedata.normalize("NFD", listed.replace("\\", "/")).casefold())
    if (folder / found).is_file() and found != listed:
        parts = [part for part in same.split("/") if part not in ("", ".")]
        assert unicodedata.normalize("NFC", found).casefold() == "/".join(parts)


def test_images_that_no_row_lists_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("a.png", "b.PNG", "sub/c.jpg", "IM0001", "._a.png", "notes.txt", ".hidden/d.png", "sub/B.png")
    files = Files(write(tmp_path, *names))
    (tmp_path / "README").write_text("words")
    files.find("a.png")
    files.find(r"sub\b.png")
    print_files({"mine": files})
    printed = " ".join(capsys.readouterr().out.split())
    assert r"mine: 1 path spelt otherwise than the files, such as sub\\b.png (sub/B.png)." in printed
    assert "mine: images that no row lists: 1 * without extension, 1 *.png, 1 sub/*.jpg." in printed


@pytest.fixture
def linked(own: Callable[..., Path], tmp_path: Path) -> Path:
    """A collection whose folder of images is a link to another disk; the folder is itself one, and so is the table."""
    root = own([["images/a.png", "covid", "p1"], [r"IMAGES\b.png", "covid", "p2"]], {})
    write(tmp_path / "disk", "a.png", "b.png", "c.png")
    (root / "mine" / "images").symlink_to(tmp_path / "disk")
    (root / "mine").rename(tmp_path / "elsewhere")
    (root / "mine").symlink_to(tmp_path / "elsewhere")
    return root


@pytest.mark.parametrize("follow_links", [False, True])
def test_links_out_of_a_collection_are_followed_where_allowed(linked: Path, follow_links: bool) -> None:
    """A collection's own folder may always be a link: the user put it there."""
    home, found = find_collections(linked)
    files: dict[str, Files] = {}
    records = list(read_collections(home, found, Options(follow_links=follow_links), files))
    root = Root(home, follow_links)
    if follow_links:
        assert [root.file(record.path).read_bytes() for record in records] == [PNG, PNG]
        assert files["mine"].unlisted == {"images/*.png": 1}
    else:
        assert files["mine"].unlisted == {}
        with pytest.raises(LeftOut) as refused:
            root.file(records[0].path)
        assert str(refused.value) == LINK


def test_names_in_any_bytes_and_control_characters_are_text_in_records(
    own: Callable[..., Path], tmp_path: Path
) -> None:
    rows = [
        ["M\u00fcller.png", "covid", "p\x1b[2J1"],
        ["a\x1bb.png", "covid", "p\x002"],
        ["gnp.\u202ea", "?\x07", "p3"],
    ]
    root = own(rows, {}, folder=os.fsdecode(b"M\xfcnchen"))
    folder = root / os.fsdecode(b"M\xfcnchen")
    write(folder, b"M\xfcller.png", "a\x1bb.png")
    home, found = find_collections(root)
    assert [name for _, name in found] == [r"M\xfcnchen"]
    records = list(read_collections(home, found, Options()))
    assert [record.path for record in records] == [
        rf"M\xfcnchen/{name}" for name in (r"M\xfcller.png", r"a\u001bb.png", r"gnp.\u202ea")
    ]
    assert [Root(home).file(record.path).exists() for record in records] == [True, True, False]
    assert records[0].patient_id == r"M\xfcnchen:p\u001b[2J1"
    assert records[2].finding == r"?\u0007"
    for record in records:
        assert "".join(filter(None, (record.image_id, record.patient_id, record.finding))).isprintable()


def test_an_image_is_placed_in_the_first_folder_that_holds_it(tmp_path: Path) -> None:
    for path in ("part 1/images/a.png", "part 2/images/b.png", "part 2/images/a.png", "c.png"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    folders = ("images", "part 1/images", "part 2/images", "")
    options = Options(files=Files(tmp_path))
    placed = [options.place(name, folders) for name in ("a.png", "b.png", "c.png", "d.png", "")]
    assert placed == ["part 1/images/a.png", "part 2/images/b.png", "c.png", "images/d.png", "images/"]
    assert Options().place("a.png", folders) == "images/a.png"  # image files are not there
