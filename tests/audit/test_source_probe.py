"""The source told from pictures, where it gives the class away and where it does not."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from cxrflow.audit.context import Audited
from cxrflow.audit.source_probe import Features, probe, run, without_finding
from cxrflow.audit.untrained import as_begun
from cxrflow.audit.untrained import untrained as fresh
from cxrflow.audit.words import CLEAR, FOUND
from cxrflow.models import MODELS
from cxrflow.models.model import Pretrained
from cxrflow.network import LoadedNetwork
from cxrflow.passport import Passport
from cxrflow.predictor import Predictor
from cxrflow.task import Task


def by_level(context: Audited) -> Features:
    """One feature: how bright the picture is."""
    return Features(*(images.mean(axis=(1, 2))[:, None] for images in (context.train.pixels(), context.test.pixels())))


def blind(context: Audited, seed: int) -> Features:
    """One feature, noise."""
    rng = np.random.default_rng(seed)
    return Features(*(rng.normal(size=(len(side), 1)) for side in (context.train, context.test)))


@pytest.fixture
def hospitals(hospital: Callable[..., Audited]) -> Callable[..., Audited]:
    """Makes hospitals that differ by the brightness of their pictures; 80 % of a class are in its own, or as many in
    each."""

    def make(task: Task, tied: bool) -> Audited:
        rng, k = np.random.default_rng(1), len(task.order)
        labels = np.tile(np.arange(k), 300)
        context = hospital(labels, labels * 0, task=task, split=np.repeat(["train", "test"], 150 * k))
        usual = labels if tied else rng.permutation(labels)
        place = np.where(rng.random(len(labels)) < 0.7, usual, rng.integers(0, k, len(labels)))
        images = context.dataset.store.images
        images[:] = np.clip(images.astype(int) + 20 * place[:, None, None], 0, 255)
        records = context.dataset.records
        records["source"], records["group_id"] = [f"s{each}" for each in place], records.image_id
        return context

    return make


@pytest.mark.parametrize(
    ("classes", "tied"), [("task", True), ("task", False), ("two_classes", True), ("four_classes", False)]
)
def test_a_source_that_was_learned_is_a_shortcut_where_it_tells_the_class(
    hospitals: Callable[..., Audited], request: pytest.FixtureRequest, classes: str, tied: bool
) -> None:
    task = request.getfixturevalue(classes)
    context = hospitals(task, tied)
    found = probe(context, by_level(context), [blind(context, k) for k in range(3)])
    assert found.verdict == FOUND if tied else found.verdict != FOUND
    healthy = without_finding(task)
    assert found.alone == (healthy is not None)
    told = found.figures["source"]
    assert told["small picture"]["overall"].value > 0.9
    assert told["features"]["within a class"].low > 0.6
    learned = told["learned"][healthy or "within a class"]
    assert learned.value == found.figures["learned"].value > 0.2
    if tied:
        assert found.figures["class_from_source"].value > 0.75


def test_a_source_that_untrained_networks_tell_as_well_was_not_learned(
    hospitals: Callable[..., Audited], task: Task
) -> None:
    """However well the features tell it: this is a property of the pictures."""
    context = hospitals(task, True)
    seen = by_level(context)
    found = probe(context, seen, [seen] * 3)
    assert found.verdict == CLEAR
    assert found.figures["source"]["features"]["overall"].value > 0.9
    assert found.figures["learned"].value == pytest.approx(0, abs=1e-9)


def test_the_difference_is_that_of_scikit_learn(hospitals: Callable[..., Audited], two_classes: Task) -> None:
    context = hospitals(two_classes, True)
    seen, noise = by_level(context), blind(context, 0)
    found = probe(context, seen, [noise]).figures["source"]
    train, test = context.train.records.source == "s1", context.test.records.source == "s1"
    areas = []
    for view in (seen, noise):
        sign = np.corrcoef(view.train[:, 0], train)[0, 1]
        areas.append(roc_auc_score(test, np.sign(sign) * view.test[:, 0]))
    assert found["features"]["overall"].value == pytest.approx(areas[0])
    assert found["untrained"]["overall"].value == pytest.approx(areas[1])
    assert found["learned"]["overall"].value == pytest.approx(areas[0] - areas[1])


def test_one_source_cannot_be_told(hospital: Callable[..., Audited]) -> None:
    labels = np.tile(np.arange(3), 80)
    context = hospital(labels, sources=1, split=np.repeat(["train", "test"], 120))
    found = probe(context, by_level(context), [blind(context, 0)])
    assert found.verdict != FOUND
    assert "fewer than two sources" in found.figures["source"]["features"]["overall"].reason
    assert "fewer than two sources" in found.figures["learned"].reason


def test_twins_have_fresh_weights_and_the_statistics_of_these_pictures(
    hospital: Callable[..., Audited], untrained: Callable[..., Predictor]
) -> None:
    context = hospital(np.arange(48) % 3, split="train")
    context.predictor = untrained(context.task)
    first, second = fresh(context, 2)
    twins = [first, fresh(context, 1)[0], second]
    modules = [predictor.networks[0].module for predictor in (context.predictor, *twins)]
    weights = [module[0].weight for module in modules]
    assert torch.equal(weights[1], weights[2])
    assert not torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[1], weights[3])
    images = context.train.pixels()
    with torch.no_grad():
        planes = modules[1][:2](twins[0].networks[0].to_tensor(images))
    assert planes.mean(dim=(0, 2, 3)).numpy() == pytest.approx(0, abs=0.02)
    assert planes.std(dim=(0, 2, 3)).numpy() == pytest.approx(1, abs=0.02)
    assert not modules[1].training


def test_what_twins_with_the_same_weights_see_is_computed_once(
    hospital: Callable[..., Audited], untrained: Callable[..., Predictor], monkeypatch: pytest.MonkeyPatch
) -> None:
    split = np.repeat(["train", "test"], 24)
    context = hospital(np.arange(48) % 3, split=split, start="imagenet")
    torch.manual_seed(9)
    pretrained = Pretrained(
        MODELS["tiny"].architecture(3, 1000).state_dict(), "pictures", (0.4,) * 3, (0.2,) * 3, Passport(name="x")
    )
    monkeypatch.setitem(MODELS, "tiny", replace(MODELS["tiny"], imagenet=lambda: pretrained))
    context.predictor, seen, compute = untrained(context.task), [], LoadedNetwork.features

    def count(self: LoadedNetwork, images: np.ndarray) -> np.ndarray:
        seen.append(len(images))
        return compute(self, images)

    monkeypatch.setattr(LoadedNetwork, "features", count)
    found = run(context)
    assert sum(seen) == 2 * 48  # the network's own, and the twins'
    predictors = [context.predictor, *fresh(context, 3)]
    own, *twins = [Features(each.features(context.train), each.features(context.test)) for each in predictors]
    assert found.figures["learned"] == probe(context, own, twins).figures["learned"]


def test_features_are_what_the_last_layer_sees(untrained: Callable[..., Predictor], task: Task) -> None:
    predictor = untrained(task)
    images = np.random.default_rng(1).integers(0, 256, (70, 32, 32)).astype(np.uint8)
    features = predictor.networks[0].features(images)
    assert features.shape == (70, 256)
    with torch.no_grad():
        logits = predictor.networks[0].module[-1](torch.from_numpy(features)).double().softmax(dim=1).numpy()
    assert logits == pytest.approx(predictor.scores(images), abs=1e-5)


def test_without_a_linear_layer_features_are_the_means_of_the_last_planes(
    untrained: Callable[..., Predictor], task: Task
) -> None:
    predictor = untrained(task)
    whole = predictor.networks[0].module
    headless = torch.nn.Sequential(*whole[:6], torch.nn.Conv2d(16, 3, 8), torch.nn.Flatten())
    predictor = predictor.with_modules(lambda _: headless)
    images = np.random.default_rng(1).integers(0, 256, (5, 32, 32)).astype(np.uint8)
    with torch.no_grad():
        planes = whole[:4](predictor.networks[0].to_tensor(images)).mean(dim=(2, 3)).numpy()
    assert predictor.networks[0].features(images) == pytest.approx(planes, abs=1e-5)


def test_how_well_the_weights_before_training_tell_the_source_stands_beside_the_verdict(
    hospitals: Callable[..., Audited], task: Task
) -> None:
    context = hospitals(task, True)
    seen, noise = by_level(context), blind(context, 0)
    alone = probe(context, noise, [noise])
    beside = probe(context, noise, [noise], [seen, None, "the file is gone"])
    first, second, third = beside.figures["starts"]
    assert first == probe(context, seen, [noise]).figures["source"]["features"]["within a class"]
    assert first.low > 0.9
    assert second is None
    assert third.reason == "the file is gone"
    assert (beside.verdict, beside.words) == (alone.verdict, alone.words)
    assert beside.rows[0].figures["before training 1, within a class"] == first


def test_a_network_as_its_training_began_has_the_published_weights_and_statistics(
    hospital: Callable[..., Audited], untrained: Callable[..., Predictor], monkeypatch: pytest.MonkeyPatch
) -> None:
    context = hospital(np.arange(12) % 3, split="train", start="imagenet")
    torch.manual_seed(9)
    published = MODELS["tiny"].architecture(3, 1000)
    published(torch.randn(8, 3, 32, 32))
    passport = Passport(name="published")
    pretrained = Pretrained(published.state_dict(), "pictures", (0.4,) * 3, (0.2,) * 3, passport)
    monkeypatch.setitem(MODELS, "tiny", replace(MODELS["tiny"], imagenet=lambda: pretrained))
    context.predictor = untrained(context.task)
    assert as_begun(context) == [None]  # its bundle records no passport
    (network,) = context.predictor.bundle.networks
    bundle = context.predictor.bundle.model_copy(update={"networks": (network.model_copy(update={"start": passport}),)})
    context.predictor.bundle = bundle
    (begun,) = as_begun(context)
    assert isinstance(begun, LoadedNetwork)
    grey = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        theirs = published.eval()[:3](grey.expand(-1, 3, -1, -1))
        assert torch.allclose(begun.module[:3](grey), theirs, atol=1e-5)
    monkeypatch.setitem(MODELS, "tiny", replace(MODELS["tiny"], imagenet=None))
    (reason,) = as_begun(context)
    assert "no ImageNet weights for tiny" in str(reason)
