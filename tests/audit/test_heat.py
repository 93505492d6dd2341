"""Heat maps of networks that are known, and of the same with random weights."""

from collections.abc import Callable
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from cxrflow.audit.context import Audited
from cxrflow.audit.heat import heat_of, randomised
from cxrflow.audit.plots import panels
from cxrflow.explanation.heat import HeatMaps
from cxrflow.models import find_model
from cxrflow.network import LoadedNetwork
from cxrflow.predictor import Predictor
from cxrflow.task import Task

SIDE = 32


@pytest.fixture
def predictor(untrained: Callable[[Task], Predictor], task: Task) -> Predictor:
    return untrained(task)


def spot(row: int, column: int) -> np.ndarray:
    found = np.zeros((SIDE, SIDE), np.float32)
    found[row, column] = 1
    return found


def test_a_random_network_whose_map_is_flat_gives_way_to_the_next(
    hospital: Callable[..., Audited], predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = hospital(np.array([0, 0])).test

    def twin(_: Predictor, seed: int) -> Mock:
        maps = [spot(3, 4) if seed >= 9 else np.zeros((SIDE, SIDE), np.float32)]
        return Mock(heat_maps=lambda *_: maps, by_view=[(0, None)])

    monkeypatch.setattr("cxrflow.audit.heat.randomised", twin)
    assert np.array_equal(heat_of(HeatMaps.of(predictor, made), 7).random, [spot(3, 4)] * 2)
    assert not heat_of(HeatMaps.of(predictor, made), 0).random.any()


def test_maps_are_of_the_class_that_the_bundle_predicts(hospital: Callable[..., Audited], predictor: Predictor) -> None:
    made = hospital(np.array([0, 1, 2])).test
    heat = heat_of(HeatMaps.of(predictor, made), 0)
    order = predictor.bundle.task.order
    for k, image in enumerate(made.pixels()):
        predicted = order[predictor.scores(image[None])[0].argmax()]
        assert np.array_equal(heat.gradcam[k], predictor.heat_maps(image, predicted)[0])


def test_a_transformer_has_every_map(hospital: Callable[..., Audited], predictor: Predictor) -> None:
    """Grad-CAM, occlusion, and Grad-CAM of a twin all of whose weights are others."""
    model = find_model("timm:test_vit")
    torch.manual_seed(5)
    about = predictor.networks[0].about.model_copy(update={"model": "timm:test_vit"})
    module = model.architecture(1, len(predictor.bundle.task.order)).eval()
    predictor.networks = [LoadedNetwork(about, module)]
    made = hospital(np.array([0, 1, 2])).test
    heat = heat_of(HeatMaps.of(predictor, made), 0)
    for maps in (heat.gradcam, heat.occlusion, heat.random):
        assert maps.shape == made.pixels().shape
        assert np.isfinite(maps).all()
        assert np.ptp(maps, axis=(1, 2)).max() > 0
    assert not np.allclose(heat.gradcam, heat.random)
    twin = randomised(predictor, 0).networks[0].module.state_dict()
    varied = {name: tensor for name, tensor in module.state_dict().items() if tensor.std() > 0}
    assert len(varied) > 20
    assert [name for name, tensor in varied.items() if torch.equal(tensor, twin[name])] == []


def test_occlusion_is_hot_where_the_score_falls(
    hospital: Callable[..., Audited], predictor: Predictor, task: Task
) -> None:
    """A network whose logit is the brightness of one corner of the picture."""

    class Corner(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images[:, 0, :8, :8].mean(dim=(1, 2))[:, None] * torch.tensor([[1.0, 0.0, -1.0]])

    predictor = predictor.with_modules(lambda _: Corner())
    image = np.full((SIDE, SIDE), 255, np.uint8)
    dataset = hospital(np.array([0])).test
    shown = replace(dataset, stores=(replace(dataset.store, images=np.stack([image] * len(dataset.store.images))),))
    maps = HeatMaps(predictor, (shown,))
    found, against = (maps.occlusion(0, task.order[k]) for k in (0, 2))
    assert found.shape == (SIDE, SIDE)
    assert np.unravel_index(found.argmax(), found.shape)[0] < 8
    assert found[:8, :8].min() > 0
    assert not found[12:].any()
    assert not against.any()  # covering the corner raises that score


def test_random_weights_are_others_and_leave_the_network_alone(predictor: Predictor, task: Task) -> None:
    trained = predictor.networks[0].module
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    twin, again = randomised(predictor, 3), randomised(predictor, 3)
    for name, value in trained.state_dict().items():
        assert torch.equal(value, before[name])
    others = (each.networks[0].module.parameters() for each in (twin, again))
    for (name, ours), theirs, same in zip(trained.named_parameters(), *others, strict=True):
        assert torch.equal(theirs, same)
        if ours.dim() > 1:
            assert not torch.equal(ours, theirs), name
    image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE)).astype(np.uint8)
    assert not np.array_equal(twin.scores(image[None]), predictor.scores(image[None]))
    assert twin.heat_maps(image, task.order[0])[0].shape == (SIDE, SIDE)


def test_weights_of_no_known_layer_are_shuffled(predictor: Predictor) -> None:
    """An imported graph has weights that no layer can draw anew."""

    class Imported(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = torch.nn.Parameter(torch.arange(12.0))

    predictor = predictor.with_modules(lambda _: Imported())
    used = [randomised(predictor, 3).networks[0].module]
    shuffled = used[0].weights
    assert not torch.equal(shuffled, torch.arange(12.0))
    assert torch.equal(shuffled.sort().values, torch.arange(12.0))


def test_panels_show_each_picture_four_times(hospital: Callable[..., Audited], predictor: Predictor) -> None:
    import cv2

    made = hospital(np.arange(9) % 3)
    drawn = panels(made.shown, heat_of(HeatMaps.of(predictor, made.test), 0))
    picture = cv2.imdecode(np.frombuffer(drawn, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (5 * 200 + 4 * 6, 4 * 200, 3)
