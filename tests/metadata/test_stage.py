"""The metadata stage: what it writes, prints and refuses."""

import csv
import importlib.util
import re

import cv2
import numpy as np
import pandas as pd
import pytest

from cxrflow.errors import CxrflowError
from cxrflow.metadata import counts, rules, stage
from cxrflow.metadata.build import build_records
from cxrflow.metadata.fingerprint import BLANK
from cxrflow.params import Sources
from cxrflow.reading import letters
from cxrflow.reading.frontal import FLAG
from cxrflow.records import COLUMNS, Record, read_records, to_frame, write_records
from cxrflow.sources import tables
from cxrflow.task import Task

LABELS = ["covid", "normal", "pneumonia"]
MANY = [[f"{n}.png", LABELS[n % 3], f"p{n // 2}"] for n in range(120)]
TWO = Task(classes={"well": ("no finding",), "sick": ("pneumonia",)}, positive="sick")
FOUR = Task(
    classes={
        "covid": ("pneumonia/viral/covid-19",),
        "viral": ("pneumonia/viral",),
        "bacterial": ("pneumonia/bacterial",),
        "clear": ("no finding",),
    },
    positive="viral",
)


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
    facts = counts.summary(built)
    score = round(float(records.frontal["mine/x.png"]), 3)
    assert facts["not_frontal"] == {"below": FLAG, "images": 1, "list": [{"image_id": "mine:x.png", "frontal": score}]}
    assert facts["turned"] == 1
    stage.print_not_frontal(facts)
    printed = " ".join(capsys.readouterr().out.split())
    assert "do not look like frontal radiographs (score below 0.5): 1." in printed
    assert f"mine:x.png: {score:.3f}" in printed


@pytest.mark.skipif(importlib.util.find_spec("rapidocr") is None, reason="the extra text is not installed")
def test_images_with_text_are_counted_by_source_and_class(
    own, how, demo_params, engine, tmp_path, picture, capsys
) -> None:
    rows = [[f"{n}.png", LABELS[n % 2], f"p{n}"] for n in range(6)]
    pictures = {path: cv2.resize(picture(n), (400, 500)) for n, (path, _, _) in enumerate(rows)}
    for path in ("0.png", "2.png", "3.png"):
        cv2.putText(pictures[path], "PORTABLE", (40, 250), cv2.FONT_HERSHEY_SIMPLEX, 1, 255, 2)
    sources = Sources(root=str(own(rows, pictures)), collections=None)
    looks = how.model_copy(update={"burned_in_text": True})
    built = build_records(sources, looks, demo_params.task, engine, tmp_path, split=False)
    assert built.records.text_places.tolist() == [1, 0, 1, 1, 0, 0]
    assert built.records.text_boxes.notna().tolist() == [True, False, True, True, False, False]
    stage.write_tables(built, pd.DataFrame(), tmp_path / "results")
    with (tmp_path / "results" / "burned-in-text.csv").open() as file:
        counted = list(csv.DictReader(file))
    same = {"source": "mine", "images": "3", "groups": "3"}
    assert counted == [same | {"label": "covid", "with_text": "2"}, same | {"label": "normal", "with_text": "1"}]
    write_records(built.parts(), tmp_path / "records.csv")
    assert read_records(tmp_path / "records.csv").text_boxes.tolist() == built.records.text_boxes.tolist()
    stage.print_text(counts.summary(built)["burned_in_text"], demo_params.task)
    assert re.search(r"mine .* 2 of 3 .* 1 of 3", capsys.readouterr().out)


