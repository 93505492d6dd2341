"""Files to a table of scores: what is found, what is flagged, what is left out, and how it is written."""

import csv
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxrflow import predictor as predicting
from cxrflow.bundle import OperatingPoint, PredictionSets
from cxrflow.errors import CxrflowError
from cxrflow.predict import Outputs, explain_file, predict_files
from cxrflow.predictor import Predictor
from cxrflow.reading.frontal import FLAG
from cxrflow.task import Task
from cxrflow.text import name_of

LEAST = {"clear": 1.0, "air": 0.0}
DECIDED = ("prediction", "frontal", "as_far", "flag", "note", "left_out")


@pytest.fixture
def folder(drawn: list[np.ndarray], picture: Callable[..., np.ndarray], tmp_path: Path) -> Path:
    """A radiograph, the same inverted, another picture, and a text."""
    for name, grey in {"a": drawn[0], 'b, "inverted"': 255 - drawn[0], "other": picture(1)}.items():
        Image.fromarray(grey).save(tmp_path / f"{name}.png")
    (tmp_path / "text.png").write_text("text")
    return tmp_path


@pytest.mark.parametrize("name", ["task", "two_classes", "four_classes"])
def test_what_is_no_frontal_radiograph_is_flagged_and_inverted_ones_are_turned(
    name: str, request: pytest.FixtureRequest, bundle_of: Callable[..., Path], folder: Path
) -> None:
    task: Task = request.getfixturevalue(name)
    counts = predict_files(bundle_of(task), [folder], Outputs(folder / "out.csv", paths=True))
    assert str(counts) == "3 images scored, 2 of them flagged, 1 left out"
    table = pd.read_csv(folder / "out.csv")
    assert table.columns.tolist() == ["image", "path", *task.order, *DECIDED]
    flags = [None, "was stored inverted and has been corrected", "does not look like a frontal chest radiograph", None]
    assert table.flag.fillna("").tolist() == [flag or "" for flag in flags]
    assert (table.frontal >= FLAG).tolist() == [True, True, False, False]
    scores = table[list(task.order)]
    assert scores.loc[0].tolist() == scores.loc[1].tolist()
    assert scores.loc[2].notna().all()  # flagged, and scored all the same
    assert scores.loc[3].isna().all()
    assert table.prediction[:3].tolist() == scores[:3].idxmax(axis=1).tolist()
    assert "not an image" in table.left_out[3]


