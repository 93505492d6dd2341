"""CheXpert: uncertain is unknown, the labeler's "No Finding", laterals, the layouts of its releases."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrflow.sources import chexpert, find_collections, read_collections, tables
from cxrflow.sources.collection import Options
from cxrflow.task import NO_FINDING_GIVEN


@pytest.mark.parametrize(
    ("cells", "findings", "words", "reason"),
    [
        ({"No_Finding": "1.0"}, ("no finding",), "No Finding", None),
        # a pacemaker is no disease, in the words of the labeler
        ({"No_Finding": "1.0", "Support_Devices": "1.0"}, ("no finding", "support devices"), None, None),
        ({"No_Finding": "1.0", "Support_Devices": "-1.0"}, ("no finding",), None, None),
        # unknown is not negative
        ({"No_Finding": "1.0", "Edema": "-1.0"}, (), "No Finding|Edema (uncertain)", tables.UNCERTAIN),
        ({"No_Finding": "1.0", "Edema": "1.0"}, ("edema",), None, None),
        ({"Pneumonia": "-1.0"}, (), "Pneumonia (uncertain)", tables.UNCERTAIN),
        ({"Pneumonia": "-1.0", "Fracture": "1"}, ("fracture",), "Fracture|Pneumonia (uncertain)", None),
        # mentioned as absent, or not at all: nothing is known
        ({"Pneumonia": "0.0", "Edema": "0"}, (), "", None),
        ({"Support_Devices": "1.0"}, ("support devices",), "Support Devices", None),
        ({"Pneumonia": "2"}, (), "2", tables.UNKNOWN_LABEL),
    ],
)
def test_uncertain_and_absent_are_told_from_present(observed, cells, findings, words, reason) -> None:
    found = chexpert.labels_of(tuple(observed(**cells)))
    assert (found.findings, found.left_out) == (findings, reason)
    assert words is None or found.words == words
    doubts = () if reason == tables.UNKNOWN_LABEL else [name for name, cell in cells.items() if cell == "-1.0"]
    assert found.uncertain == tuple(name.casefold().replace("_", " ") for name in doubts)


@given(st.lists(st.sampled_from(["", "0.0", "1.0", "-1.0", "2"]), min_size=14, max_size=14))
def test_no_finding_never_stands_beside_a_disease_or_a_doubt(cells) -> None:
    findings, _, _, reason = chexpert.labels_of(tuple(cells))
    diseases = [cell for name, cell in zip(chexpert.PUBLISHED, cells, strict=True) if name not in _NONE]
    if "no finding" in findings:
        assert set(findings) <= {"no finding", "support devices"}
        assert not {"1.0", "-1.0", "2"} & set(diseases)
    assert not (findings and reason)
    assert len(findings) <= cells.count("1.0")


_NONE = ("No Finding", "Support Devices")


def test_views_ages_sexes_and_people(make_tiny, read, observed) -> None:
    tiny = make_tiny("chexpert")
    train = tiny.tables["train.csv"]
    train.append([f"{train[1][0][:-11]}lateral.jpg", "Female", "68", "Lateral", "", *observed(No_Finding="1.0")])
    train.append([train[1][0].replace("view1", "view2"), "Female", "68", "Frontal", "LL", *observed()])
    first, second, third, lateral, contradiction, valid = read("chexpert", tiny)
    assert [record.patient_id for record in (first, second, third)] == [
        "chexpert:patient00001", "chexpert:patient00002", "chexpert:patient00002",
    ]  # fmt: skip
    assert (first.sex, first.age, first.view) == ("F", 68, "AP")
    assert (third.sex, third.age, third.finding) == (None, None, "Pleural Effusion|Pneumonia (uncertain)")
    assert lateral.left_out == "view is Lateral, not frontal"
    assert contradiction.left_out == "view is LL, not frontal"
    assert second.path == "CheXpert-v1.0-small/train/patient00002/study2/view1_frontal.jpg"
    assert valid.path == "CheXpert-v1.0-small/valid/patient64541/study1/view1_frontal.jpg"


def test_an_image_without_any_observation_is_not_normal(make_tiny, read, observed, demo_params) -> None:
    tiny = make_tiny("chexpert")
    tiny.add(["CheXpert-v1.0-small/valid/patient64543/study1/view1_frontal.jpg", "Male", "5", "Frontal", "AP"])
    tiny.tables["valid.csv"][-1] += observed()
    record = read("chexpert", tiny)[-1]
    assert (record.left_out, demo_params.task.label_of(record.findings)) == (None, (None, NO_FINDING_GIVEN))


def test_the_parts_of_the_full_size_release_need_no_rearranging(make_tiny) -> None:
    tiny = make_tiny("chexpert")
    tiny.folder = "chexpertchestxrays-u20210408"
    for name in list(tiny.tables):
        rows = [[row[0].replace("v1.0-small", "v1.0"), *row[1:]] for row in tiny.tables.pop(name)]
        tiny.tables[f"{chexpert.TABLES_PART}/{name}"] = rows
    there = [
        f"{chexpert.TABLES_PART}/valid/patient64541/study1/view1_frontal.jpg",
        f"{chexpert.TRAIN_PARTS[0]}/patient00001/study1/view1_frontal.jpg",
        f"{chexpert.TRAIN_PARTS[2]}/patient00002/study2/view1_frontal.jpg",
    ]
    tiny.files = there
    tiny.write()
    first, second, third, valid = read_collections(*find_collections(tiny.root), Options())
    assert [r.path for r in (valid, first, second)] == [f"{tiny.folder}/{file}" for file in there]
    assert third.path.endswith("(train 3)/patient00002/study1/view1_frontal.jpg")  # absent, beside the other study
    assert first.image_id == "chexpert:train/patient00001/study1/view1_frontal.jpg"
