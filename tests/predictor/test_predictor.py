"""The one predictor: scores and heat maps against the network itself, tasks and image steps."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from cxrflow import CxrflowError, LeftOut, Predictor
from cxrflow.images.registry import prepare_image
from cxrflow.models import MODELS
from cxrflow.params import Params
from cxrflow.task import Task

SIDE = 48


@pytest.fixture(scope="module", params=["resnet18", "crnn"])
def predictor(
    request: pytest.FixtureRequest, bundle_of: Callable[..., Path], task: Task, two_classes: Task
) -> Predictor:
    resnet = request.param == "resnet18"
    return Predictor(bundle_of(task if resnet else two_classes, model=request.param, channels=1 if resnet else 3))


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (70, SIDE, SIDE)).astype(np.uint8)


def by_hand(predictor: Predictor, pictures: np.ndarray) -> torch.Tensor:
    pixels = (torch.from_numpy(pictures).float() / 255 - 0.4) / 0.2
    planes = pixels[:, None].repeat(1, predictor.bundle.steps[0].channels, 1, 1)
    return predictor.networks[0].module(planes.to(predictor.networks[0].device)).cpu()


def test_scores_are_the_networks_with_the_temperature(predictor: Predictor, pictures: np.ndarray) -> None:
    with torch.no_grad():
        expected = functional.softmax(by_hand(predictor, pictures).double() / 2.0, dim=1).numpy()
    scores = predictor.scores(pictures)  # more than one batch
    assert scores.shape == (70, len(predictor.bundle.task.order))
    assert scores == pytest.approx(expected, abs=1e-5)
    assert predictor.scores(pictures[:0]).shape == (0, len(predictor.bundle.task.order))
    assert predictor.scores(pictures[3]) == pytest.approx(expected[3:4], abs=1e-5)  # one image


def test_heat_map_is_grad_cam_as_published(predictor: Predictor, pictures: np.ndarray) -> None:
    """Selvaraju et al. 2017, equations 1 and 2, computed here with autograd on the layer's output."""
    network, order = predictor.networks[0].module, predictor.bundle.task.order
    layer = MODELS[predictor.bundle.name].gradcam_layer(network, predictor.bundle.steps[0].size)
    kept: list[torch.Tensor] = []
    handle = layer.register_forward_hook(lambda *args: kept.append(args[2]))
    for column, label in enumerate(order):
        kept.clear()
        logits = by_hand(predictor, pictures[:1])
        gradient = torch.autograd.grad(logits[0, column], kept[0])[0]
        weights = gradient.mean(dim=(2, 3), keepdim=True)
        cam = functional.relu((weights * kept[0]).sum(dim=1, keepdim=True))
        full = functional.interpolate(cam, (SIDE, SIDE), mode="bilinear", align_corners=False)[0, 0]
        expected = (full / full.max() if full.max() > 0 else full).detach().cpu().numpy()
        heat = predictor.heat_maps(pictures[0], label)[0]
        assert heat.shape == (SIDE, SIDE)
        assert heat == pytest.approx(expected, abs=1e-4)
    handle.remove()


def test_another_network_has_heat_maps_of_its_own(bundle_of: Callable[..., Path], task: Task, pictures) -> None:
    predictor = Predictor(bundle_of(task))
    before = predictor.heat_maps(pictures[0], task.positive)[0]
    torch.manual_seed(5)
    predictor = predictor.with_modules(lambda _: MODELS["crnn"].build(1, 3).eval())
    assert np.abs(predictor.heat_maps(pictures[0], task.positive)[0] - before).max() > 0.01


def test_a_file_is_read_turned_and_prepared_in_one_call(
    predictor: Predictor, drawn: list[np.ndarray], tmp_path: Path
) -> None:
    for name, grey in (("a.png", drawn[0]), ("inverted.png", 255 - drawn[0])):
        Image.fromarray(grey).save(tmp_path / name)
        (image,) = predictor.prepare(str(tmp_path / name))
        assert image.dtype == np.uint8
        assert np.array_equal(image, prepare_image(drawn[0], predictor.bundle.steps[0]).image)
    with pytest.raises(LeftOut, match="absent"):
        predictor.prepare(tmp_path / "b.png")


def test_a_data_set_is_scored_in_the_order_of_its_own_task(
    bundle_of: Callable[..., Path], demo_params: Params, four_classes: Task, tiny
) -> None:
    predictor = Predictor(bundle_of(four_classes, images=demo_params.images.model_copy(update={"size": 32})))
    dataset, _ = tiny(70, task=four_classes)
    scores = predictor.score(dataset)
    assert scores == pytest.approx(predictor.scores(dataset.pixels()))
    turned_round = Task(
        classes=dict(reversed(four_classes.classes.items())), positive=four_classes.positive, names={"clear": "clear"}
    )
    assert np.array_equal(predictor.score(replace(dataset, task=turned_round)), scores[:, ::-1])
    assert predictor.score(dataset.where(np.zeros(70, dtype=bool))).shape == (0, 4)


def test_another_question_and_other_image_steps_are_refused(
    bundle_of: Callable[..., Path], task: Task, two_classes: Task, demo_params: Params, tiny
) -> None:
    dataset, steps = tiny()
    with pytest.raises(CxrflowError, match=r"the bundle's classes are clear \(no finding\), air \(pneumothorax\)"):
        Predictor(bundle_of(two_classes, images=steps)).score(dataset)
    with pytest.raises(CxrflowError, match="other image steps"):
        Predictor(bundle_of(task, images=demo_params.images.model_copy(update={"size": 48}))).score(dataset)


def test_the_example_in_the_readme_runs(
    bundle_of: Callable[..., Path], task: Task, drawn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (example,) = [part.split("```")[0] for part in readme.split("```python\n")[1:]]
    Image.fromarray(drawn[0]).save(tmp_path / "scan.png")
    example = example.replace("results/training/bundle", str(bundle_of(task)))
    held: dict[str, Any] = {}
    exec(example.replace("scan.dcm", str(tmp_path / "scan.png")), held)  # noqa: S102
    assert sum(held["result"].scores.values()) == pytest.approx(1)
    assert held["result"].prediction in capsys.readouterr().out
    assert held["heat"].shape == drawn[0].shape
