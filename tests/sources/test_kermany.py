"""Kermany's children: who they are, in both sets of names, and folders without a table."""

from collections import Counter

import pytest

from cxrflow.errors import CxrflowError
from cxrflow.sources import find_collections, kermany, read_collections
from cxrflow.sources.collection import Options

BACTERIAL, VIRAL = "pneumonia/bacterial", "pneumonia/viral"


def test_findings_children_and_paths(make_tiny) -> None:
    tiny = make_tiny("kermany")
    tiny.write()
    records = list(read_collections(*find_collections(tiny.root), Options()))
    assert [(r.path, r.findings[0], r.finding, r.patient_id) for r in records] == [
        ("chest_xray/train/NORMAL/IM-0115-0001.jpeg", "no finding", "NORMAL", "kermany:IM-115"),
        ("chest_xray/train/NORMAL/NORMAL2-IM-0666-0001.jpeg", "no finding", "NORMAL", "kermany:IM-666"),
        ("chest_xray/train/PNEUMONIA/person1_bacteria_1.jpeg", BACTERIAL, "PNEUMONIA, bacteria", "kermany:person1"),
        ("chest_xray/train/PNEUMONIA/person1_bacteria_2.jpeg", BACTERIAL, "PNEUMONIA, bacteria", "kermany:person1"),
        ("chest_xray/val/NORMAL/NORMAL2-IM-1427-0001.jpeg", "no finding", "NORMAL", "kermany:IM-1427"),
        # perhaps another child than the bacterial person 1, perhaps the same: in one group
        ("chest_xray/test/PNEUMONIA/person1_virus_6.jpeg", VIRAL, "PNEUMONIA, virus", "kermany:person1"),
    ]
    assert {(r.paediatric, r.view, r.age, r.sex) for r in records} == {(True, "AP", None, None)}


@pytest.mark.parametrize(
    ("file", "patient"),
    [
        ("person1_bacteria_2.jpeg", "person1"),
        ("person447_virus_921_1.jpeg", "person447"),
        ("person10_virus_35.jpeg", "person10"),
        ("IM-0115-0001.jpeg", "IM-115"),
        ("NORMAL2-IM-0115-0001.jpeg", "IM-115"),
        ("IM-0011-0001-0002.jpeg", "IM-11"),
        ("BACTERIA-1351146-0002.jpeg", "1351146"),
        ("VIRUS-614452-0001.jpeg", "614452"),
        ("NORMAL-1049278-0001.jpeg", "1049278"),
        ("scan.jpeg", None),
    ],
)
def test_the_child_is_in_the_file_name(file, patient) -> None:
    assert kermany.patient_of(file) == patient


@pytest.mark.parametrize(
    ("kind", "file", "finding"),
    [
        ("NORMAL", "NORMAL-1049278-0001.jpeg", "no finding"),
        ("PNEUMONIA", "VIRUS-614452-0001.jpeg", VIRAL),
        ("PNEUMONIA", "BACTERIA-7422-0001.jpeg", BACTERIAL),
        ("PNEUMONIA", "scan.jpeg", "pneumonia"),
    ],
)
def test_which_pneumonia_it_is(kind, file, finding) -> None:
    assert kermany.findings_of(kind, file)[0] == finding


def test_the_copy_within_kaggles_archive_is_read_only_if_it_is_all_there_is(make_tiny) -> None:
    tiny = make_tiny("kermany")
    files = [file for file in tiny.files if file.endswith(".jpeg")]
    tiny.files = [*files, *(f"chest_xray/{file}" for file in files), "__MACOSX/chest_xray/._train"]
    tiny.write()
    home, found = find_collections(tiny.root)
    known = {}
    assert len(list(read_collections(home, found, Options(), known))) == 6
    assert known["chest_xray"].unlisted == Counter({"chest_xray/*.jpeg": 6})
    for folder in ("train", "val", "test"):
        (tiny.root / "chest_xray" / folder).rename(tiny.root / folder)
    assert next(read_collections(home, found, Options())).path == "chest_xray/chest_xray/train/NORMAL/IM-0115-0001.jpeg"


def test_folders_of_another_layout_are_met_with_what_was_expected_and_found(make_tiny) -> None:
    tiny = make_tiny("kermany")
    tiny.files = ["training/healthy/1.jpeg"]
    tiny.write()
    with pytest.raises(CxrflowError, match=r"no images \(expected: folders train/NORMAL, .*; found: training\)"):
        list(read_collections(*find_collections(tiny.root), Options()))


def test_the_published_totals() -> None:
    """5,856 images (Mendeley Data, rscbjbr9sj): 5,232 to train and 624 to test, by kind as Kermany et al. 2018 say."""
    counts = {("train", "NORMAL"): 1_349, ("train", "BACTERIA"): 2_538, ("train", "VIRUS"): 1_345}
    counts |= {("test", "NORMAL"): 234, ("test", "BACTERIA"): 242, ("test", "VIRUS"): 148}
    names = [
        ("NORMAL" if kind == "NORMAL" else "PNEUMONIA", kind, k) for (_, kind), n in counts.items() for k in range(n)
    ]
    found = Counter(kermany.findings_of(folder, f"{kind}-{number}-0001.jpeg")[0] for folder, kind, number in names)
    assert found == {"no finding": 1_583, BACTERIAL: 2_780, VIRAL: 1_493}
    assert found.total() == 5_856
