"""``cxrflow verify``: counts and checksums against folders that were damaged by hand, and no claim beyond them."""

import csv
import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from cxrflow.errors import CxrflowError
from cxrflow.fetching.places import PLACES
from cxrflow.fetching.published import Http, Remote
from cxrflow.fetching.receipts import write_receipt
from cxrflow.fetching.verify import verify
from cxrflow.sources import SOURCES
from cxrflow.terminal import set_quiet

PNG = b"\x89PNG" * 10


@pytest.fixture(autouse=True)
def _wide(monkeypatch) -> None:
    set_quiet(False)
    monkeypatch.setenv("COLUMNS", "400")


@pytest.fixture
def hannover(tmp_path, monkeypatch) -> Path:
    """Three images of three that are published, and no checksums."""
    monkeypatch.setitem(PLACES, "hannover", replace(PLACES["hannover"], images=(3,)))
    folder = tmp_path / "covid-19-image-repository"
    (folder / "png").mkdir(parents=True)
    (folder / "data.csv").write_text("patient_id,image_id\np,1\np,2\nq,3\n")
    for name in "123":
        (folder / "png" / f"{name}.png").write_bytes(PNG)
    return folder


def rows(text: str) -> dict[str, list[str]]:
    """The printed table: what was checked -> expected, found, missing, damaged."""
    lines = (line for line in text.splitlines() if line.startswith("│"))
    cells = ([cell.strip() for cell in line.strip("│").split("│")] for line in lines)
    return {first: rest for first, *rest in cells}


def test_all_there_by_counts_and_no_more_is_claimed(hannover, capsys) -> None:
    assert verify("hannover", hannover)
    said = capsys.readouterr().out
    assert rows(said) == {
        "images that its tables or folders list": ["3", "3", "0", "0"],
        "images listed, as published": ["3", "3", "0", "0"],
    }
    assert "hannover: complete, by counts only: what it could be checked against is not in the folder (git's" in said
    (hannover / "png" / "3.png").write_bytes(b"another file")
    assert verify("hannover", hannover)  # counts cannot tell


def test_missing_and_empty_images_are_named(hannover, capsys) -> None:
    (hannover / "png" / "1.png").unlink()
    (hannover / "png" / "2.png").write_bytes(b"")
    assert not verify("hannover", hannover.parent)
    said = capsys.readouterr().out
    assert rows(said)["images that its tables or folders list"] == ["3", "2", "1", "1"]
    assert "missing: png/1.png\n" in said
    assert "damaged: png/2.png\n" in said
    assert "hannover: incomplete and damaged, by counts only" in said


def test_a_table_with_fewer_rows_than_published_is_not_complete(hannover, capsys) -> None:
    (hannover / "data.csv").write_text("patient_id,image_id\np,1\n")
    assert not verify("hannover", hannover)
    assert rows(capsys.readouterr().out)["images listed, as published"] == ["3", "1", "2", "0"]
    (hannover / "data.csv").write_text("patient_id,image_id\n" + "".join(f"p,{n}\n" for n in (1, 2, 3, 4)))
    (hannover / "png" / "4.png").write_bytes(PNG)
    assert verify("hannover", hannover)
    assert "as published; 4 are listed, another version perhaps" in capsys.readouterr().out


def test_without_its_table_it_says_so(hannover, capsys) -> None:
    (hannover / "data.csv").unlink()
    assert not verify("hannover", hannover)
    said = capsys.readouterr().out
    assert "data.csv" in said
    assert rows(said) == {}
    assert "\u2501" not in said  # no table of nothing


def test_a_receipt_finds_what_changed_since(hannover, capsys) -> None:
    files = [path for path in hannover.rglob("*") if path.is_file()]
    sums = {path.relative_to(hannover).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    write_receipt(hannover, "x", sums)
    assert verify("hannover", hannover)
    assert "complete, by its tables and by the checksums named above" in capsys.readouterr().out
    (hannover / "png" / "1.png").write_bytes(PNG[::-1])
    (hannover / "png" / "2.png").unlink()
    assert not verify("hannover", hannover)
    assert rows(capsys.readouterr().out)["files as they were when fetched, SHA-256"] == ["4", "3", "1", "1"]


def test_many_missing_files_are_counted(hannover, capsys) -> None:
    write_receipt(hannover, "x", {f"png/n{n:03}.png": "0" * 64 for n in range(300)})
    assert not verify("hannover", hannover)
    said = capsys.readouterr().out
    assert "missing: png/n004.png\nmissing: 295 more files of files as they were when fetched, SHA-256\n" in said
    assert "n005" not in said


def test_published_archives_that_lie_there_are_checked(tmp_path, monkeypatch, capsys) -> None:
    way = Http((Remote("https://a.example/a", "a.zip", f"md5:{hashlib.md5(b'a').hexdigest()}", unpack=""),))  # noqa: S324
    monkeypatch.setitem(PLACES, "kermany", replace(PLACES["kermany"], way=way, images=(1,)))
    folder = tmp_path / "mine"
    (folder / "train" / "NORMAL").mkdir(parents=True)
    (folder / "train" / "NORMAL" / "1.jpeg").write_bytes(PNG)
    for content, good in ((b"a", True), (b"b", False)):
        (folder / "a.zip").write_bytes(content)
        assert verify("kermany", folder) is good
        assert rows(capsys.readouterr().out)["archives that lie there, published checksums"][3] == str(int(not good))


def test_files_that_are_bad_where_they_are_published_are_named_and_excused(tmp_path, capsys) -> None:
    known, what = next(iter(PLACES["padchest"].known))
    assert len(dict(PLACES["padchest"].known)) == 21  # docs/collections.md
    folder = tmp_path / "PadChest"
    (folder / "images").mkdir(parents=True)
    columns = "ImageID,ImageDir,StudyDate_DICOM,PatientID,PatientBirth,Projection,Labels"
    names = (known, "other.png")
    table = "".join(f"{name},0,20140915,p,1930,PA,['normal']\n" for name in names)
    (folder / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv").write_text(f"{columns}\n{table}")
    (folder / "images" / "other.png").write_bytes(PNG)
    assert verify("padchest", folder)
    said = capsys.readouterr().out
    assert f"{known}: {what}; known, see docs/collections.md." in said
    assert "complete, by its own tables only: neither checksums nor a number of images is published" in said
    (folder / "images" / "other.png").unlink()
    assert not verify("padchest", folder)


def test_a_list_may_not_lead_out_of_the_folder(hannover) -> None:
    (hannover / "SHA256SUMS.txt").write_text(f"{'0' * 64}  ../secret\n")
    with pytest.raises(CxrflowError, match=r"SHA256SUMS\.txt, line 1: path leaves the collection's folder"):
        verify("hannover", hannover)


def test_unknown_collections_and_folders(tmp_path) -> None:
    with pytest.raises(CxrflowError, match="no such collection"):
        verify("mine", tmp_path)
    with pytest.raises(CxrflowError, match=r"no: no such folder"):
        verify("nih", tmp_path / "no")


def test_the_real_sample_is_found_incomplete(real_data, capsys) -> None:
    folder = real_data / "sources" / SOURCES["figure1"].folders[0]
    with (folder / "metadata.csv").open(encoding="latin-1", newline="") as table:
        listed = sum(1 for _ in csv.DictReader(table))
    assert not verify("figure1", folder)
    assert rows(capsys.readouterr().out)["images listed, as published"] == ["55", str(listed), str(55 - listed), "0"]
