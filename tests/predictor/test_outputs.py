"""Results as tables, JSON lines and pictures, and a prediction that is interrupted."""

import csv
import importlib.util
import json
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from filelock import FileLock
from PIL import Image
from typer.testing import CliRunner

from cxrflow import predict
from cxrflow.bundle import PredictionSets
from cxrflow.cli import app
from cxrflow.errors import CxrflowError
from cxrflow.images.steps import Window
from cxrflow.outputs.journal import Journal
from cxrflow.outputs.pictures import Drawing, draw, png_name
from cxrflow.outputs.pictures import drawn as drawn_over
from cxrflow.predict import Outputs, predict_files
from cxrflow.predictor import Predictor
from cxrflow.reading import letters
from cxrflow.result import Look, Result
from cxrflow.task import Task


@pytest.fixture
def folder(drawn: list[np.ndarray], tmp_path: Path) -> Path:
    """Six radiographs of a patient whose name the files bear, and a text."""
    folder = tmp_path / "Doe^Jane"
    folder.mkdir()
    for number in range(6):
        Image.fromarray(np.roll(drawn[0], number)).save(folder / f"Doe{number}.png")
    (folder / "Doe6.png").write_text("text")
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.skipif(importlib.util.find_spec("rapidocr") is None, reason="the extra text is not installed")
def test_text_burned_in_is_flagged_if_it_is_asked_for(
    bundle_of: Callable[..., Path], two_classes: Task, drawn: list[np.ndarray], tmp_path: Path
) -> None:
    """The drawing has no marker; the other file is the same with two lines of text, which no output repeats."""
    (tmp_path / "in").mkdir()
    plain = np.ascontiguousarray(drawn[0][drawn[0].shape[0] // 5 :])
    named = cv2.putText(plain.copy(), "DOE JANE", (120, 60), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 255, 2)
    cv2.putText(named, "PORTABLE", (120, 200), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 255, 2)
    for name, grey in (("a.png", plain), ("b.png", named)):
        Image.fromarray(grey).save(tmp_path / "in" / name)
    bundle, out, lines = bundle_of(two_classes), tmp_path / "o.csv", tmp_path / "o.jsonl"
    arguments = ["predict", str(tmp_path / "in"), "--bundle", str(bundle), "--out", str(out), "--json", str(lines)]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert "text_places" not in rows(out)[0]
    asked = CliRunner().invoke(app, [*arguments, "--burned-in-text"])
    assert asked.exit_code == 0
    flag = "has text burned into the picture (2 places)"
    assert [(row["text_places"], row["flag"]) for row in rows(out)] == [("0", ""), ("2", flag)]
    results = [Result.model_validate_json(line) for line in lines.read_text().splitlines()]
    assert [(result.text_places, result.flags) for result in results] == [(0, ()), (2, (flag,))]
    assert "DOE" not in out.read_text() + lines.read_text() + asked.output


def test_a_missing_detector_is_said_before_any_work(
    bundle_of: Callable[..., Path], two_classes: Task, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letters, "find_spec", lambda _: None)
    with pytest.raises(CxrflowError, match=r"^--burned-in-text: .*pip install 'cxrflow\[text\]'"):
        predict_files(bundle_of(two_classes), [folder], Outputs(tmp_path / "o.csv", text=True))
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_nobody_is_named_unless_it_is_asked_for(
    bundle_of: Callable[..., Path], two_classes: Task, folder: Path, tmp_path: Path
) -> None:
    outputs = Outputs(tmp_path / "o.csv", tmp_path / "o.jsonl", tmp_path / "heat")
    counts = predict_files(bundle := bundle_of(two_classes), [folder], outputs)
    assert (counts.scored, counts.left_out) == (6, 1)
    written = [outputs.table, outputs.lines, *(tmp_path / "heat").iterdir()]
    assert len(written) == 8  # a picture for each that was scored
    for path in written:
        assert "Doe" not in path.name
        assert b"Doe" not in path.read_bytes()
    lines = [json.loads(line) for line in outputs.lines.read_text().splitlines()]
    table = rows(outputs.table)
    assert [line["image"] for line in lines] == [row["image"] for row in table]
    assert [f"{line['scores']['air']:.6f}" for line in lines[:6]] == [row["air"] for row in table[:6]]
    assert {f"{row['image'].removeprefix('sha256:')}.png" for row in table[:6]} == {p.name for p in written[2:]}
    predict_files(bundle, [folder], Outputs(tmp_path / "p.csv", tmp_path / "p.jsonl", paths=True))
    assert [row["path"] for row in rows(tmp_path / "p.csv")] == sorted(str(path) for path in folder.iterdir())
    assert json.loads((tmp_path / "p.jsonl").read_text().splitlines()[0])["path"] == str(folder / "Doe0.png")
    assert not list(tmp_path.glob(".*.partial"))


def test_the_picture_is_of_the_original_size_and_hot_where_the_networks_looked(tmp_path: Path) -> None:
    grey = np.full((80, 120), 40000, np.uint16)
    grey[0, 0] = 0
    heat = np.zeros((10, 10), np.float32)
    heat[5, 5] = 1
    mask = np.zeros((10, 10), bool)
    mask[2:8, 2:8] = True
    look = Look("sick", (80, 120), ((heat, Window(8, 30, 64, 80, 120)),), ((mask, Window(8, 30, 64, 80, 120)),))
    picture = drawn_over(look, grey)
    assert picture.shape == (80, 120, 3)
    assert picture[5, 5].tolist() == [255] * 3  # unchanged outside of what was seen
    assert np.ptp(picture[43, 65].astype(int)) > 40  # coloured at the heat: 8 + 5.5 x 6.4, 30 + 5.5 x 6.4
    outlined = drawn_over(Look("sick", (80, 120), look.heats, ()), grey) != picture
    places = np.argwhere(outlined.any(axis=2))
    assert places.min(axis=0).tolist() == pytest.approx([21, 43], abs=3)
    assert places.max(axis=0).tolist() == pytest.approx([59, 81], abs=3)
    cv2.imwrite(str(tmp_path / "a.png"), grey)
    result = Result(image="sha256:ab", bundle="", cxrflow="", purpose="", look=look)
    out = tmp_path / png_name(result)
    assert draw(Drawing(tmp_path / "a.png", look, out)) is None
    assert np.array_equal(cv2.imread(str(tmp_path / "ab.png")), picture)
    assert draw(Drawing(tmp_path / "b.png", look, out)) == "file is absent"


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of files that each prediction has scored, not taken from a journal."""
    counts: list[int] = []
    original = predict._prepared

    def counting(predictor: Predictor, files: list, *options: bool) -> object:
        counts.append(len(files))
        return original(predictor, files, *options)

    monkeypatch.setattr(predict, "_prepared", counting)
    monkeypatch.setattr(predict, "BATCH", 2)
    return counts


def interrupted(bundle: Path, folder: Path, outputs: Outputs, after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prediction that is interrupted after ``after`` files."""
    with monkeypatch.context() as patch:
        original, calls = Journal.add, []

        def add(journal: object, *args: object) -> None:
            if len(calls) == after:
                raise KeyboardInterrupt
            calls.append(args)
            original(journal, *args)

        patch.setattr(Journal, "add", add)
        with pytest.raises(KeyboardInterrupt):
            predict_files(bundle, [folder], outputs)
    assert not outputs.table.exists()


def test_an_interrupted_prediction_goes_on(
    bundle_of: Callable[..., Path], two_classes: Task, folder: Path, tmp_path: Path, scored: list[int], monkeypatch
) -> None:
    bundle, outputs = bundle_of(two_classes), Outputs(tmp_path / "o.csv")
    predict_files(bundle, [folder], Outputs(tmp_path / "whole.csv"))
    expected = (tmp_path / "whole.csv").read_bytes()
    interrupted(bundle, folder, outputs, 3, monkeypatch)
    with (tmp_path / ".o.csv.partial").open("ab") as file:
        file.write(b'["half a li')  # as after a kill
    assert predict_files(bundle, [folder], outputs).scored == 6
    assert scored == [7, 7, 4]
    assert outputs.table.read_bytes() == expected


def test_what_is_not_as_it_was_is_scored_again(
    bundle_of: Callable[..., Path], two_classes: Task, folder: Path, tmp_path: Path, scored: list[int], monkeypatch
) -> None:
    bundle, outputs = bundle_of(two_classes), Outputs(tmp_path / "o.csv")
    interrupted(bundle, folder, outputs, 5, monkeypatch)
    os.utime(folder / "Doe2.png", ns=(1, 1))
    predict_files(bundle, [folder], outputs)
    interrupted(bundle, folder, Outputs(tmp_path / "p.csv"), 5, monkeypatch)
    predict_files(bundle, [folder], Outputs(tmp_path / "p.csv", heatmaps=tmp_path / "heat"))
    interrupted(bundle, folder, Outputs(tmp_path / "q.csv"), 5, monkeypatch)
    predict_files(bundle_of(two_classes, sharpness=2.0), [folder], Outputs(tmp_path / "q.csv"))
    assert scored == [7, 5, 7, 7, 7, 7]
    assert len(list((tmp_path / "heat").iterdir())) == 6


def test_a_journal_names_nobody_and_what_it_cannot_read_is_scored_again(
    bundle_of: Callable[..., Path],
    two_classes: Task,
    folder: Path,
    tmp_path: Path,
    scored: list[int],
    monkeypatch,
    capsys,
) -> None:
    bundle, outputs, journal = bundle_of(two_classes), Outputs(tmp_path / "o.csv"), tmp_path / ".o.csv.partial"
    interrupted(bundle, folder, outputs, 5, monkeypatch)
    assert b"Doe" not in journal.read_bytes()
    assert journal.stat().st_mode & 0o077 == 0
    lines = journal.read_bytes().splitlines(keepends=True)
    assert len(lines) == 6
    journal.write_bytes(b"".join(lines[:3]) + lines[3].replace(b'"cxrflow"', b'"another field"') + b"".join(lines[4:]))
    capsys.readouterr()
    assert predict_files(bundle, [folder], outputs).scored == 6
    assert "scored already: 2 of 7 files; scored again, because files or options changed: 3" in capsys.readouterr().out
    interrupted(bundle, folder, Outputs(tmp_path / "s.csv"), 6, monkeypatch)
    (folder / "Doe5.png").unlink()  # a shorter list
    (folder / "Doe6.png").unlink()
    assert predict_files(bundle, [folder], Outputs(tmp_path / "s.csv")).scored == 5
    assert scored == [7, 5, 7, 0]
    (tmp_path / ".t.csv.partial").symlink_to(folder / "Doe0.png")
    before = (folder / "Doe0.png").read_bytes()
    with pytest.raises(CxrflowError, match=r"\.t\.csv\.partial"):
        predict_files(bundle, [folder], Outputs(tmp_path / "t.csv"))
    assert (folder / "Doe0.png").read_bytes() == before


def test_outputs_that_would_hurt_each_other_or_the_images_are_refused(
    bundle_of: Callable[..., Path], two_classes: Task, folder: Path, tmp_path: Path
) -> None:
    bundle = bundle_of(two_classes)
    for outputs, why in (
        (
            Outputs(tmp_path / "a.csv", tmp_path / "b" / ".." / "a.csv"),
            "named for CSV and JSON lines|named for the CSV",
        ),
        (Outputs(tmp_path / "a.csv", heatmaps=folder / "pictures"), "lies in .*, whose images are scored"),
        (Outputs(tmp_path / "a.csv", heatmaps=folder / "Doe0.png"), "is a file; name a folder"),
    ):
        with pytest.raises(CxrflowError, match=why):
            predict_files(bundle, [folder], outputs)
    with FileLock(tmp_path / ".o.csv.lock"), pytest.raises(CxrflowError, match=r"o\.csv: another run"):
        predict_files(bundle, [folder], Outputs(tmp_path / "o.csv"))


def test_a_picture_that_cannot_be_drawn_costs_the_picture_alone(
    bundle_of: Callable[..., Path], two_classes: Task, folder: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    bundle, original = bundle_of(two_classes), Predictor.heat_maps
    calls: list[object] = []

    def heat_maps(self: Predictor, views: object, label: str) -> object:
        calls.append(views)
        if len(calls) == 2:
            raise CxrflowError("no number")
        return original(self, views, label)  # type: ignore[arg-type]

    monkeypatch.setattr(Predictor, "heat_maps", heat_maps)
    outputs = Outputs(tmp_path / "o.csv", heatmaps=tmp_path / "heat")
    counts = predict_files(bundle, [folder], outputs)
    assert (counts.scored, counts.undrawn, counts.left_out, counts.failed) == (6, 1, 1, 2)
    assert list(counts.in_words(outputs))[1] == f"{tmp_path / 'heat'}: 5 pictures; 1 scored image without one"
    assert len(list((tmp_path / "heat").iterdir())) == 5
    look = Look("sick", (4, 4), ((np.ones((2, 2), np.float32), Window(0, 0, 4, 4, 4)),), ())
    (tmp_path / "text.png").write_text("text")
    assert "not an image" in (draw(Drawing(tmp_path / "text.png", look, tmp_path / "x.png")) or "")


def test_it_is_said_that_a_bundle_was_trained_on_drawings(
    bundle_of: Callable[..., Path], two_classes: Task, folder: Path, tmp_path: Path
) -> None:
    for drawn in (True, False):
        bundle = bundle_of(two_classes, drawn=drawn)
        options = ["--bundle", str(bundle), "--out", str(tmp_path / "o.csv")]
        for arguments in (["predict", str(folder), *options], ["explain", str(folder / "Doe0.png"), *options[:2]]):
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(tmp_path)
                done = CliRunner().invoke(app, arguments)
            assert ("was trained on drawings" in done.output) is drawn


def test_a_second_name_is_no_failure_and_an_empty_set_an_empty_cell(
    bundle_of: Callable[..., Path], two_classes: Task, folder: Path, tmp_path: Path
) -> None:
    (folder / "Doe6.png").unlink()
    (folder / "again.png").symlink_to("Doe0.png")
    nothing = PredictionSets(coverage=0.9, least={"clear": 1.0, "air": 1.0})
    counts = predict_files(bundle_of(two_classes, prediction_sets=nothing), [folder], Outputs(tmp_path / "o.csv"))
    assert (counts.scored, counts.left_out, counts.again, counts.failed) == (6, 1, 1, 0)
    table = rows(tmp_path / "o.csv")
    assert table[6]["left_out"] == "the same file as another"
    assert table[6]["image"] == "file:7"
    assert {row["prediction_set"] for row in table} == {""}
