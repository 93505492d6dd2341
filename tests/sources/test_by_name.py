"""Images found by their name."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrflow.errors import LeftOut
from cxrflow.sources.by_name import ByName

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def folder(tmp_path):
    def make(*paths: str) -> ByName:
        for path in paths:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_bytes(PNG)
        return ByName(tmp_path)

    return make


@pytest.mark.parametrize(
    ("files", "listed", "found"),
    [
        # without folder, without extension, with another one, in other capitals
        (["p1/a.dcm"], "a.dcm", "p1/a.dcm"),
        (["p1/a.dcm"], "a", "p1/a.dcm"),
        (["p1/a"], "a.dcm", "p1/a"),
        (["p1/a.dcm.gz"], "a", "p1/a.dcm.gz"),
        (["p1/IM-1.DCM"], "im-1", "p1/IM-1.DCM"),
        (["p1/1.2.840.1"], "1.2.840.1.dcm", "p1/1.2.840.1"),
        # of a folder whose name is the listed one's end
        (["x/p1/a.png", "x/p2/a.png"], "p2/a", "x/p2/a.png"),
        # as on the machine that wrote the table
        (["p1/a.png", "p2/a.png"], r"D:\export\p2\a.png", "p2/a.png"),
        (["p1/a.png"], "/home/me/p1/a.png", "p1/a.png"),
        # the extension as listed, of two in one folder
        (["p1/a.png", "p1/a.jpg"], "a.jpg", "p1/a.jpg"),
        # none
        (["p1/a.png"], "b", None),
        (["p1/a.png"], "p2/a.png", None),
        (["p1/a.png"], "../p1/a.png", None),
        (["p1/a.png"], "", None),
        ([], "a.png", None),
    ],
)
def test_found(folder, files, listed, found) -> None:
    assert folder(*files).find(listed, "") == found


def test_of_several_the_one_below_the_folder_of_the_patient(folder) -> None:
    by_name = folder("P1/s/a.png", "P2/s/a.png", "P3/s/a.png", "P3/t/a.png")
    assert by_name.find("a", "P2") == "P2/s/a.png"
    for patient in ("", "P3", "P4", "s"):
        with pytest.raises(LeftOut, match="file is not certain"):
            by_name.find("a", patient)


def test_an_ending_does_not_decide_between_patients(folder) -> None:
    with pytest.raises(LeftOut, match="2 have this name"):
        folder("P1/a.dcm", "P3/a").find("a", "P2")


def test_folders_of_another_machine_are_the_same_in_all_rows(folder) -> None:
    by_name = folder("a.png", "b.png")
    assert by_name.find("D:/one/a.png", "") == "a.png"
    assert by_name.find("D:/two/b.png", "") is None
    assert by_name.find("D:/one/b.png", "") == "b.png"


@given(st.lists(st.sampled_from(["p1", "p2", "p3"]), max_size=3), st.sampled_from(["a", "a.png", "b.dcm"]))
def test_what_is_found_ends_as_listed_or_is_the_end_of_it(tmp_path_factory, parts, name) -> None:
    root = tmp_path_factory.getbasetemp() / "fixed"
    for path in ("p1/a.png", "p2/a.png", "p2/p3/b", "b.dcm"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(PNG)
    try:
        found = ByName(root).find("/".join([*parts, name]), "")
    except LeftOut:
        return
    if found is not None:
        ours, theirs = [*Path(found).parts[:-1], Path(found).stem], [*parts, Path(name).stem]
        shorter = min(len(ours), len(theirs))
        assert ours[-shorter:] == theirs[-shorter:]
