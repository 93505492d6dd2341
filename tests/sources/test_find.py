"""Which collections are found where."""

import os
from pathlib import Path

import pytest

from cxrflow.errors import CxrflowError
from cxrflow.sources import SOURCES, find_collections, print_sources, read_collections, table, tables
from cxrflow.sources.collection import Options
from cxrflow.sources.look import look


@pytest.fixture
def root(make_tiny) -> Path:
    for name in ("rsna", "covid-chestxray", "table"):
        root = make_tiny(name).write().parent
    (root / "notes").mkdir()
    (root / "README.md").touch()
    return root


def names(found) -> list[str]:
    return [collection.name for collection, _ in found]


def test_all_are_found_in_the_order_of_the_registry(root) -> None:
    home, found = find_collections(root)
    assert home == root
    assert names(found) == ["covid-chestxray", "rsna", "table"]


def test_wanted_keeps_those_named(root) -> None:
    assert names(find_collections(root, ["hospital", "rsna"])[1]) == ["rsna", "table"]


def test_a_wanted_one_that_is_absent_is_named(root) -> None:
    with pytest.raises(CxrflowError, match="nih-chestxray14"):
        find_collections(root, ["rsna", "nih"])
    with pytest.raises(CxrflowError, match="collection nih is not there"):
        find_collections(root / SOURCES["rsna"].folders[0], ["nih"])


@pytest.mark.parametrize("folder", ["rsna-pneumonia-detection-challenge", "hospital"])
def test_a_root_may_be_a_collection_itself(root, folder, monkeypatch) -> None:
    expected = find_collections(root / folder)
    assert expected[0] == root
    assert [name for _, name in expected[1]] == [folder]
    monkeypatch.chdir(root / folder)
    assert find_collections(Path()) == expected
    assert find_collections(root / "notes" / ".." / folder / ".") == expected


def test_a_missing_folder_and_an_empty_one_stop_at_once(root) -> None:
    with pytest.raises(CxrflowError, match="no such folder"):
        find_collections(root / "nowhere")
    with pytest.raises(CxrflowError, match="no collection found"):
        find_collections(root / "notes")


def test_the_registry_is_printed(capsys) -> None:
    print_sources()
    printed = capsys.readouterr().out
    assert all(
        collection.name in printed and all(name in printed for name in collection.folders or ("any, with",))
        for collection in SOURCES.values()
    )


def test_a_users_table_without_patients_is_not_passed_over(root) -> None:
    table = root / "hospital" / "any name.csv"
    table.write_text("path,label\na.png,covid\n")
    _, found = find_collections(root)
    with pytest.raises(CxrflowError, match=r"any name\.csv: column patient is missing"):
        list(found[-1][0].read(root / "hospital", "hospital", Options()))


def test_a_table_that_is_no_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "table.csv")
    assert tables.read_header(tmp_path / "table.csv") == ()
    with pytest.raises(CxrflowError, match="not a file"):
        list(tables.read_table(tmp_path / "table.csv", ("path",)))


def test_a_table_beside_collections_that_lacks_a_column_does_not_hide_them(root) -> None:
    (root / "list.csv").write_text("file,label\na.png,normal\n")
    assert names(find_collections(root)[1]) == ["covid-chestxray", "rsna", "table"]
    (root / "list.csv").write_text("file,label,patient\na.png,normal,1\n")
    assert find_collections(root)[0] == root.parent


@pytest.mark.parametrize("name", [".ipynb_checkpoints", "__MACOSX"])
def test_what_programs_leave_behind_is_no_collection(root, name) -> None:
    (root / name).mkdir()
    (root / name / "t.csv").write_text("path,label,patient\na.png,normal,1\n")
    assert names(find_collections(root)[1]) == ["covid-chestxray", "rsna", "table"]


def test_a_folder_that_cannot_be_opened_is_passed_over(root, monkeypatch) -> None:
    def refuse(folder, *_, **__):
        if folder.name == "lost+found":
            raise PermissionError(13, "Permission denied", str(folder))
        return own(folder, *_, **__)

    (root / "lost+found").mkdir()
    own = table.is_own
    monkeypatch.setattr(table, "is_own", refuse)
    assert names(find_collections(root)[1]) == ["covid-chestxray", "rsna", "table"]


def test_a_folder_called_after_a_collection_that_holds_published_ones_is_none_itself(make_tiny, capsys) -> None:
    tiny = make_tiny("nih")
    tiny.root /= "nih"
    outer = tiny.write().parent
    assert find_collections(outer) == (outer, [(SOURCES["nih"], "nih-chestxray14")])
    assert look(outer, Options())
    assert "4 rows" in capsys.readouterr().out
    home, found = find_collections(outer.parent)
    with pytest.raises(CxrflowError, match=r"the table is absent \(expected: .*; found: nih-chestxray14/\)"):
        list(read_collections(home, found, Options()))
    outer.joinpath("Data_Entry_2017.csv").write_bytes((outer / tiny.folder / "Data_Entry_2017.csv").read_bytes())
    assert find_collections(outer) == (outer.parent, [(SOURCES["nih"], "nih")])


def test_kermanys_archive_that_holds_all_of_it_twice_is_one_collection(make_tiny) -> None:
    tiny = make_tiny("kermany")
    folder = tiny.write()
    (folder / "chest_xray").mkdir()
    assert find_collections(folder) == (folder.parent, [(SOURCES["kermany"], "chest_xray")])


def test_a_collection_that_cannot_be_read_says_how_to_go_on_without_it(root) -> None:
    (root / SOURCES["rsna"].folders[0] / "nih_mapping.csv").unlink()
    home, found = find_collections(root)
    with pytest.raises(CxrflowError, match=r"accept\. To go on without it, .*: \[covid-chestxray, hospital\]\.$"):
        list(read_collections(home, found, Options()))
    assert list(read_collections(*find_collections(root, ["covid-chestxray", "hospital"]), Options()))
    with pytest.raises(CxrflowError, match=r"accept\.$"):
        list(read_collections(*find_collections(root, ["rsna"]), Options()))
