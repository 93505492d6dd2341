"""Sides that stay, through the whole stage: what is remembered, printed and counted."""

import openpyxl
import pandas as pd
import pytest

from cxrflow.csv_files import read_csv
from cxrflow.errors import CxrflowError
from cxrflow.metadata import counts, stage
from cxrflow.metadata.build import SIDES, build_records
from cxrflow.metadata.groups import split_of
from cxrflow.params import Sources
from cxrflow.records import TRUTH
from cxrflow.sources import radiography
from cxrflow.task import Task

LABELS = ["covid", "normal", "pneumonia"]


@pytest.fixture
def run(how, demo_params, engine, tmp_path):
    """Runs the stage without files, in one project folder."""

    def go(root, **changes):
        params = how.model_copy(update={"files": "ignored"} | changes)
        sources = Sources(root=str(root), collections=None)
        built = stage.run(sources, params, demo_params.task, engine, tmp_path / "data", tmp_path / "results")
        return built.records.set_index("image_id")

    return go


def rows_of(patients: range) -> list[list[str]]:
    return [[f"{p}.png", LABELS[p % 3], f"p{p:03}"] for p in patients]


def test_a_collection_taken_out_and_put_back_moves_nobody(own, run, tmp_path, how, capsys) -> None:
    """The second collection holds 20 of the first one's files and gives their groups its own patients' names."""
    pictures = {f"{p}.png": p for p in range(60)}
    root = own(rows_of(range(60)), pictures, folder="mine")
    before = run(root, files="required")
    own(rows_of(range(20)), dict(list(pictures.items())[:20]), folder="also")
    together = run(root, files="required")
    copies = together.index[together.source == "also"]  # kept in place of the first one's files
    originals = [name.replace("also", "mine") for name in copies]
    assert together.group_id[originals].str.startswith("also:").all()
    assert together.split[copies].tolist() == before.split[originals].tolist()
    assert [split_of(group, how.split) for group in together.group_id[copies]] != together.split[copies].tolist()
    others = before.index.difference(originals)
    assert together.split[others].equals(before.split[others])
    (root / "also").rename(tmp_path / "away")
    assert run(root, files="required").split.equals(before.split)
    (tmp_path / "away").rename(root / "also")
    assert run(root, files="required").split.equals(together.split)
    assert "moved" not in capsys.readouterr().out
    assert read_csv(tmp_path / "data" / SIDES).image_id.nunique() == 80


def test_who_moved_is_printed_counted_and_moved_once(own, run, tmp_path, how, capsys) -> None:
    rows = rows_of(range(90))
    before = run(own(rows, {}))
    # every file of val and of test is listed again for one patient
    again = [[path, label, "one"] for path, label, _ in rows if before.split[f"mine:{path}"] != "train"]
    linked, count = rows + again, len(again)
    more = [[f"more {n}.png", LABELS[n % 3], f"q{n}"] for n in range(60)]
    after = run(own(linked + more, {}))
    assert (after.split[before.index] == "train").all()
    printed = " ".join(capsys.readouterr().out.split())
    assert f"they all go to train: {count} images of 1 group moved." in printed
    assert printed.count(": was on ") == 10
    assert f"and {count - 10} more, in summary.json" in printed
    summary = pd.read_json(tmp_path / "results" / "summary.json", typ="series")
    assert summary.moved["images"] == len(summary.moved["list"]) == count
    assert summary.moved["groups"] == 1
    assert run(tmp_path / "root").split.equals(after.split)
    assert "moved" not in capsys.readouterr().out
    run(tmp_path / "root", split=how.split.model_copy(update={"seed": 5}))
    assert "No side of the split is kept from before" in capsys.readouterr().out


def test_children_for_training_are_remembered_in_train(tmp_path, write_csv, how, demo_params, engine) -> None:
    """Radiography's NORMAL and Viral Pneumonia images are children's."""
    folder = tmp_path / "root" / "COVID-19-Radiography-Database"
    folder.mkdir(parents=True)
    for name in (kind.table for kind in radiography.FIRST):
        book = openpyxl.Workbook()
        for row in [["FILE NAME", "URL"], *([f"{name[:4]}-{n}", ""] for n in range(1, 60))]:
            book.active.append(row)
        book.save(folder / name)
    sources = Sources(root=str(tmp_path / "root"), collections=None)
    params = how.model_copy(update={"files": "ignored", "paediatric": "train"})
    built = build_records(sources, params, demo_params.task, engine, tmp_path)
    records = built.records[built.records.left_out.isna()]
    assert set(records.split[records.paediatric]) == {"train"}
    remembered = pd.concat(built.sides.parts()).set_index("image_id").side
    assert remembered[records.image_id].tolist() == records.split.tolist()
    adults = records[~records.paediatric]
    assert adults.split.tolist() == [split_of(group, how.split) for group in adults.group_id]


@pytest.mark.parametrize(
    ("paediatric", "said"),
    [("leave_out", "no image of class normal"), ("train", "no image of class normal is kept on the sides val, test")],
)
def test_children_alone_are_told_of_the_parameter(tmp_path, how, demo_params, engine, paediatric, said) -> None:
    place = tmp_path / "root" / "chest_xray" / "train"
    for kind, file in (("NORMAL", "IM-{}-0001.jpeg"), ("PNEUMONIA", "person{}_virus_1.jpeg")):
        (place / kind).mkdir(parents=True)
        for number in range(30):
            (place / kind / file.format(number)).touch()
    task = Task(classes={"normal": ("no finding",), "pneumonia": ("pneumonia",)}, positive="pneumonia")
    sources = Sources(root=str(tmp_path / "root"), collections=None)
    params = how.model_copy(update={"files": "ignored", "paediatric": paediatric})
    with pytest.raises(CxrflowError, match=rf"{said}.*metadata\.paediatric: keep") as stopped:
        stage.run(sources, params, task, engine, tmp_path / "o", tmp_path / "o")
    assert "--overrides" not in str(stopped.value)


def test_drawn_and_real_collections_share_no_memory(own, run, tmp_path, capsys) -> None:
    root = own(rows_of(range(90)), {})
    real = run(root)
    (root / TRUTH).mkdir()
    assert run(root).split.equals(real.split)  # new groups, by their hash
    assert "No side of the split is kept from before" in capsys.readouterr().out
    assert read_csv(tmp_path / "data" / SIDES).split.nunique() == 2


def test_an_external_evaluation_neither_reads_nor_keeps_sides(own, how, demo_params, engine, tmp_path) -> None:
    root = own(rows_of(range(9)), {})
    (tmp_path / SIDES).write_text("damaged")
    ignored = how.model_copy(update={"files": "ignored"})
    sources = Sources(root=str(root), collections=None)
    built = build_records(sources, ignored, demo_params.task, engine, tmp_path, split=False)
    assert built.sides is None
    assert set(built.records.split) == {"test"}
    with pytest.raises(CxrflowError, match="damaged"):
        build_records(sources, ignored, demo_params.task, engine, tmp_path)
    assert counts.summary(built)["moved"] == {"groups": 0, "images": 0, "list": []}
