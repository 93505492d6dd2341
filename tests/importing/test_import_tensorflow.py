"""COVID-Net as released: a meta graph and checkpoint that real Keras writes here, imported through the command.

Where TensorFlow cannot be had, a stand-in for what it converts takes the tests that need no TensorFlow through.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from scipy.special import softmax

from cxrflow import cli
from cxrflow.bundle_files import DESCRIPTION, graph_file, read_trained_on, seen_rows, weights_file, write_bundle
from cxrflow.bundle_networks import gradcam_layer, read_bundle
from cxrflow.errors import CxrflowError
from cxrflow.evaluation.evaluate import evaluate_collections
from cxrflow.evaluation.tables import print_figures
from cxrflow.importing import import_tensorflow
from cxrflow.importing.import_tensorflow import Released
from cxrflow.models.model import to_input
from cxrflow.params import Params, Sources
from cxrflow.params_file import DEFAULTS
from cxrflow.predictor import Predictor
from cxrflow.task import Task
from cxrflow.training.module import TrainingModule

PROJECT = Path(__file__).parents[2]
CONVERTED = "converted"  # where what TensorFlow would say lies
RELEASED = "normal,pneumonia,covid"  # the order of the released network's outputs
ORDER = [2, 0, 1]  # of its outputs, by the classes of the default task


@pytest.fixture(scope="session")
def tensorflow() -> Path:
    try:
        return import_tensorflow.environment()
    except CxrflowError as error:
        pytest.skip(f"TensorFlow cannot be had, so that nothing is compared with it here: {error}")


@pytest.fixture(scope="session")
def released(tensorflow: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders ``keras`` and ``plain``, each as COVID-Net's was released, with TensorFlow's answers."""
    out, keras = tmp_path_factory.mktemp("released"), tmp_path_factory.mktemp("keras")
    pip = [tensorflow, "-m", "pip", "install", "--quiet", "--no-deps", "--target", keras, "tf_keras==2.21.0"]
    if subprocess.run(pip, check=False).returncode:
        pytest.skip("tf_keras, which writes the meta graph, cannot be had: nothing is compared with TensorFlow here")
    subprocess.run([tensorflow, Path(__file__).parent / "released.py", keras, out], check=True)
    return out


def run(folder: Path, *more: str) -> None:
    """The command as typed."""
    files = ["--meta", str(folder / "model.meta"), "--checkpoint", str(folder / "model-18540")]
    given = ["import-tensorflow", *files, "--classes", RELEASED]
    given += ["--params", str(DEFAULTS), *more]
    with pytest.MonkeyPatch.context() as patch:
        if (folder / CONVERTED).exists():
            given[1:1] = ["--python", sys.executable]
            patch.setattr(import_tensorflow, "_SCRIPT", Path(__file__).parent / "without_tensorflow.py")
        patch.setattr(sys, "argv", ["cxrflow", *given])
        cli.app(standalone_mode=False)


def stand_in(folder: Path, graph: bytes, side: int = 48) -> Path:
    """What TensorFlow would say of a network, said by onnxruntime: everything after it is tested where it is absent."""
    made = folder / CONVERTED
    made.mkdir(parents=True)
    for name in ("model.meta", "model-18540.index", "model-18540.data-00000-of-00001"):
        (folder / name).write_text(name)
    (made / "network.onnx").write_bytes(graph)
    (made / "network.json").write_text(json.dumps({"size": side, "channels": 3}))
    images = np.random.default_rng(1).random((5, 3, side, side), dtype=np.float32)
    logits = onnxruntime.InferenceSession(graph).run(None, {"input_1:0": images})[0]
    said = {"logits": logits, "probabilities": softmax(logits, axis=1)}
    np.savez(made / "answers.npz", images=images, **said)
    np.savez(folder / "answers.npz", images=images.transpose(0, 2, 3, 1), **said)
    return folder


