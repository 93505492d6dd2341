"""The source told from pictures, where it gives the class away and where it does not."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from cxrflow.audit.context import Audited
from cxrflow.audit.source_probe import network_features, probe
from cxrflow.audit.verdicts import FOUND, NOT_FOUND
from cxrflow.predictor import Predictor
from cxrflow.task import Task


def by_level(context: Audited) -> tuple[np.ndarray, np.ndarray]:
    """One feature: how bright the picture is."""
    return tuple(images.mean(axis=(1, 2))[:, None] for images in (context.train.pixels(), context.test.images))


@pytest.mark.parametrize(
    ("classes", "tied"), [("task", True), ("task", False), ("two_classes", True), ("four_classes", False)]
)
def test_a_source_that_shows_is_a_shortcut_where_it_tells_the_class(
    hospital: Callable[..., Audited], request: pytest.FixtureRequest, classes: str, tied: bool
) -> None:
    """Sources differ by their brightness; their shares of the classes differ, or not."""
    task, rng = request.getfixturevalue(classes), np.random.default_rng(1)
    k = len(task.order)
    labels = np.tile(np.arange(k), 80)
    context = hospital(labels, labels * 0, task=task, split=np.repeat(["train", "test"], 40 * k))
    usual = labels if tied else rng.permutation(labels)
    place = np.where(rng.random(len(labels)) < 0.7, usual, rng.integers(0, k, len(labels)))
    images = context.dataset.store.images
    images[:] = np.clip(images.astype(int) + 20 * place[:, None, None], 0, 255)
    records = context.dataset.records
    records["source"], records["group_id"] = [f"s{each}" for each in place], records.image_id
    found = probe(context, *by_level(context))
    assert found.verdict == (FOUND if tied else NOT_FOUND)
    told = found.figures["source"]["small picture"]
    assert told["overall"].value > 0.9
    assert told["within a class"].low > 0.6
    assert set(told) == {"overall", *task.order, "within a class"}
    if tied:
        assert found.figures["class_from_source"].value > 0.75


def test_one_source_cannot_be_told(hospital: Callable[..., Audited]) -> None:
    labels = np.tile(np.arange(3), 80)
    context = hospital(labels, sources=1, split=np.repeat(["train", "test"], 120))
    found = probe(context, *by_level(context))
    assert found.verdict != FOUND
    assert "fewer than two sources" in found.figures["source"]["features"]["overall"].reason


def test_features_are_what_the_last_layer_sees(untrained: Callable[..., Predictor], task: Task) -> None:
    predictor = untrained(task)
    images = np.random.default_rng(1).integers(0, 256, (70, 32, 32)).astype(np.uint8)
    features = network_features(predictor, (images[:64], images[64:]))
    assert features.shape == (70, 256)
    with torch.no_grad():
        logits = predictor.network[-1](torch.from_numpy(features)).double().softmax(dim=1).numpy()
    assert logits == pytest.approx(predictor.scores(images), abs=1e-5)


def test_without_a_linear_layer_features_are_the_means_of_the_last_planes(
    untrained: Callable[..., Predictor], task: Task
) -> None:
    predictor = untrained(task)
    whole = predictor.network
    predictor.use(torch.nn.Sequential(*whole[:6], torch.nn.Conv2d(16, 3, 8), torch.nn.Flatten()))
    images = np.random.default_rng(1).integers(0, 256, (5, 32, 32)).astype(np.uint8)
    with torch.no_grad():
        planes = whole[:4](predictor.to_tensor(images)).mean(dim=(2, 3)).numpy()
    assert network_features(predictor, [images]) == pytest.approx(planes, abs=1e-5)