def test_the_table_is_written_as_pandas_writes_it(
    bundle_of: Callable[..., Path], four_classes: Task, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Byte for byte: six decimals, quotes where a path needs them, nothing for what is missing; and the same from
    worker processes, several batches."""
    points = {
        name: OperatingPoint(wanted=0.9, threshold=threshold, sensitivity=0.5, specificity=0.9)
        for name, threshold in (("low", 0.0), ("high", 1.0))
    }
    sets = PredictionSets(coverage=0.9, least={"clear": 0.0, "viral": 1.0, "bacterial": 0.0, "other": 1.0})
    predictor = Predictor(bundle := bundle_of(four_classes, thresholds=points, prediction_sets=sets))
    predict_files(bundle, [folder], Outputs(folder / "out.csv", paths=True))
    paths = sorted(folder.glob("*.png"))
    rows = []
    for path in paths[:3]:
        score = predictor.scores(predictor.prepare(path))[0]
        decided = {"prediction": four_classes.order[score.argmax()], "positive_at_low": True, "positive_at_high": False}
        named = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
        rows.append({"image": named, "path": str(path), **dict(zip(four_classes.order, score, strict=True)), **decided})
    written = pd.read_csv(folder / "out.csv")
    text = f"sha256:{hashlib.sha256(b'text').hexdigest()}"
    table = pd.DataFrame([*rows, {"image": text, "path": str(paths[3])}])
    table["prediction_set"] = ["clear bacterial"] * 3 + [None]
    table = table.join(written[["frontal", "as_far", "flag", "note", "left_out"]])
    expected = table.to_csv(index=False, lineterminator="\n", float_format="%.6f").encode()
    assert (folder / "out.csv").read_bytes() == expected
    monkeypatch.setattr(predicting, "BATCH", 2)
    predict_files(bundle, [folder], Outputs(folder / "pool.csv", paths=True))
    assert (folder / "pool.csv").read_bytes() == expected


@pytest.fixture
def names(drawn: list[np.ndarray], tmp_path: Path) -> list[bytes]:
    """Names in any bytes, of one radiograph each, in the folder ``names``."""
    names = [
        b"M\xfcller.png",
        b"line\nbreak.png",
        b"lone\rreturn.png",
        b'x,"y".png',
        b"\x1b[31m.png",
        "👩\u202e.png".encode(),
    ]
    (tmp_path / "names").mkdir()
    for number, name in enumerate(names):
        picture = drawn[0].copy()
        picture[0, 0] = number
        Image.fromarray(picture).save(tmp_path / "names" / os.fsdecode(name))
    return names


def test_names_in_any_bytes_are_written_as_text_that_gives_them_back(
    bundle_of: Callable[..., Path], two_classes: Task, names: list[bytes], tmp_path: Path
) -> None:
    counts = predict_files(bundle_of(two_classes), [tmp_path / "names"], Outputs(tmp_path / "out.csv", paths=True))
    assert counts.scored == len(names)
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        written = file.read()
    assert not set(written) & set("\r\x1b\u202e")
    paths = [row["path"] for row in csv.DictReader(written.splitlines())]
    assert {os.fsencode(name_of(path)) for path in paths} == {os.fsencode(tmp_path / "names") + b"/" + n for n in names}


def test_a_path_that_spreadsheets_would_run_is_inert(
    bundle_of: Callable[..., Path], two_classes: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("=cmd()|a.png").write_text("no picture")
    predict_files(bundle_of(two_classes), [Path("=cmd()|a.png")], Outputs(Path("out.csv"), paths=True))
    assert pd.read_csv("out.csv").path.tolist() == ["'=cmd()|a.png"]


def test_what_is_passed_over_is_counted_and_links_to_nothing_are_rows(
    bundle_of: Callable[..., Path], two_classes: Task, folder: Path
) -> None:
    (folder / "notes.txt").write_text("notes")
    (folder / ".DS_Store").write_text("")
    (folder / "c.png").symlink_to("nowhere")
    counts = predict_files(bundle_of(two_classes), [folder], Outputs(folder / "out" / "out.csv", paths=True))
    said = "1 .txt, 1 of the operating system (._*, .DS_Store, ...)"
    assert str(counts) == f"3 images scored, 2 of them flagged, 2 left out; passed over: {said}"
    rows = pd.read_csv(folder / "out" / "out.csv").set_index("path")
    assert "link to a file that is not there" in rows.left_out[str(folder / "c.png")]


def test_an_image_is_not_overwritten(bundle_of: Callable[..., Path], two_classes: Task, folder: Path) -> None:
    before = (folder / "a.png").read_bytes()
    (folder / "link.csv").symlink_to("a.png")
    for out in (folder / "a.png", folder / "link.csv"):
        with pytest.raises(CxrflowError, match="is one of the images"):
            predict_files(bundle_of(two_classes), [folder], Outputs(out, paths=True))
    assert (folder / "a.png").read_bytes() == before


def test_a_folder_without_images_and_an_output_that_cannot_be_written_stop_at_once(tmp_path: Path) -> None:
    """Before the bundle is read: here there is none."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(CxrflowError, match="no image found"):
        predict_files(tmp_path, [tmp_path / "empty"], Outputs(tmp_path / "out.csv", paths=True))
    (tmp_path / "empty" / "notes.txt").touch()
    with pytest.raises(CxrflowError, match=r"no image found \(passed over: 1 \.txt\)"):
        predict_files(tmp_path, [tmp_path / "empty"], Outputs(tmp_path / "out.csv", paths=True))
    with pytest.raises(CxrflowError, match="empty: is a folder; name a file"):
        predict_files(tmp_path, [tmp_path / "empty"], Outputs(tmp_path / "empty", paths=True))
    with pytest.raises(CxrflowError, match=r"out\.csv: a part of this path is a file"):
        predict_files(tmp_path, [tmp_path / "empty"], Outputs(tmp_path / "empty" / "notes.txt" / "out.csv", paths=True))


def test_the_command_prints_any_name_and_fails_if_nothing_was_scored(
    bundle_of: Callable[..., Path], two_classes: Task, tmp_path: Path
) -> None:
    name = os.fsdecode(b"\xe9t\xe9\x1b[2J \xc3\xa9.csv")
    (tmp_path / name).write_text("a,b")
    command = [sys.executable, "-m", "cxrflow.cli", "predict", name, "--bundle", bundle_of(two_classes)]
    environment = os.environ | {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*command, "--out", name + ".out"], env=environment, cwd=tmp_path, capture_output=True)
    assert done.returncode == 1
    assert done.stderr == b""
    assert done.stdout.endswith(
        rb"\xe9t\xe9\u001b[2J \xe9.csv.out: 0 images scored, 0 of them flagged, 1 left out" + os.linesep.encode()
    )


