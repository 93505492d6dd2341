"""PadChest: its labels in the one vocabulary, projections, ages, and images in numbered folders."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrflow.findings import FINDINGS
from cxrflow.sources import find_collections, padchest, read_collections, tables
from cxrflow.sources.collection import Options
from cxrflow.task import NO_FINDING_GIVEN

TABLE = f"{padchest.TABLE}.gz"


@pytest.mark.parametrize(
    ("published", "findings", "label"),
    [
        ("['normal']", ("no finding",), "normal"),
        ("['pneumonia', ' air trapping', 'pneumonia']", ("pneumonia", "air trapping"), "pneumonia"),
        ("['atypical pneumonia', 'pneumonia']", ("pneumonia/atypical",), "pneumonia"),
        ("['COPD signs', 'NSG tube']", ("chronic obstructive pulmonary disease", "support devices"), None),
        ("['hydropneumothorax']", ("effusion", "pneumothorax"), None),
        ('["calcified granuloma", "rib fracture"]', ("calcification", "granuloma", "fracture/rib"), None),
        # published, without a term of their own: never normal
        ("['kyphosis']", ("other finding",), None),
        ("['chronic changes', 'obesity', 'cardiomegaly']", ("other finding", "cardiomegaly"), None),
        # beside anything else "normal" does not count
        ("['normal', 'kyphosis']", ("other finding",), None),
        ("['normal', 'unchanged']", ("not determined",), None),
        ("['normal', 'banana']", (), None),
        ("['exclude']", ("not determined",), None),
        ("['suboptimal study', 'cardiomegaly']", ("cardiomegaly",), None),
        ("['tuberculosis sequelae', 'tuberculosis']", ("tuberculosis/sequelae",), None),
    ],
)
def test_labels(published, findings, label, demo_params) -> None:
    assert padchest.findings_of(published) == (findings, None if findings else tables.UNKNOWN_LABEL)
    assert demo_params.task.label_of(findings)[0] == label


@given(st.lists(st.sampled_from([*padchest.OTHER, *padchest.SILENT, "normal", "pneumonia", "banana", ""]), max_size=5))
def test_only_the_sole_label_normal_is_no_finding(labels) -> None:
    findings, reason = padchest.findings_of(str(labels))
    given_labels = [label for label in labels if label]
    assert ("no finding" in findings) == (given_labels == ["normal"])
    assert bool(findings) == any(label in padchest.OTHER or label == "pneumonia" for label in labels) or (
        findings in (("no finding",), ("not determined",))
    )
    assert not (findings and reason)


@pytest.mark.parametrize("published", ["", "[]", "['']", "nan"])
def test_no_label_is_not_normal(published, demo_params) -> None:
    findings, reason = padchest.findings_of(published)
    assert (reason, demo_params.task.label_of(findings)) == (None, (None, NO_FINDING_GIVEN))


def test_every_label_is_translated_once() -> None:
    translated = {label for labels in padchest.PUBLISHED.values() for label in labels}
    assert padchest.PUBLISHED.keys() <= set(FINDINGS)
    assert not translated & padchest.OTHER
    assert not (translated | padchest.OTHER) & (padchest.SILENT | {padchest.NORMAL})
    # 193 labels in the table (its authors' notebook Dataset-maintenance.ipynb), two more in their tree
    assert len(translated | padchest.OTHER | padchest.SILENT | {padchest.NORMAL}) == 193 + 2


def test_ages_people_and_children(make_tiny, read) -> None:
    first, second, third, fourth = read("padchest", make_tiny("padchest"))
    assert (first.age, first.sex, first.patient_id) == (84, "F", "padchest:8398")  # born 1930, seen 2014
    assert (second.age, second.view, second.findings) == (
        90,
        "AP_horizontal",
        ("pneumonia", "effusion", "other finding"),
    )
    assert (third.age, third.sex, third.paediatric) == (None, None, True)
    assert third.patient_id == fourth.patient_id
    assert (first.finding, fourth.finding) == ("['normal']", "[]; labelled by a network")


@pytest.mark.parametrize(
    ("birth", "date", "age"),
    [("1930.0", "20140915", 84), ("2014", "20140915", 0), ("", "20140915", None), ("2015", "20140915", None),
     ("1890", "20140915", None), ("1930", "", None), ("nan", "20140915", None)],
)  # fmt: skip
def test_age_is_the_difference_of_years(make_tiny, read, birth, date, age) -> None:
    tiny = make_tiny("padchest")
    tiny.tables[TABLE][1][6], tiny.tables[TABLE][1][3] = birth, date
    assert read("padchest", tiny)[0].age == age


@pytest.mark.parametrize(
    ("projection", "reason"),
    [("PA", None), ("AP", None), ("", None), ("L", "view is L, not frontal"), ("COSTAL", "view is COSTAL, not frontal"),
     ("EXCLUDE", "view is EXCLUDE, not frontal")],
)  # fmt: skip
def test_only_frontal_projections_are_kept(make_tiny, read, projection, reason) -> None:
    tiny = make_tiny("padchest")
    tiny.tables[TABLE][1][9] = projection
    assert read("padchest", tiny)[0].left_out == reason


def test_images_in_the_folders_of_the_archives_in_one_folder_or_beside_the_table(make_tiny) -> None:
    tiny = make_tiny("padchest")
    tiny.files = ("0/a.png", "images/14/b.png", "images/c.png", "d.png", "0/z.png")
    tiny.add(
        ["5", "absent.png", "3", "20140915", "s9", "1", "1930", "F", "", "PA", "Manual", "No", "", "", "['normal']"]
    )
    tiny.write()
    *found, absent = (record.path for record in read_collections(*find_collections(tiny.root), Options()))
    assert found == [f"PadChest/{path}" for path in ("0/a.png", "images/14/b.png", "images/c.png", "d.png")]
    assert absent == "PadChest/3/absent.png"
    tiny.tables[TABLE] = [[*row[:2], "" if row[1] == "c.png" else row[2], *row[3:]] for row in tiny.tables[TABLE]]
    tiny.write()  # in no archive, as some copies of the table have it
    assert [record.path for record in read_collections(*find_collections(tiny.root), Options())] == [
        *(f"PadChest/{path}" for path in ("0/a.png", "images/14/b.png", "images/c.png", "d.png")),
        absent,
    ]
