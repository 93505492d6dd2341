"""The measurements of speed run on a few images, so that they do not break unseen between two measurements."""

import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydicom import examples

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def folder(drawn: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PNG, a JPEG and a DICOM file of a folder of collections."""
    folder = tmp_path_factory.mktemp("collections")
    cv2.imwrite(str(folder / "a.png"), drawn[0])
    cv2.imwrite(str(folder / "b.jpg"), drawn[1])
    slice_ = examples.ct
    slice_.Modality = "DX"
    slice_.save_as(folder / "c.dcm")
    return folder


def run(name: str, *arguments: str | Path, cwd: Path) -> str:
    command = [sys.executable, BENCHMARKS / name, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=cwd).stdout


def test_images_are_prepared_in_both_orders_and_only_decoded(folder: Path, tmp_path: Path) -> None:
    printed = run("images.py", folder, "--out", tmp_path / "bench.json", cwd=tmp_path)
    assert printed.count("| 224 pixels, CLAHE |") == 1
    found = json.loads((tmp_path / "bench.json").read_text())["images"]
    assert found["count"] == 3
    assert all(rate > 0 for of_size in found["per_second"].values() for rate in of_size.values())
    assert (tmp_path / "bench-order.png").exists()


def test_many_images_are_prepared_and_a_few_added(folder: Path) -> None:
    rows = [line.split(" | ") for line in run("scale.py", folder, "--counts", "5", cwd=folder).splitlines()[2:4]]
    assert rows[0][0] == "| 5"
    assert rows[1][0].startswith("| 10 added to those 5")
    assert all(float(row[3]) > 50 for row in rows)  # MiB of a process that has imported NumPy and OpenCV


def test_many_files_are_predicted(tmp_path: Path) -> None:
    (row,) = run("predictions.py", "--counts", "5", cwd=tmp_path).splitlines()[2:3]
    scored, seconds, _, memory = (float(cell) for cell in row.strip("| ").split(" | "))
    assert scored == 5
    assert seconds > 0
    assert memory > 100  # MiB, with PyTorch


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_the_service_is_put_under_load(tmp_path: Path) -> None:
    lines = run("load.py", "--seconds", "1", "--requests", "1", cwd=tmp_path).splitlines()
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines if line.startswith("| ")]
    loads, memory = rows[2:6], rows[8:10]
    assert [(row[0], row[1]) for row in loads] == [
        ("1", "scores"), ("8", "scores"), ("32", "scores"), ("8", "with pictures")
    ]  # fmt: skip
    assert all(row[6:] == ["0", "0"] for row in loads)  # refused, errors
    assert memory[0][0] == "0"
    assert int(memory[1][0]) >= 1
    assert all(float(row[1]) > 100 for row in memory)  # MiB, with PyTorch


def test_studies_go_through_a_dicom_node(tmp_path: Path) -> None:
    if not shutil.which("dcmdump"):
        pytest.skip("dcmtk is not installed")
    printed = run("node.py", "--studies", "3", "--kills", "0", "--minutes", "3", cwd=tmp_path)
    assert "| 3 | 3 | 0 | 3 | 0 |" in printed


def test_training_is_compared_with_a_fixed_tensor(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    training = importlib.import_module("training")
    try:
        monkeypatch.setattr(training, "_ROUNDS", 1)
        monkeypatch.setattr(training, "_BATCHES", 1)
        monkeypatch.setattr(training, "RUNS", [("resnet18", 2)])
        monkeypatch.setattr(training, "STEPS", training.STEPS.model_copy(update={"size": 64}))
        monkeypatch.setattr(sys, "argv", ["training.py", str(folder), "--out", str(tmp_path / "bench.json")])
        training.main()
    finally:
        for name in ("training", "images", "paper_order", "tables"):
            del sys.modules[name]
    assert "| resnet18 at 64, batches of 2 |" in capsys.readouterr().out
    found = json.loads((tmp_path / "bench.json").read_text())["training"]["resnet18, batches of 2"]
    assert set(found["per_second"]) == {"training", "ceiling", "channels_last", "plain"}


def test_three_ways_from_file_to_answer_are_compared(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    serving = importlib.import_module("serving")
    try:
        for name, value in {"NETWORKS": [("crnn", 48)], "_ROUNDS": 1, "_STARTS": 1}.items():
            monkeypatch.setattr(serving, name, value)
        monkeypatch.setattr(sys, "argv", ["serving.py", str(folder), "--out", str(tmp_path / "bench.json")])
        serving.main()
    finally:
        for name in ("serving", "images", "paper_order", "tables"):
            del sys.modules[name]
    assert "| crnn, 48 pixels; 3 files |" in capsys.readouterr().out
    found = json.loads((tmp_path / "bench.json").read_text())["serving"]["networks"]["crnn, 48 pixels"]
    assert list(found) == ["PyTorch", "ONNX Runtime", "int8"]
    assert all(value > 0 for way in found.values() for value in way.values())
    assert found["ONNX Runtime"]["user"] < found["PyTorch"]["user"]