def test_a_file_among_others_that_cannot_be_scored_gives_an_exit_status_of_its_own(
    bundle_of: Callable[..., Path], two_classes: Task, folder: Path
) -> None:
    command = [sys.executable, "-m", "cxrflow.cli", "predict", "--bundle", bundle_of(two_classes), "--out", "out.csv"]
    assert subprocess.run([*command, "a.png"], cwd=folder, capture_output=True).returncode == 0
    assert subprocess.run([*command, "a.png", "text.png"], cwd=folder, capture_output=True).returncode == 3


def test_one_image_is_explained_in_words_and_as_a_picture(
    bundle_of: Callable[..., Path], two_classes: Task, folder: Path
) -> None:
    points = {"specificity": OperatingPoint(wanted=0.9, threshold=0.0, sensitivity=0.5, specificity=0.9)}
    bundle = bundle_of(two_classes, thresholds=points, prediction_sets=PredictionSets(coverage=0.9, least=LEAST))
    command = [sys.executable, "-m", "cxrflow.cli", "explain", "--bundle", bundle]
    done = subprocess.run([*command, 'b, "inverted".png'], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    first, probabilities, held, point, far, purpose, picture = done.stdout.splitlines()
    assert first == "Warning: the image was stored inverted and has been corrected."
    assert probabilities.startswith("Probabilities: ")
    assert held == "Cannot be ruled out (right for 90 % of new patients): pneumothorax."
    assert point == "pneumothorax positive at the threshold 0.00, chosen for a specificity of 0.9."
    assert far == "How far the image is from the training images is unknown: the bundle does not say."
    assert "not for diagnosis" in purpose
    assert picture.startswith(f"{folder / 'heat.png'}: the heat for ")
    assert Image.open(folder / "heat.png").size == Image.open(folder / "a.png").size
    refused = subprocess.run([*command, "text.png"], cwd=folder, capture_output=True, text=True)
    assert refused.returncode == 1
    assert refused.stdout == "No answer: file is a text or a table, not an image.\n"
    over = subprocess.run([*command, "a.png", "--out", "a.png"], cwd=folder, capture_output=True, text=True)
    assert over.returncode == 1
    assert "is the image; name another file" in over.stderr


def test_a_folder_is_not_explained(tmp_path: Path) -> None:
    with pytest.raises(
        CxrflowError, match=r": is a folder; name one image, or use `cxrflow predict --heatmaps FOLDER`"
    ):
        explain_file(tmp_path / "no bundle", tmp_path, tmp_path / "heat.png")


def test_an_image_that_is_not_there_is_named_before_the_bundle_is_opened(tmp_path: Path) -> None:
    with pytest.raises(CxrflowError, match=r"nofile\.png: no such file\.$"):
        explain_file(tmp_path / "no bundle", tmp_path / "nofile.png", tmp_path / "heat.png")