@pytest.fixture(scope="session", params=["tensorflow", "without"])
def folder(
    request: pytest.FixtureRequest, onnx_network: Callable[[int], bytes], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Meta graph, checkpoint and answers: of TensorFlow and Keras, and of their stand-in."""
    if request.param == "tensorflow":
        return request.getfixturevalue("released") / "keras"
    return stand_in(tmp_path_factory.mktemp("stand_in"), onnx_network(48))


@pytest.fixture(scope="session")
def imported(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundle")
    run(folder, "--out", str(out))
    return out


def answers(folder: Path) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Images as PyTorch has them, and TensorFlow's logits and probabilities in the order of the task."""
    with np.load(folder / "answers.npz", allow_pickle=False) as said:
        images = torch.from_numpy(said["images"].transpose(0, 3, 1, 2).copy())
        return images, said["logits"][:, ORDER], said["probabilities"][:, ORDER]


def test_the_bundle_answers_as_tensorflow_does(folder: Path, imported: Path, task: Task) -> None:
    images, logits, probabilities = answers(folder)
    assert np.ptp(logits, axis=1).min() > 0.1  # the three outputs differ, so that their order shows
    bundle, (network,) = read_bundle(imported)
    again = read_bundle(imported)[1][0]
    with torch.no_grad():
        assert network(images).numpy() == pytest.approx(logits, abs=1e-4)
        assert network(images).softmax(dim=1).numpy() == pytest.approx(probabilities, abs=1e-4)
        assert network(images[:1]).numpy() == pytest.approx(logits[:1], abs=1e-4)
        assert torch.equal(network(images), again(images))
    assert bundle.task == task


def test_a_network_for_any_size_needs_one(released: Path, tmp_path: Path) -> None:
    """Variables of the old kind, no Keras; its batch normalisation is left one."""
    run(released / "plain", "--out", str(tmp_path), "--size", "48")
    images, logits, _ = answers(released / "plain")
    bundle, (network,) = read_bundle(tmp_path)
    assert bundle.networks[0].images.size == 48
    assert sum(isinstance(layer, torch.nn.BatchNorm2d) for layer in network.modules()) == 1
    with torch.no_grad():
        assert network(images).numpy() == pytest.approx(logits, abs=1e-4)


def test_a_grey_picture_is_scored_as_covid_net_takes_it(imported: Path) -> None:
    """Three times the grey plane, as shares of white, and nothing else."""
    predictor = Predictor(imported)
    steps = predictor.bundle.steps[0]
    assert (steps.size, steps.channels, steps.crop_top, steps.equalise, steps.lungs) == (48, 3, 0.08, "none", "none")
    pictures = np.random.default_rng(3).integers(0, 256, (3, 48, 48)).astype(np.uint8)
    planes = torch.from_numpy(np.repeat(pictures[:, None], 3, axis=1).astype(np.float32) / 255)
    with torch.no_grad():
        expected = predictor.networks[0].module(planes).softmax(dim=1).numpy()
    assert predictor.scores(pictures) == pytest.approx(expected, abs=1e-6)


def test_what_is_known_is_recorded_and_what_is_not_is_said(imported: Path) -> None:
    bundle, (network,) = read_bundle(imported)
    assert "unknown" in bundle.pretrained_on[0]
    (start,) = bundle.starts
    assert start is not None
    assert (start.trained_on, start.complete) == (bundle.pretrained_on, False)
    assert (bundle.seen, bundle.sources, bundle.networks[0].validation) == ("unknown", {}, {})
    assert {"meta", "checkpoint", "weights"} <= set(bundle.digests)
    assert read_trained_on(imported).empty
    weights = sum(p.numel() for p in network.parameters())
    assert weights > 10_000
    assert (imported / graph_file(0)).stat().st_size < 20_000  # the weights are in one place
    assert (imported / weights_file(0)).stat().st_size > 4 * weights


def test_heat_map_of_the_last_map_before_the_dense_layers(imported: Path) -> None:
    predictor = Predictor(imported)
    shapes = []
    layer = gradcam_layer(predictor.networks[0].about, predictor.networks[0].module)
    handle = layer.register_forward_hook(lambda *args: shapes.append(args[2].shape))
    pictures = np.random.default_rng(0).integers(0, 256, (4, 48, 48)).astype(np.uint8)
    maps = [predictor.heat_maps(picture, label)[0] for picture in pictures for label in predictor.bundle.task.order]
    handle.remove()
    assert set(shapes) == {torch.Size([1, 24, 6, 6])}
    assert all(heat.shape == (48, 48) for heat in maps)
    assert max(heat.max() for heat in maps) == 1


def test_it_trains_further_and_is_a_bundle_again(imported: Path, demo_params: Params, tmp_path: Path) -> None:
    bundle, (network,) = read_bundle(imported)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    params = demo_params.training.model_copy(update={"learning_rate": 0.001})
    module = TrainingModule(
        network,
        bundle.task,
        params,
        bundle.networks[0].images.channels,
        (bundle.networks[0].mean, bundle.networks[0].std),
    )
    images = torch.rand(12, 1, 48, 48)
    labels = torch.arange(12) % 3
    module.train()
    optimiser = torch.optim.AdamW(module.network.parameters(), lr=params.learning_rate)
    losses = []
    for _ in range(12):
        loss = module._loss(module.network(to_input(images, *module.input)), labels)
        optimiser.zero_grad()
        loss.backward()
        assert all(p.grad is not None for p in network.parameters())
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    after = network.eval().state_dict()
    same = [name for name in before if torch.equal(before[name], after[name])]
    assert same == ["order"]  # running statistics have moved too
    used = pd.DataFrame({"split": ["train"], "content_hash": ["a"], "near_hash": ["b"], "patient_id": ["c"]})
    write_bundle(tmp_path, [network], bundle, seen_rows(used))
    inputs = to_input(images, *module.input)
    with torch.no_grad():
        assert torch.equal(read_bundle(tmp_path)[1][0](inputs), network(inputs))


def test_it_can_be_exported(onnx_network: Callable[[int], bytes], tmp_path: Path) -> None:
    """An export takes seconds: of one network, with any number of images."""
    folder = stand_in(tmp_path / "released", onnx_network(48))
    run(folder, "--out", str(tmp_path / "out"))
    images, logits, _ = answers(folder)
    network = read_bundle(tmp_path / "out")[1][0]
    file = tmp_path / "network.onnx"
    several = ({0: torch.export.Dim("n")},)
    torch.onnx.export(network, (images,), file, dynamo=True, dynamic_shapes=several, input_names=["image"])
    session = onnxruntime.InferenceSession(file)
    for count in (1, 5):
        out = session.run(None, {"image": images[:count].numpy()})[0]
        assert out == pytest.approx(logits[:count], abs=1e-4)


@pytest.mark.parametrize("of", ["two_classes", "four_classes"])
def test_a_network_of_any_task(
    of: str, onnx_network: Callable[[int], bytes], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Its outputs come in the reverse order of the task's classes."""
    task: Task = request.getfixturevalue(of)
    model = onnx.load_model_from_string(onnx_network(48))
    (last,) = [weights for weights in model.graph.initializer if weights.name == "narrow"]
    values = np.random.default_rng(2).normal(0, 0.5, (20, len(task.order))).astype(np.float32)
    last.CopyFrom(onnx.numpy_helper.from_array(values, "narrow"))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = len(task.order)
    folder = stand_in(tmp_path / "released", model.SerializeToString())
    released = Released(folder / "model.meta", folder / "model-18540", "input_1:0", "logits:0", "probabilities:0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(import_tensorflow, "_SCRIPT", Path(__file__).parent / "without_tensorflow.py")
        python, out = Path(sys.executable), tmp_path / "out"
        written, difference = import_tensorflow.import_tensorflow(
            released, task, task.order[::-1], "nothing known", python, out
        )
    assert difference < 1e-4
    bundle, (network,) = read_bundle(out)
    assert (bundle.task, written.task) == (task, task)
    with np.load(folder / "answers.npz") as said, torch.no_grad():
        images = torch.from_numpy(said["images"].transpose(0, 3, 1, 2).copy())
        assert network(images).numpy() == pytest.approx(said["logits"][:, ::-1], abs=1e-4)


def test_evaluation_says_that_training_images_may_be_among_the_test_images(
    onnx_network: Callable[[int], bytes],
    own: Callable[..., Path],
    demo_params: Params,
    engine: object,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(stand_in(tmp_path / "released", onnx_network(48)), "--out", str(tmp_path / "bundle"))
    predictor = Predictor(tmp_path / "bundle")
    rows = [(f"{k}.png", predictor.bundle.task.order[k % 3], f"p{k}") for k in range(9)]
    sources = Sources(root=str(own(rows, {name: k for k, (name, _, _) in enumerate(rows)})), collections=None)
    how = demo_params.evaluation.model_copy(update={"bootstrap": 100})
    params = demo_params.model_copy(update={"sources": sources, "evaluation": how})
    figures, *_ = evaluate_collections(predictor, params, engine, tmp_path / "out", tmp_path / "ledger.csv")
    print_figures(figures, predictor.bundle.task)
    assert "list of all its training images" in " ".join(capsys.readouterr().out.split())
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["test_set"]["overlap"].startswith("Unknown")


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (
            ("--classes", "normal,pneumonia"),
            "covid, normal, pneumonia; name exactly these, in the order of the network's outputs",
        ),
        (("--classes", "normal,pneumonia,tuberculosis"), "are not the task's classes covid, normal, pneumonia"),
        (("--meta", "absent.meta"), "absent.meta: no such file"),
        (("--checkpoint", "absent"), r"absent: no checkpoint there; absent\.index"),
        (("--python", "/no/python"), "/no/python: No such file"),
        (("--python", sys.executable), "No module named 'tensorflow'"),
    ],
)
def test_mistakes_that_need_no_tensorflow(tmp_path: Path, more: tuple[str, str], problem: str) -> None:
    for name in ("model.meta", "model-18540.index", "model-18540.data-00000-of-00001"):
        (tmp_path / name).touch()
    with pytest.raises(CxrflowError, match=problem):
        run(tmp_path, "--out", str(tmp_path / "out"), *more)
    assert not (tmp_path / "out").exists()


def test_what_tensorflow_refuses_is_the_commands_error(released: Path, tmp_path: Path) -> None:
    with pytest.raises(CxrflowError, match=r"^the graph has no tensor norm_dense_1/MatMull:0; near names"):
        run(released / "keras", "--out", str(tmp_path / "out"), "--logits", "norm_dense_1/MatMull:0")
    assert not (tmp_path / "out").exists()


#: Invalid settings of an import job for the Keras network, and the error message of each.
MISTAKES = {
    "no tensor norm_dense_1/MatMull:0; near names: norm_dense_1/MatMul:0": {"logits": "norm_dense_1/MatMull:0"},
    "not an input of the graph": {"input": "conv1_conv/kernel:0"},
    "takes pictures of 48 pixels, not 64": {"size": 64},
    "any size; say with --size": {"meta": "plain/model.meta", "checkpoint": "plain/model-18540"},
    "lacks values for .* of the graph's variables": {"checkpoint": "plain/model-18540"},
    "not a TensorFlow checkpoint": {"checkpoint": "plain/model"},
    "not a TensorFlow meta graph": {"meta": "damaged.meta"},
}


@pytest.fixture(scope="session")
def said(tensorflow: Path, released: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the script says of each of MISTAKES."""
    work = tmp_path_factory.mktemp("mistakes")
    (work / "damaged.meta").write_text("not a graph")
    for name in ("keras", "plain"):
        (work / name).symlink_to(released / name)
    names = {"input": "input_1:0", "logits": "norm_dense_1/MatMul:0", "probabilities": "norm_dense_1/Softmax:0"}
    right = {"meta": "keras/model.meta", "checkpoint": "keras/model-18540", "size": None, "out": "out", **names}
    (work / "jobs.json").write_text(json.dumps([right | wrong for wrong in MISTAKES.values()]))
    script = [Path(__file__).parent / "mistakes.py", import_tensorflow._SCRIPT, "jobs.json"]
    done = subprocess.run([tensorflow, *script], cwd=work, check=True, capture_output=True, text=True)
    assert not (work / "out").exists()
    return dict(zip(MISTAKES, json.loads(done.stdout.splitlines()[-1]), strict=True))


@pytest.mark.parametrize("problem", MISTAKES)
def test_mistakes_that_tensorflow_sees(problem: str, said: dict[str, str]) -> None:
    assert re.search(problem, said[problem])
    assert said[problem].startswith("import-tensorflow: ")


def test_the_issues_command_needs_no_more(
    onnx_network: Callable[[int], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = stand_in(tmp_path / "released", onnx_network(48))
    names = ("--input", "input_1:0", "--logits", "norm_dense_1/MatMul:0", "--probabilities", "norm_dense_1/Softmax:0")
    monkeypatch.chdir(tmp_path)
    run(folder, *names)
    images, logits, _ = answers(folder)
    with torch.no_grad():
        assert read_bundle(tmp_path / "results" / "imported")[1][0](images).numpy() == pytest.approx(logits, abs=1e-4)


def with_answers(folder: Path, **said: np.ndarray) -> Path:
    """The stand-in with other answers of TensorFlow."""
    with np.load(folder / CONVERTED / "answers.npz") as loaded:
        answers = dict(loaded) | said
    np.savez(folder / CONVERTED / "answers.npz", **answers)
    return folder


@pytest.mark.parametrize("name", ["logits", "probabilities"])
def test_a_network_that_answers_otherwise_is_not_written(
    name: str, onnx_network: Callable[[int], bytes], tmp_path: Path
) -> None:
    """One value of one image, by twice what is tolerated; and with the logits in place of the probabilities."""
    folder = stand_in(tmp_path / "released", onnx_network(48))
    said = dict(np.load(folder / CONVERTED / "answers.npz"))
    other = said[name].copy()
    other[3, 1] += 2e-4 * max(1, np.abs(other).max())
    with pytest.raises(CxrflowError, match=r"differ from TensorFlow's by .*e-04, more than 1e-04; nothing was written"):
        run(with_answers(folder, **{name: other}), "--out", str(tmp_path / "out"))
    with pytest.raises(CxrflowError, match=r"differ from TensorFlow's by .*the softmax of"):
        run(with_answers(folder, logits=said["logits"], probabilities=said["logits"]), "--out", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_another_tensor_than_the_logits_is_not_taken_for_them(
    onnx_network: Callable[[int], bytes], tmp_path: Path
) -> None:
    folder = stand_in(tmp_path / "released", onnx_network(48))
    with pytest.raises(CxrflowError, match=r"norm_dense/Relu:0: shape \(20,\) .* not one value for each of 3 classes"):
        run(with_answers(folder, logits=np.zeros((5, 20), np.float32)), "--logits", "norm_dense/Relu:0")


def test_a_network_for_pictures_that_are_too_small(onnx_network: Callable[[int], bytes], tmp_path: Path) -> None:
    with pytest.raises(CxrflowError, match="pictures of 24 pixels and 3 channels; cxrflow supports 32 to 2048"):
        run(stand_in(tmp_path / "released", onnx_network(24), 24), "--out", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_damaged_bundle_is_refused(imported: Path, tmp_path: Path) -> None:
    shutil.copytree(imported, tmp_path / "bundle")
    (tmp_path / "bundle" / graph_file(0)).write_bytes(b"other")
    with pytest.raises(CxrflowError, match=f"not the graph that {DESCRIPTION} describes"):
        read_bundle(tmp_path / "bundle")
    (tmp_path / "bundle" / graph_file(0)).unlink()
    with pytest.raises(CxrflowError, match=r"graph\.onnx is absent; import the network again"):
        read_bundle(tmp_path / "bundle")
    weights = load_file(imported / weights_file(0))
    assert weights["order"].tolist() == ORDER
