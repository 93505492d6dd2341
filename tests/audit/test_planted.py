"""What the audit says of planted networks: constant, random, inverted, source-reader, perfect."""

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from cxrflow.audit.audit import audit, conclude
from cxrflow.audit.context import Audited
from cxrflow.audit.registry import TESTS
from cxrflow.audit.verdicts import Result
from cxrflow.audit.words import CLEAR, MOOT, YES
from cxrflow.evaluation.learned import not_learned
from cxrflow.images.prepare import steps_digest
from cxrflow.network import LoadedNetwork
from cxrflow.predictor import Predictor
from cxrflow.task import Task

N = 960


def planted(hospital: Callable[..., Audited], task: Task, kind: str) -> Audited:
    """Half of the pictures for training, each source with 80 % of its pictures of one class."""
    rng, k = np.random.default_rng(4), len(task.order)
    source = rng.integers(0, k, N // 2).repeat(2)
    labels = np.where(rng.random(N) < 0.8, source, rng.integers(0, k, N))
    context = hospital(labels, task=task, split=np.where(np.arange(N) // 2 % 2, "train", "test"))
    context.dataset.records["source"] = [f"hospital {s}" for s in source]
    tested = (context.dataset.records.split == "test").to_numpy()
    source, labels = source[tested], labels[tested]
    scores = {
        "constant": np.tile([0.5, *[0.1] * (k - 1)], (len(labels), 1)),
        "random": rng.random((len(labels), k)),
        "inverted": 1.05 - np.eye(k)[labels],
        "source-reader": 0.05 + np.eye(k)[source],
        "perfect": 0.05 + np.eye(k)[labels],
    }[kind]
    context.predictions["source"] = [f"hospital {s}" for s in source]
    context.predictions[list(task.order)] = scores / scores.sum(axis=1, keepdims=True)
    return context


@pytest.mark.parametrize("classes", ["two_classes", "task", "four_classes"])
@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("constant", "is not above chance"),
        ("random", "is not above chance"),
        ("inverted", "is below chance"),
        ("source-reader", "is not above that of a table without a pixel"),
        ("perfect", None),
    ],
)
def test_a_network_that_has_learned_nothing_is_cleared_of_nothing(
    hospital: Callable[..., Audited], request: pytest.FixtureRequest, classes: str, kind: str, why: str | None
) -> None:
    """Even if every test by itself clears it."""
    task: Task = request.getfixturevalue(classes)
    context = planted(hospital, task, kind)
    nothing = not_learned(context.compared["b"], context.compared["difference"])
    assert (nothing is None) == (why is None)
    assert why is None or why in str(nothing)
    results = {name: Result(CLEAR, "Words.", {}, ()) for name in TESTS}
    summary = conclude(results, context.predictions, task, nothing)
    assert summary.apart == []
    assert summary.verdicts[CLEAR] == (len(TESTS) if why is None else 0)


def test_the_whole_audit_clears_a_constant_network_of_nothing(
    hospital: Callable[..., Audited], untrained: Callable[[Task], Predictor], task: Task
) -> None:
    def constant(trained: LoadedNetwork) -> nn.Module:
        module = copy.deepcopy(trained.module)
        with torch.no_grad():
            module[-1].weight.zero_()
            module[-1].bias.copy_(torch.tensor([2.0, 0, 0]))
        return module

    labels = np.arange(144) // 2 % 3
    split = np.array(["train", "val", "test"])[np.arange(144) // 6 % 3]
    context = hospital(labels, task=task, split=split)
    context.predictor = untrained(task).with_modules(constant)
    context.predictions[list(task.order)] = context.predictor.score(context.dataset.split("test"))
    sizes = context.params.audit.model_copy(update={"heat_maps": 6, "retrain_epochs": 0})
    context.params = context.params.model_copy(update={"audit": sizes})
    summary = audit(context)
    assert (summary.verdicts[CLEAR], summary.verdicts[YES]) == (0, 0)
    assert "0.50 (0.50 to 0.50), is not above chance" in summary.results["swaps"].words
    assert "does not explain" not in summary.results["baseline"].words
    assert summary.results["sanity"].words.endswith("not known to depend on what was learned.")


@pytest.mark.parametrize(
    ("changed", "moot"),
    [
        ("one source", {"source_probe", "gap"}),
        ("masks", {"retraining", "where", "swaps"}),
        ("neither", set()),
    ],
)
def test_a_test_without_a_subject_does_not_apply(
    hospital: Callable[..., Audited], untrained: Callable[[Task], Predictor], task: Task, changed: str, moot: set[str]
) -> None:
    labels = np.arange(72) // 2 % 3
    context = hospital(labels, task=task, split=np.array(["train", "val", "test"])[np.arange(72) // 6 % 3])
    context.predictor = untrained(task)
    sizes = context.params.audit.model_copy(update={"heat_maps": 4, "retrain_epochs": 0})
    context.params = context.params.model_copy(update={"audit": sizes})
    if changed == "one source":
        context.dataset.records["source"] = context.predictions["source"] = "hospital"
    if changed == "masks":
        masked = {"lungs": "learned", "lungs_use": "mask"}
        steps = context.params.images.model_copy(update=masked)
        context.params = context.params.model_copy(update={"images": steps})
        store = replace(context.dataset.store, steps=steps_digest(steps))
        context.dataset = replace(context.dataset, stores=(store,))
        bundle = context.predictor.bundle
        network = bundle.networks[0].model_copy(update={"images": steps})
        context.predictor.bundle = bundle.model_copy(update={"networks": (network,)})
        context.predictor.networks = [LoadedNetwork(network, each.module) for each in context.predictor.networks]
    summary = audit(context)
    assert {name for name, result in summary.results.items() if result.verdict == MOOT} == moot | {"letters"}
    reason = {"one source": "one source, hospital", "masks": "black already (images.lungs_use: mask)"}.get(changed, "")
    assert all(reason in summary.results[name].words for name in moot)
