"""The example package, installed as a user would: its own tests, the list, a training, and the bundle elsewhere."""

import inspect
import json
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from cxrflow.bundle_files import read_description
from cxrflow.cli import app
from cxrflow.errors import CxrflowError
from cxrflow.exporting.export import export
from cxrflow.images.prepare import steps_digest
from cxrflow.params import Params
from cxrflow.plugins import offered
from cxrflow.predictor import Predictor
from cxrflow.training.train import train

EXAMPLE = Path(__file__).parents[2] / "examples" / "cxrflow-example"
TESTS = ["source", "network", "image_step", "audit_test", "output"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that it is installed into, from a copy, and which Python searches."""
    place = tmp_path_factory.mktemp("example")
    copy = shutil.copytree(EXAMPLE, place / "copy", ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--no-compile"]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, "--target", place / "site", copy], check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(place / "site")
        offered.cache_clear()
        yield place / "site"
    offered.cache_clear()


def test_its_own_tests_pass(site: Path, tmp_path: Path) -> None:
    """In this process, which has imported PyTorch already."""
    tests = {k: v for k, v in runpy.run_path(str(EXAMPLE / "tests" / "test_parts.py")).items() if k.startswith("test_")}
    assert list(tests) == [f"test_the_{name}" for name in TESTS]
    for test in tests.values():
        test(*([tmp_path] if inspect.signature(test).parameters else []))


def test_the_list_shows_its_parts_with_their_origin(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    listed = json.loads(CliRunner().invoke(app, ["list", "--json"], catch_exceptions=False).stdout)
    theirs = [
        (part["kind"], part["name"], part["problem"]) for part in listed if part["origin"] == "cxrflow-example 0.1.0"
    ]
    assert theirs == [
        ("source", "example-ward", ""), ("network", "example_small", ""), ("image step", "example_sharpen", ""),
        ("audit test", "example_brightness", ""), ("output", "example_worklist", ""),
    ]  # fmt: skip


def test_a_bundle_of_its_network_scores_by_onnx_without_it(
    site: Path, tiny: Callable, params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, steps = tiny(60)
    small = {"model": "example_small", "epochs": 1, "batch_size": 20}
    assert train(dataset, steps, params.training.model_copy(update=small), tmp_path)
    folder = tmp_path / "bundle"
    (part,) = read_description(folder).plugins
    assert (part.name, part.origin) == ("example_small", "cxrflow-example 0.1.0")
    export(folder)
    images = dataset.split("val").pixels()[:4]
    expected = Predictor(folder).scores(images)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(site)])
    offered.cache_clear()
    elsewhere = Predictor(folder)  # without a GPU, its networks are not needed
    assert elsewhere._onnx is not None
    assert elsewhere._onnx.scores_by_fold([images])[0] == pytest.approx(np.asarray(expected), abs=1e-4)
    with pytest.raises(
        CxrflowError, match=r"example_small of cxrflow-example 0\.1\.0; install .*cxrflow-example==0\.1\.0"
    ):
        _ = elsewhere.networks
    monkeypatch.setattr("cxrflow.onnx_file._has_gpu", lambda: True)
    assert Predictor(folder)._onnx is not None  # PyTorch could not do without the package


def test_its_image_step_has_no_package_of_image_steps_beside_the_onnx_file(
    site: Path, tiny: Callable, bundle_of: Callable, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    from cxrflow.exporting.steps_folder import write_steps
    from cxrflow.plugins import described

    steps = tiny(3)[1].model_copy(update={"extra": ("example_sharpen",)})
    part = described("image_steps", "example_sharpen", "images.extra")
    assert part is not None
    assert steps_digest(steps) != steps_digest(steps.model_copy(update={"extra": ()}))
    folder = bundle_of(params.task, images=steps, plugins=(part,))
    bundle = read_description(folder)
    assert write_steps(folder, bundle, "0", "0") is None
    assert "example_sharpen" in capsys.readouterr().out
    assert write_steps(folder, replace_steps(bundle), "0", "0") == folder / "prepare"


def replace_steps(bundle):
    networks = tuple(
        each.model_copy(update={"images": each.images.model_copy(update={"extra": ()})}) for each in bundle.networks
    )
    return bundle.model_copy(update={"networks": networks})
