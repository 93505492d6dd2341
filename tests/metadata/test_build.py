"""From folders to records: bad input is left out, counted and listed; people stay together."""

import itertools
import os
import platform
from dataclasses import replace

import pandas as pd
import pytest
from PIL import Image

from cxrflow.errors import CxrflowError
from cxrflow.metadata import counts, rows, rules, stage
from cxrflow.metadata.build import build_records
from cxrflow.params import Sources
from cxrflow.sources import SOURCES, table, tables
from cxrflow.task import NO_FINDING_GIVEN, Task


@pytest.fixture
def build(how, demo_params, engine, tmp_path):
    """Builds records without a demand on classes; ``how`` and the task may be changed by keywords."""

    def run(root, **changes) -> pd.DataFrame:
        split, task = changes.pop("split", False), changes.pop("task", demo_params.task)
        changes["split"] = changes.pop("shares", how.split)
        params = how.model_copy(update=changes)
        sources = Sources(root=str(root), collections=None)
        return build_records(sources, params, task, engine, tmp_path / "work", split=split).records

    return run


def reasons(records: pd.DataFrame) -> dict[str, str | None]:
    return dict(zip(records.image_id.str.partition(":")[2], records.left_out, strict=True))


def test_bad_input_is_left_out_counted_and_listed(own, build, as_table, tmp_path) -> None:
    rows = [
        ["good.png", "covid", "p1"],
        ["other.jpg", "normal", "p2"],
        ["label.png", "flu", "p3"],
        ["no label.png", "", "p3"],
        ["absent.png", "covid", "p4"],
        ["truncated.jpg", "covid", "p5"],
        ["empty.png", "covid", "p6"],
        ["text.png", "covid", "p7"],
        ["good.png", "covid", "p1"],
        ["../../outside.png", "covid", "p8"],
        ["/etc/passwd", "covid", "p9"],
        ["link.png", "covid", "p10"],
        ["", "covid", "p11"],
        ["surplus.png", "covid", "p12", "and more"],
        ["[/b].png", "x", ""],
    ]
    root = own(rows, {"good.png": 1, "other.jpg": 2, "label.png": 3, "surplus.png": 4, "truncated.jpg": 5})
    folder = root / "mine"
    whole = (folder / "truncated.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("not a picture")
    Image.new("L", (64, 64)).save(tmp_path / "outside.png")
    (folder / "link.png").symlink_to(tmp_path / "outside.png")
    records = build(root)
    found = reasons(records)
    assert len(found) == len(rows)
    expected = {
        "good.png": None,
        "other.jpg": None,
        "label.png": tables.UNKNOWN_LABEL,
        "no label.png": NO_FINDING_GIVEN,
        "absent.png": "file is absent",
        "truncated.jpg": "image is damaged",
        "empty.png": "file is empty",
        "text.png": "file is a text or a table, not an image",
        "good.png#2": rules.LISTED_AGAIN,
        "../../outside.png": "path leaves",
        "/etc/passwd": "path leaves",
        "link.png": "path leaves",
        "line 14": tables.NO_IMAGE,
        "surplus.png": tables.BAD_ROW,
        "[/b].png": tables.UNKNOWN_LABEL,
    }
    assert set(found) == set(expected)
    for name, reason in expected.items():
        assert (found[name] is None) == (reason is None)
        assert reason is None or found[name].startswith(reason)
    counted = counts.reconciliation(as_table(records))
    assert counted.rows.sum() == len(rows)
    assert counted[counted.fate.str.startswith("kept")].rows.sum() == 2
    assert records.split.notna().equals(records.left_out.isna())


def test_near_repeats_stay_in_one_group_unless_their_labels_differ(own, build, picture) -> None:
    rows = [
        ["a.png", "covid", "p1"],
        ["b.jpg", "covid", "p2"],
        ["c.png", "normal", "p3"],
        ["d.jpg", "covid", "p4"],
        ["e.png", "normal", "p5"],
    ]
    records = build(own(rows, {"a.png": 1, "b.jpg": 1, "c.png": 2, "d.jpg": 2, "e.png": 3})).set_index("image_id")
    assert records.left_out.tolist() == [None, None, rules.CONFLICT, rules.CONFLICT, None]
    assert records.group_id.tolist() == ["mine:p1", "mine:p1", "mine:p3", "mine:p3", "mine:p5"]


def test_a_repeat_across_collections_joins_its_people(own, build) -> None:
    own([["a.png", "covid", "p1"], ["b.png", "covid", "p1"]], {"a.png": 1, "b.png": 2}, folder="first")
    records = build(
        own([["c.png", "covid", "q1"], ["d.png", "covid", "q1"]], {"c.png": 2, "d.png": 3}, folder="second")
    )
    assert records.left_out.tolist() == [None, None, rules.SAME_FILE, None]
    assert set(records.group_id) == {"first:p1"}


def test_rows_that_name_no_image_do_not_join_their_people(own, build) -> None:
    rows = [["", "covid", "p1"], ["", "covid", "p2"], ["a.png", "covid", "p1"], ["b.png", "covid", "p2"]]
    records = build(own(rows, {"a.png": 1, "b.png": 2}))
    assert records.group_id.tolist() == ["mine:p1", "mine:p2", "mine:p1", "mine:p2"]


def test_an_rsna_image_meets_its_nih_patient(tmp_path, write_csv, build) -> None:
    rsna, nih = tmp_path / "root/rsna", tmp_path / "root/nih"
    write_csv(rsna / "stage_2_train_labels.csv", [["patientId", "Target"], ["r1", "1"], ["r1", "1"], ["r2", "0"]])
    write_csv(
        rsna / "stage_2_detailed_class_info.csv", [["patientId", "class"], ["r1", "Lung Opacity"], ["r2", "Normal"]]
    )
    write_csv(
        rsna / "nih_mapping.csv", [["patientId", "nih_image"], ["r1", "00000150_007.png"], ["r2", "00000151_000.png"]]
    )
    header = ["Image Index", "Finding Labels", "Patient ID"]
    write_csv(
        nih / "Data_Entry_2017.csv",
        [header, ["00000150_001.png", "No Finding", "150"], ["00000152_000.png", "Pneumonia", "152"]],
    )
    records = build(tmp_path / "root", files="ignored").set_index("image_id")
    assert records.group_id.to_dict() == {
        "rsna:r1": "nih:00000150",
        "rsna:r2": "nih:00000151",
        "nih:00000150_001.png": "nih:00000150",
        "nih:00000152_000.png": "nih:00000152",
    }
    assert records.left_out.isna().all()


def test_boxes_are_in_the_records_and_those_not_read_are_said(
    tmp_path, write_csv, how, demo_params, engine, capsys
) -> None:
    """A table of boxes counts no images: NIH has two of them, of one image."""
    nih = tmp_path / "root/nih"
    rows = [[f"0000015{n}_000.png", "Pneumonia", f"15{n}"] for n in range(2)]
    write_csv(nih / "Data_Entry_2017.csv", [["Image Index", "Finding Labels", "Patient ID"], *rows])
    boxes = [["00000150_000.png", "Pneumonia", "512", "256", "128", side] for side in ("64", "900")]
    write_csv(nih / "BBox_List_2017.csv", [["Image Index", "Finding Label", "Bbox [x", "y", "w", "h]"], *boxes])
    sources = Sources(root=str(tmp_path / "root"), collections=None)
    ignored = how.model_copy(update={"files": "ignored"})
    built = build_records(sources, ignored, demo_params.task, engine, tmp_path / "work")
    assert built.records.boxes.tolist() == ["pneumonia:0.50000,0.25000,0.12500,0.06250", None]
    assert built.listed == {"nih": {"Data_Entry_2017.csv": 2}}
    (said,) = counts.summary(built)["tables_read"]
    assert said.startswith("nih: 1 box in BBox_List_2017.csv not read, the first in line 3: ")
    stage.print_tables_read(built)
    assert " ".join(said.split()) in " ".join(capsys.readouterr().out.split())


LABELS = ["covid", "normal", "pneumonia"]
MANY = [[f"{n}.png", LABELS[n % 3], f"p{n // 2}"] for n in range(120)]


def test_adding_and_reordering_rows_moves_nobody(own, build) -> None:
    before = build(own(MANY, {}), files="ignored", split=True).set_index("path")
    more = [[f"new {n}.png", "covid", f"p{n + 55}"] for n in range(10)]
    after = build(own([*more, *MANY[::-1]], {}), files="ignored", split=True).set_index("path")
    assert len(after) == 130
    for column in ("group_id", "split"):
        assert after.loc[before.index, column].equals(before[column])
    assert after.groupby("group_id").split.nunique().eq(1).all()
    assert set(after.split) == {"train", "val", "test"}


def test_another_seed_is_another_split_of_the_same_groups(own, build, how) -> None:
    root = own(MANY, {})
    before = build(root, files="ignored", split=True)
    after = build(root, files="ignored", shares=how.split.model_copy(update={"seed": 1}), split=True)
    assert after.group_id.equals(before.group_id)
    assert not after.split.equals(before.split)


KINDS = Task(
    classes={
        "covid": ("pneumonia/viral/covid-19",),
        "viral": ("pneumonia/viral",),
        "bacterial": ("pneumonia/bacterial",),
        "clear": ("no finding",),
    },
    positive="viral",
)
SICK = Task(classes={"well": ("no finding",), "sick": ("pneumonia",)}, positive="sick")
WORDS = ["COVID-19", "sars", "klebsiella", "normal", "pneumonia", "edema", "flu", ""]


@pytest.mark.parametrize(
    ("task", "labels"),
    [
        (SICK, ["sick", "sick", "sick", "well", "sick", None, None, None]),
        (KINDS, ["covid", "viral", "bacterial", "clear", None, None, None, None]),
    ],
)
def test_another_task_labels_the_same_findings_otherwise(own, build, task, labels) -> None:
    records = build(own([[f"{n}.png", word, f"p{n}"] for n, word in enumerate(WORDS)], {}), files="ignored", task=task)
    assert records.label.tolist() == labels
    none = f"finding is not one of {', '.join(task.order)}"
    reasons = [None if label else none for label in labels[:-2]] + [f"{tables.UNKNOWN_LABEL} (flu)", NO_FINDING_GIVEN]
    assert records.left_out.tolist() == reasons
    assert records.findings[1] == "pneumonia/viral/sars"


def test_a_conflict_is_one_of_labels_and_not_of_findings(own, build) -> None:
    """One bacterial image listed under two words: no conflict where both are one class, one where they are two."""
    rows = [["a.png", "klebsiella", "p1"], ["a.png", "covid", "p1"]]
    root = own(rows, {"a.png": 1})
    assert build(root, task=SICK).left_out.tolist() == [None, rules.LISTED_AGAIN]
    assert build(root, task=KINDS).left_out.tolist() == [rules.CONFLICT, rules.CONFLICT]


def test_files_of_one_name_in_two_folders_are_told_apart_in_any_order(tmp_path, write_csv, build) -> None:
    header = ["patientid", "finding", "view", "modality", "folder", "filename"]
    rows = [["1", "SARS", "PA", "X-ray", "images", "a.jpg"], ["2", "SARS", "PA", "X-ray", "more", "a.jpg"]]
    ids = {}
    for name, order in (("one", rows), ("two", rows[::-1])):
        folder = tmp_path / name / "covid-chestxray"
        write_csv(folder / "metadata.csv", [header, *order, ["3", "SARS", "PA", "X-ray", "images", "b.jpg"]])
        records = build(tmp_path / name, files="ignored")
        ids[name] = dict(zip(records.image_id, records.patient_id, strict=True))
    assert ids["one"] == ids["two"]
    assert "covid-chestxray:b.jpg" in ids["one"]


def test_rows_in_small_parts_are_the_same_rows(own, build, monkeypatch) -> None:
    """Ids, rules, groups and sides reach over the parts; patients and files link rows far apart."""
    twice = [[path, label, f"p{n % 17}" if n % 5 else ""] for n, (path, label, _) in enumerate([*MANY, *MANY[:30]])]
    root = own(twice, {})
    whole = build(root, files="ignored", split=True)
    monkeypatch.setattr(rows, "_BATCH", 7)
    pd.testing.assert_frame_equal(build(root, files="ignored", split=True), whole)
    assert whole.left_out.notna().sum() == 30
    assert whole.image_id.is_unique


def test_a_file_called_like_a_repeat_keeps_its_own_id(own, build) -> None:
    names = ["a.png", "a.png", "a.png#2", "a.png#2"]
    ids = build(own([[name, "covid", "p"] for name in names], {}), files="ignored").image_id
    assert ids.tolist() == ["mine:a.png", "mine:a.png#2", "mine:a.png#2#row 3", "mine:a.png#2#2"]


def test_what_a_killed_run_left_is_cleared(own, build, tmp_path) -> None:
    here = tmp_path / "work" / f".rows.{platform.node()}"
    dead, alive = here.with_name(f"{here.name}.999999999.x"), here.with_name(f"{here.name}.{os.getppid()}.x")
    for folder in (dead, alive):
        (folder / "listed").mkdir(parents=True)
    build(own(MANY, {}), files="ignored")
    assert (dead.exists(), alive.exists()) == (False, True)


def test_a_source_that_loses_rows_is_found_by_count(own, build, monkeypatch) -> None:
    """Whatever a plug-in does, rows are counted where they are read."""
    whole = table.COLLECTION.read
    thrifty = replace(table.COLLECTION, read=lambda *how: itertools.islice(whole(*how), 0, None, 2))
    monkeypatch.setitem(SOURCES, "table", thrifty)
    monkeypatch.setattr(table, "COLLECTION", thrifty)
    with pytest.raises(CxrflowError, match=r"120 rows in .*\.csv, but 60 records"):
        build(own(MANY, {}), files="ignored")
