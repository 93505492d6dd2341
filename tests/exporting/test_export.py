"""`cxrflow export`, and results by the file that it writes: as PyTorch's, or not used."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from typer.testing import CliRunner

from cxrflow import CxrflowError, Predictor, onnx_file
from cxrflow.bundle import Network
from cxrflow.bundle_files import read_description, write_description
from cxrflow.cli import app
from cxrflow.exporting import export as exporting
from cxrflow.exporting.export import export, try_export
from cxrflow.onnx_file import ONNX, SUM

PROJECT = Path(__file__).parents[2]
#: Imports nothing but what scoring a file takes; prints whether that includes PyTorch.
PROGRAM = """
import sys
from pathlib import Path
from cxrflow.predict import Outputs, predict_files

bundle, picture, out = map(Path, sys.argv[1:])
print(predict_files(bundle, [picture], Outputs(out)), "torch" in sys.modules, "onnx" in sys.modules)
"""


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "copy"))


def test_results_are_pytorchs(exported: Path, copy: Path, drawn: list[np.ndarray]) -> None:
    (copy / ONNX).unlink()
    given = [*drawn[:5], np.zeros((3, 4, 5), np.uint8)]  # the last is no grey picture
    by_onnx, by_torch = (list(Predictor(folder).results(given)) for folder in (exported, copy))
    for a, b in zip(by_onnx, by_torch, strict=True):
        assert a.scores == pytest.approx(b.scores, abs=1e-4)
        assert a.model_dump(exclude={"scores"}) == b.model_dump(exclude={"scores"})
    assert by_onnx[0].scores
    assert by_onnx[-1].left_out


def test_pytorch_is_not_imported_for_scores(exported: Path, drawn: list[np.ndarray], tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), drawn[0])
    command = [sys.executable, "-c", PROGRAM, exported, tmp_path / "a.png", tmp_path / "out.csv"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert printed.splitlines()[-1] == "1 image scored, 0 of them flagged, 0 left out False False"


def test_heat_maps_and_one_network_alone_are_pytorchs(exported: Path, drawn: list[np.ndarray]) -> None:
    (seen,) = Predictor(exported).results(drawn[:1], look=True)
    (plain,) = Predictor(exported).results(drawn[:1])
    assert seen.scores == plain.scores
    assert seen.look is not None
    alone = Predictor(exported, 2)
    (second,) = alone.results(drawn[:1])
    assert list(second.scores.values()) == pytest.approx(alone.scores(alone.prepare(drawn[0]))[0], abs=1e-12)


def test_a_file_that_is_damaged_or_of_another_bundle_is_not_used(
    copy: Path, write: Callable[..., Path], describe: Callable[..., Network], capsys: pytest.CaptureFixture[str]
) -> None:
    def said() -> str:
        assert Predictor(copy)._onnx is None
        return " ".join(capsys.readouterr().out.split())

    assert Predictor(copy)._onnx is not None
    content, bundle = (copy / ONNX).read_bytes(), read_description(copy)
    (copy / ONNX).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert "is not used: it is not the file whose SHA-256 stands beside it; `cxrflow export` writes it again" in said()
    (copy / ONNX).write_bytes(content[:1000])
    (copy / SUM).write_text(f"{hashlib.sha256(content[:1000]).hexdigest()}  {ONNX}\n")
    assert "is not used: ONNX Runtime cannot open it" in said()
    (copy / SUM).unlink()
    assert f"{SUM} is absent" in said()
    exporting.write_file(copy / ONNX, content)
    write_description(copy, bundle.model_copy(update={"sharpness": 1.0}))
    assert "is not used: it was made of other networks than those of the bundle" in said()
    write_description(copy, bundle.model_copy(update={"thresholds": {}}))
    assert Predictor(copy)._onnx is not None  # they are applied after the scores
    write(copy, [describe("crnn")])  # another bundle there
    assert not (copy / ONNX).exists()


def test_a_file_larger_than_onnx_files_can_be_is_not_read(
    copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(onnx_file, "MOST", 1000)
    assert Predictor(copy)._onnx is None
    assert "damaged, larger than" in capsys.readouterr().out


def test_weights_in_another_file_are_not_read(copy: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """ONNX Runtime itself would look for them in the working folder, as the first call shows."""
    model = onnx.load(copy / ONNX)
    onnx.save(model, copy / ONNX, save_as_external_data=True, location="weights.bin", size_threshold=100)
    content = (copy / ONNX).read_bytes()
    exporting.write_file(copy / ONNX, content)
    monkeypatch.chdir(copy)
    onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    assert Predictor(copy)._onnx is None
    assert "is not used: ONNX Runtime cannot open it" in " ".join(capsys.readouterr().out.split())


def test_a_gpu_is_pytorchs(exported: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "driver").touch()
    monkeypatch.setattr(onnx_file, "_DRIVERS", (str(tmp_path / "driver"),))
    bundle = read_description(exported)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert onnx_file.open_onnx(exported, bundle) is not None
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert onnx_file.open_onnx(exported, bundle) is None


def test_metadata_says_what_a_program_has_to_know(exported: Path) -> None:
    found = onnxruntime.InferenceSession(exported / ONNX).get_modelmeta().custom_metadata_map
    bundle = read_description(exported)
    assert found["purpose"].startswith("Research software. Not a medical device")
    assert json.loads(found["classes"]) == ["covid", "normal", "pneumonia"] == list(bundle.task.order)
    assert json.loads(found["names"]) == bundle.task.names
    assert found["positive"] == "covid"
    assert json.loads(found["operating_points"])["specificity"]["threshold"] == 0.4
    assert json.loads(found["prediction_sets"])["left_out"]["normal"][0]["scores"] == [0.1, 0.4]
    assert [images["size"] for images in json.loads(found["images"])] == [64, 48]
    assert json.loads(found["licences"]) == [None] * 3
    assert found["weights"] == bundle.digests["weights"]
    assert set(found) == {
        "bundle", "classes", "computes", "cxrflow", "drawn", "images", "licences", "names", "operating_points",
        "positive", "prediction_sets", "purpose", "weights",
    }  # fmt: skip


def test_the_command_writes_equal_bytes_wherever_it_is_told(
    write: Callable[..., Path], describe: Callable[..., Network], tmp_path: Path
) -> None:
    folder, out = write(tmp_path / "bundle", [describe("crnn")]), tmp_path / "there" / "other.onnx"
    for more in ([], ["--out", str(out)]):
        done = CliRunner().invoke(app, ["export", "--bundle", str(folder), *more], catch_exceptions=False)
        assert done.exit_code == 0
        assert "differs from PyTorch by up to" in done.stdout
    assert out.read_bytes() == (folder / ONNX).read_bytes()
    assert {path.name for path in out.parent.iterdir()} == {"other.onnx", "other.onnx.sha256", "prepare"}
    checked = subprocess.run(["sha256sum", "--check", "other.onnx.sha256"], cwd=out.parent, check=True)
    assert checked.returncode == 0


def test_files_of_the_bundle_and_of_others_are_not_overwritten(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(CxrflowError, match=r"bundle\.json: is a file of the bundle; name another file"):
        export(copy, copy / "bundle.json")
    (tmp_path / "mine" / "prepare").mkdir(parents=True)
    (tmp_path / "mine" / "prepare" / "thesis.txt").touch()
    with pytest.raises(CxrflowError, match="is not a folder that this command wrote; name another place"):
        export(copy, tmp_path / "mine" / "a.onnx")
    assert (tmp_path / "mine" / "prepare" / "thesis.txt").exists()


def test_a_training_does_not_fail_because_its_export_does(
    copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(exporting, "largest_difference", lambda *_: 0.01)
    with pytest.raises(CxrflowError, match=r"differ from PyTorch's by up to 0\.01, more than 0\.0001"):
        export(copy)
    assert (copy / "prepare").is_dir()
    try_export(copy)
    assert "No ONNX file, so PyTorch will score" in " ".join(capsys.readouterr().out.split())
    assert not (copy / "prepare").exists()  # it was of the bundle before


def test_a_training_removes_no_folder_of_others(copy: Path) -> None:
    shutil.rmtree(copy / "prepare")
    (copy / "prepare").mkdir()
    (copy / "prepare" / "thesis.txt").touch()
    try_export(copy)
    assert (copy / "prepare" / "thesis.txt").exists()


def test_the_example_of_the_page_runs_without_cxrflow(exported: Path, drawn: list[np.ndarray], tmp_path: Path) -> None:
    page = (PROJECT / "docs" / "export.md").read_text(encoding="utf-8")
    (example,) = [part.split("```")[0] for part in page.split("```python\n")[1:]]
    assert len(example.strip().splitlines()) <= 15
    place = tmp_path / "elsewhere"
    place.mkdir()
    shutil.copy(exported / ONNX, place)
    shutil.copytree(exported / "prepare", place / "prepare")
    cv2.imwrite(str(place / "scan.png"), drawn[0])
    code = f"import sys\nsys.path.insert(0, {str(place)!r})\n{example}\nassert 'cxrflow' not in sys.modules"
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=place, check=True, capture_output=True, text=True)
    (result,) = Predictor(exported).results([drawn[0]])
    printed = dict(line.split(" ", 1) for line in done.stdout.splitlines() if line.split(" ")[0] in result.scores)
    assert {name: float(value.split()[0]) for name, value in printed.items()} == pytest.approx(result.scores, abs=1e-3)
