"""int8: the figures that it changes on val, and that they are the written file's."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from cxrflow import CxrflowError, Predictor
from cxrflow.bundle import Network, PredictionSets
from cxrflow.bundle_files import read_description
from cxrflow.cli import app
from cxrflow.exporting.export import write_file
from cxrflow.exporting.int8 import export_int8, print_changes
from cxrflow.onnx_file import ONNX, open_onnx
from cxrflow.params import Params
from cxrflow.task import Task


@pytest.fixture(scope="module")
def folder(
    write: Callable[..., Path],
    describe: Callable[..., Network],
    tiny,
    task: Task,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A bundle whose network, of random weights, takes the images of ``tiny``."""
    sets = PredictionSets(coverage=0.9, least=dict.fromkeys(task.order, 0.2))
    about = describe("resnet18", **tiny(90)[1].model_dump())
    return write(tmp_path_factory.mktemp("bundle"), [about], prediction_sets=sets)


def test_figures_on_val_are_those_of_the_written_file(
    folder: Path, tiny, demo_params: Params, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset, _ = tiny(90)
    # Test images must not be looked at: here they have no pixels.
    split = dataset.records.split.to_numpy(object)
    split[1::9] = "test"
    images = np.array(dataset.store.images)
    images[split == "test"] = 0
    dataset = replace(dataset.divided(split), stores=(replace(dataset.store, images=images),))
    out = tmp_path / "int8.onnx"
    said = export_int8(folder, dataset, demo_params.evaluation, out)
    assert json.loads(out.with_name("int8.onnx.json").read_text()) == said
    val = dataset.split("val")
    assert (said["images"], said["groups"], said["calibrated"], said["on"]) == (len(val), len(val), len(val), "val")

    truth, exact = val.truth, Predictor(folder).score(val)
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    quantised = session.run(["probabilities"], {"image": val.pixels()})[0].astype(np.float64)
    for name, scores in (("float32", exact), ("int8", quantised)):
        figures = {key: value[name] for key, value in said["figures"].items()}
        by_hand = roc_auc_score(truth, scores / scores.sum(axis=1, keepdims=True), multi_class="ovr", average="macro")
        assert figures["macro_auroc"] == pytest.approx(by_hand, abs=1e-6)
        assert figures["accuracy"] == pytest.approx((scores.argmax(axis=1) == truth).mean())
        assert figures["log_loss"] == pytest.approx(-np.log(scores[np.arange(len(val)), truth]).mean(), abs=1e-5)
        assert figures["prediction_sets.mean_size"] == pytest.approx((scores >= 0.2).sum(axis=1).mean())
        assert {"calibration.ece", "operating_points.argmax.sensitivity", "covid.auroc"} < set(figures)
    assert said["largest_change"] == pytest.approx(np.abs(quantised - exact).max(), abs=1e-5)
    assert 0 < said["largest_change"] < 0.1
    assert said["bytes"] < 0.3 * said["float32_bytes"]
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["int8"])["figures"] == said["figures"]
    assert metadata["weights"] == read_description(folder).digests["weights"]
    kinds = {node.op_type for node in onnx.load(out).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear", "Softmax"} <= kinds
    with pytest.raises(CxrflowError, match="holds float32 networks; name another file for int8"):
        export_int8(folder, dataset, demo_params.evaluation, folder / ONNX)
    # Put there by hand, it does not serve.
    shutil.copytree(folder, tmp_path / "bundle")
    write_file(tmp_path / "bundle" / ONNX, out.read_bytes())
    assert open_onnx(tmp_path / "bundle", read_description(folder)) is None
    print_changes(said, out)
    printed = capsys.readouterr().out.replace("\n", " ")
    assert "quantised to int8" in printed
    assert f"largest change of a probability {said['largest_change']:.3f}" in printed
    assert (tmp_path / "prepare" / "steps.py").exists()


def test_networks_of_folds_are_compared_on_what_they_left_out(
    write: Callable[..., Path], describe: Callable[..., Network], tiny, demo_params: Params, tmp_path: Path
) -> None:
    dataset, steps = tiny(60)
    dataset = replace(dataset, records=dataset.records.assign(paediatric=False, left_out=None))
    networks = [describe("crnn", fold, **steps.model_dump()) for fold in (0, 1)]
    place = write(tmp_path / "bundle", networks, sharpness=1.5)
    said = export_int8(place, dataset, demo_params.evaluation, tmp_path / "int8.onnx")
    assert (said["on"], said["images"]) == ("the images that each network left out", 60)
    assert 0 < said["largest_change"] < 0.1
    assert said["calibrated"] == 20  # val alone


def test_other_tasks_and_data_without_val_are_refused(
    folder: Path, tiny, two_classes: Task, demo_params: Params, tmp_path: Path
) -> None:
    with pytest.raises(CxrflowError, match="the bundle's task is not that of the images"):
        export_int8(folder, tiny(30, two_classes)[0], demo_params.evaluation, tmp_path / "a.onnx")
    with pytest.raises(CxrflowError, match="no val image to calibrate int8 on"):
        export_int8(folder, tiny(30)[0].split("train"), demo_params.evaluation, tmp_path / "a.onnx")


def test_the_command_says_where_its_val_images_come_from(folder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["export", "--int8", "--bundle", str(folder)])
    assert isinstance(done.exception, CxrflowError)
    assert "calibrates on the val images of the bundle's training, and params.yaml is absent" in str(done.exception)
