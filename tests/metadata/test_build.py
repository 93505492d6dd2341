"""From folders to records: bad input is left out, counted and listed; people stay together."""

import pandas as pd
import pytest
from PIL import Image

from cxrflow.errors import CxrflowError
from cxrflow.metadata import rules, stage
from cxrflow.metadata.build import build_records
from cxrflow.params import Sources
from cxrflow.reading.frontal import FLAG
from cxrflow.records import COLUMNS, Record, read_records, to_frame
from cxrflow.sources import tables
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


def test_bad_input_is_left_out_counted_and_listed(own, build, tmp_path) -> None:
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
        "text.png": "not an image",
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
    counted = stage.reconciliation(records)
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


LABELS = ["covid", "normal", "pneumonia"]
MANY = [[f"{n}.png", LABELS[n % 3], f"p{n // 2}"] for n in range(120)]


def test_what_is_no_frontal_radiograph_is_kept_and_listed_and_inverted_ones_turned(
    own, how, demo_params, engine, tmp_path, drawn, picture, capsys
) -> None:
    pictures = {f"{n}.png": grey for n, grey in enumerate(drawn[:9])}
    pictures["4.png"] = 255 - pictures["4.png"]
    rows = [[path, LABELS[n % 3], f"p{n}"] for n, path in enumerate(pictures)]
    rows += [["x.png", "covid", "x"], ["absent.png", "covid", "y"]]
    root = own(rows, pictures | {"x.png": picture(1)})
    sources = Sources(root=str(root), collections=None)
    built = build_records(sources, how, demo_params.task, engine, tmp_path, split=False)
    records = built.records.set_index("path")
    assert records.frontal.isna().tolist() == [False] * 10 + [True]
    assert records.index[records.turned].tolist() == ["mine/4.png"]
    assert (records.frontal[:9] >= FLAG).all()
    assert records.left_out[:10].isna().all()
    facts = stage.summary(built)
    score = round(float(records.frontal["mine/x.png"]), 3)
    assert facts["not_frontal"] == {"below": FLAG, "images": 1, "list": [{"image_id": "mine:x.png", "frontal": score}]}
    assert facts["turned"] == 1
    stage.print_not_frontal(facts)
    printed = " ".join(capsys.readouterr().out.split())
    assert "do not look like frontal radiographs (score below 0.5): 1." in printed
    assert f"mine:x.png: {score:.3f}" in printed


def test_adding_and_reordering_rows_moves_nobody(own, build) -> None:
    before = build(own(MANY, {}), files="ignored", split=True).set_index("path")
    more = [[f"new {n}.png", "covid", f"p{n + 55}"] for n in range(10)]
    after = build(own([*more, *MANY[::-1]], {}), files="ignored", split=True).set_index("path")
    assert len(after) == 130
    for column in ("group_id", "split"):
        assert after.loc[before.index, column].equals(before[column])
    assert after.groupby("group_id").split.nunique().eq(1).all()
    assert set(after.split) == {"train", "val", "test"}


def test_too_few_groups_stop_the_stage_once_the_rows_are_accounted_for(
    own, how, demo_params, engine, tmp_path, capsys
) -> None:
    task = demo_params.task
    rows = [[path, label, "p0" if label == "covid" else p] for path, label, p in MANY]
    sources = Sources(root=str(own(rows, {})), collections=None)
    params = how.model_copy(update={"files": "ignored"})
    with pytest.raises(CxrflowError, match="class covid has 1 groups of patients, too few to split") as stopped:
        stage.run(sources, params, task, engine, tmp_path / "data", tmp_path / "results")
    assert "\n" not in str(stopped.value)
    assert "kept: covid" in capsys.readouterr().out
    assert not (tmp_path / "data").exists()  # neither records nor sides
    with pytest.raises(CxrflowError, match="class covid has 0 groups"):
        stage.run(Sources(root=str(own([], {})), collections=None), how, task, engine, tmp_path / "d", tmp_path / "r")


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
    none = f"finding is none of {', '.join(task.order)}"
    reasons = [None if label else none for label in labels[:-2]] + [tables.UNKNOWN_LABEL, NO_FINDING_GIVEN]
    assert records.left_out.tolist() == reasons
    assert records.findings[1] == "pneumonia/viral/sars"


@pytest.mark.parametrize("task", [SICK, KINDS])
def test_the_stage_serves_any_number_of_classes(own, how, engine, tmp_path, task, capsys) -> None:
    rows = [[f"{n}.png", task.order[n % len(task.order)], f"p{n}"] for n in range(160)]
    sources = Sources(root=str(own(rows, {})), collections=None)
    params = how.model_copy(update={"files": "ignored"})
    built = stage.run(sources, params, task, engine, tmp_path / "data", tmp_path / "results")
    assert built.records.label.value_counts().to_dict() == dict.fromkeys(task.order, 160 // len(task.order))
    shares = pd.read_csv(tmp_path / "results" / "shares.csv")
    assert set(shares.label) == set(task.order)
    printed = capsys.readouterr().out
    assert all(f"kept: {name}" in printed for name in task.order)


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


def test_what_a_table_says_is_printed_as_it_is(capsys) -> None:
    reason = "view is [/b], not frontal"
    stage.print_reconciliation(to_frame([Record("a:1", "[/a]", "p", left_out=reason)]))
    printed = capsys.readouterr().out
    assert "[/a]" in printed
    assert reason in printed


def test_the_stage_writes_and_prints_what_adds_up(own, how, demo_params, engine, tmp_path, capsys) -> None:
    rows = [
        *MANY,
        ["x.png", "[/flu]", "[/p]"],
        ["0.png", "covid", "p0"],
        *[[f"w{n}.png", "normal", "[/w]"] for n in range(9)],
    ]
    root = own(rows, {}, folder="[b]mine")
    sources, params = Sources(root=str(root), collections=None), how.model_copy(update={"files": "ignored"})
    built = stage.run(sources, params, demo_params.task, engine, tmp_path / "data", tmp_path / "results")
    written = read_records(tmp_path / "data" / "records.csv")
    pd.testing.assert_frame_equal(written, built.records)
    assert tuple(written.columns) == COLUMNS
    assert len(written) == 131
    counted = pd.read_csv(tmp_path / "results" / "reconciliation.csv")
    assert dict(zip(counted.fate, counted.rows, strict=True)) == {
        "kept: normal": 49, "kept: covid": 40, "kept: pneumonia": 40, rules.LISTED_AGAIN: 1, tables.UNKNOWN_LABEL: 1,
    }  # fmt: skip
    shares = pd.read_csv(tmp_path / "results" / "shares.csv")
    assert shares.images.sum() == 129
    printed = " ".join(capsys.readouterr().out.split())
    assert "129 + 2 = 131" in printed
    assert "split ┃ COVID-19 ┃ normal ┃ pneumonia ┃" in printed
    assert "Largest group: [b]mine:[/w], 9 images of 1 patients." in printed