def test_a_missing_detector_is_said_before_any_work(how, demo_params, engine, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(letters, "find_spec", lambda _: None)
    looks = how.model_copy(update={"burned_in_text": True})
    with pytest.raises(CxrflowError, match=r"^metadata.burned_in_text: true: .*pip install 'cxrflow\[text\]'"):
        build_records(Sources(root="absent", collections=None), looks, demo_params.task, engine, tmp_path / "work")
    assert not (tmp_path / "work").exists()


def test_blank_images_are_left_out_and_join_nobody(own, how, demo_params, engine, tmp_path, picture) -> None:
    """White pages of other sizes, the noise of an exposure without a patient, and a page with a few letters."""
    random = np.random.default_rng(0)
    page = np.full((300, 300), 255, np.uint8)
    noise = np.clip(random.normal(2000, 300, (600, 600)), 0, 4095).astype(np.uint16)
    letters = cv2.putText(page.copy(), "12", (3, 12), cv2.FONT_HERSHEY_PLAIN, 0.8, 0)
    empty = {f"{n}.jpg": page[: 100 + n] for n in range(9)} | {"noise.png": noise, "letters.png": letters}
    shown = {f"shown {n}.png": picture(n) // 8 + 100 for n in range(len(empty))}  # pale, but a picture
    rows = [[name, "covid", f"p{n}"] for names in (empty, shown) for n, name in enumerate(names)]
    root = own(rows, empty | shown)
    records = build_records(
        Sources(root=str(root), collections=None), how, demo_params.task, engine, tmp_path, split=False
    ).records.set_index("path")
    assert records.left_out[[f"mine/{name}" for name in empty]].tolist() == [BLANK] * len(empty)
    kept = records.loc[[f"mine/{name}" for name in shown]]
    assert kept.left_out.isna().all()
    assert kept.group_id.tolist() == [f"mine:p{n}" for n in range(len(empty))]


def test_the_picture_that_joins_many_people_is_named(own, how, demo_params, engine, tmp_path, picture, capsys) -> None:
    """A placeholder of five patients, once as another file; each has an image of their own, one of them a sixth's."""
    pictures = {f"no image {n}.png": picture(99) for n in range(4)} | {"no image 4.png": picture(99, 200)}
    rows = [[name, "covid", f"p{n}"] for n, name in enumerate(pictures)]
    own_images = {f"{n}.png": n for n in range(5)} | {"again.png": 4, "new.png": 77}
    rows += [[name, "covid", f"p{n % 6}"] for n, name in enumerate(own_images)]
    root = own(rows, pictures | own_images)
    built = build_records(
        Sources(root=str(root), collections=None), how, demo_params.task, engine, tmp_path, split=False
    )
    facts = counts.summary(built)
    joined = {"image_id": "mine:no image 0.png", "images": 5, "patients": 5}
    assert facts["largest_group"] == {"group_id": "mine:p0", "images": 8, "patients": 5, "joined_by": joined}
    stage.print_split(built.table, demo_params.task, facts)
    printed = " ".join(capsys.readouterr().out.split())
    assert "is mine:no image 0.png: it is in 5 images of 5 patients." in printed
    assert f"Near repeats: 1 pair of kept images; with those that are left out, {len(built.near)}." in printed


def test_too_few_groups_stop_the_stage_once_the_rows_are_accounted_for(
    own, how, demo_params, engine, tmp_path, capsys
) -> None:
    task = demo_params.task
    rows = [[path, label, "p0" if label == "covid" else p] for path, label, p in MANY]
    sources = Sources(root=str(own(rows, {})), collections=None)
    params = how.model_copy(update={"files": "ignored"})
    with pytest.raises(CxrflowError, match="class covid has 1 group of patients, too few to split") as stopped:
        stage.run(sources, params, task, engine, tmp_path / "data", tmp_path / "results")
    assert "\n" not in str(stopped.value)
    assert "kept: covid" in capsys.readouterr().out
    assert not list((tmp_path / "data").glob("*.csv"))  # neither records nor sides
    with pytest.raises(CxrflowError, match="too few to split"):
        stage.run(sources, params, task, engine, tmp_path / "look", tmp_path / "look")
    assert len(read_records(tmp_path / "look" / "records.csv")) == len(rows)  # to be looked at
    assert not (tmp_path / "look" / "sides.csv").exists()
    own([row for row in rows if row[1] != "covid"], {})
    with pytest.raises(CxrflowError, match=r"no image of class covid is kept, and the task needs one; .* pneumonia"):
        stage.run(sources, params, task, engine, tmp_path / "o", tmp_path / "o")
    with pytest.raises(CxrflowError, match="no image of class covid is kept"):
        stage.run(Sources(root=str(own([], {})), collections=None), how, task, engine, tmp_path / "d", tmp_path / "r")


def test_no_table_of_the_stage_holds_a_cell_that_spreadsheets_run(
    own, how, demo_params, engine, tmp_path, capsys
) -> None:
    """A collection whose name, words and patients are formulas, with a file name that acts on a terminal."""
    rows = [[f"{n}.png", LABELS[n % 3], f"=p{n}", "-1+cmd"] for n in range(120)]
    rows += [["\x1b[2J.png", "@SUM(A1)", "+49", "=1"]]
    sources = Sources(root=str(own(rows, {}, folder="=1+1|[b]", columns=["view"])), collections=None)
    params = how.model_copy(update={"files": "ignored"})
    built = stage.run(sources, params, demo_params.task, engine, tmp_path / "data", tmp_path / "results")
    written = [*(tmp_path / "data").glob("*.csv"), *(tmp_path / "results").glob("*.csv")]
    assert len(written) == 5
    for path in written:
        cells = [cell for row in csv.reader(path.open(encoding="utf-8", newline="")) for cell in row]
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    pd.testing.assert_frame_equal(read_records(tmp_path / "data" / "records.csv"), built.records, check_dtype=False)
    assert built.records.path.iloc[-1] == r"=1+1|[b]/\u001b[2J.png"
    assert "\x1b[2J" not in capsys.readouterr().out


@pytest.mark.parametrize("task", [TWO, FOUR])
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


def test_what_a_table_says_is_printed_as_it_is(as_table, capsys) -> None:
    reason = "view is [/b], not frontal"
    stage.print_reconciliation(as_table(to_frame([Record("a:1", "[/a]", "p", left_out=reason)])))
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
    assert "Rows of [b]mine: 131 in table.csv; 131 images." in printed
    assert "129 + 2 = 131" in printed
    assert "split ┃ COVID-19 ┃ normal ┃ pneumonia ┃" in printed
    assert "Largest group: [b]mine:[/w], 9 images of 1 patient." in printed
