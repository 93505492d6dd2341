"""A tiny hospital whose pictures have a disease in their lungs and a mark at their border; networks that read one."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from cxrflow.audit.context import Audited
from cxrflow.bundle import Bundle, Network
from cxrflow.bundle_files import seen_rows, write_bundle
from cxrflow.dataset import Dataset
from cxrflow.images.prepare import Store, steps_digest
from cxrflow.images.steps import Window
from cxrflow.models import MODELS
from cxrflow.models.model import Model
from cxrflow.params import Params
from cxrflow.predictor import Predictor
from cxrflow.records import Record, to_frame
from cxrflow.task import Task

SIDE = 32
LUNGS = np.zeros((SIDE, SIDE), np.bool_)
LUNGS[8:24, 6:14] = LUNGS[8:24, 18:26] = True
#: Where the disease shows, and where the mark does: no pixel of the mark lies in the lungs.
REGIONS = {"disease": np.s_[:, 10:20, 7:13], "mark": np.s_[:, 1:4, 1:10]}
STEP = 48  # grey levels between a class's disease or mark and the next one's

Scores = Callable[[np.ndarray], np.ndarray]


@pytest.fixture
def hospital(demo_params: Params, tmp_path: Path) -> Callable[..., Audited]:
    """Makes an audit's context of ``labels``, the class numbers of two pictures a group: grey noise, lungs, disease as
    bright as the class says, and a mark as bright as ``mark`` (as the class where it is not given). The network is sure
    of the class that it ``reads`` off the brightness of the disease or of the mark, or scores as a function does."""

    def make(
        labels: np.ndarray,
        mark: np.ndarray | None = None,
        *,
        task: Task | None = None,
        reads: str | Scores = "disease",
        sources: int = 2,
        seed: int = 0,
        split: str | np.ndarray = "test",
        **training: object,
    ) -> Audited:
        task, n, rng = task or demo_params.task, len(labels), np.random.default_rng(seed)
        images = rng.integers(90, 110, (n, SIDE, SIDE))
        for region, amount in (("disease", labels), ("mark", labels if mark is None else mark)):
            images[REGIONS[region]] += STEP * amount[:, None, None]
        places = rng.integers(0, sources, n)
        listed = [Record(f"t:{k}", f"s{place}", f"t/{k}.png") for k, place in enumerate(places)]
        hashes = [f"{k:081x}" for k in range(n)]
        records = to_frame(listed).assign(
            label=[task.order[k] for k in labels],
            content_hash=hashes,
            near_hash=hashes,
            turned=False,
            group_id=[f"g{k // 2}" for k in range(n)],
            split=split,
        )
        steps = demo_params.images.model_copy(update={"size": SIDE})
        index = records[["image_id", "content_hash"]].assign(left_out=None)
        index = index.assign(**Window(0, 0, SIDE, SIDE, SIDE)._asdict())
        lungs = np.repeat(LUNGS[None], n, axis=0)
        dataset = Dataset.join(records, Store(images.astype(np.uint8), lungs, index, steps_digest(steps)), task)
        small = {"model": "tiny", "learning_rate": 3e-3, "batch_size": 20, "positive_share": None}
        params = demo_params.model_copy(
            update={
                "task": task,
                "images": steps,
                "training": demo_params.training.model_copy(update=small | training),
                "evaluation": demo_params.evaluation.model_copy(update={"bootstrap": 100, "seed": 0}),
                "audit": demo_params.audit.model_copy(update={"heat_maps": 40, "retrain_size": SIDE}),
            }
        )
        scores = reader(REGIONS[reads], len(task.order)) if isinstance(reads, str) else reads
        bundle = SimpleNamespace(task=task, steps=[steps])
        predictor = SimpleNamespace(scores=lambda views: scores(views[0]), bundle=bundle)
        table = predictions_of(dataset.split("test"), scores)
        return Audited(predictor, dataset, table, params, tmp_path, tmp_path / "audit", tmp_path / "ledger.csv")  # type: ignore[arg-type]

    return make


def reader(region: tuple, classes: int) -> Scores:
    """Scores that are sure of the class that the brightness of a region of the picture stands for."""

    def scores(images: np.ndarray) -> np.ndarray:
        level = (images[region].astype(float).mean(axis=(1, 2)) - 100) / STEP
        weights = np.exp(-8 * (level[:, None] - np.arange(classes)) ** 2)
        return weights / weights.sum(axis=1, keepdims=True)

    return scores


def predictions_of(test: Dataset, scores: Scores) -> pd.DataFrame:
    """The table that evaluation would write."""
    table = test.records[["image_id", "source", "group_id", "label"]].copy()
    if len(table):
        probabilities = scores(test.pixels())
        table["prediction"] = [test.task.order[k] for k in probabilities.argmax(axis=1)]
        table[list(test.task.order)] = probabilities
    return table


def build_tiny(channels: int, classes: int) -> nn.Module:
    """Two convolutions that see where a picture is bright, some thousand weights."""
    return nn.Sequential(
        nn.Conv2d(channels, 8, 5, stride=2, padding=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(256, classes),
    )


@pytest.fixture(autouse=True, scope="session")
def tiny_network() -> None:
    """A network that trains in a second, for as long as these tests run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, "tiny", Model(build_tiny, lambda network, _: network[3], SIDE))
        yield


@pytest.fixture(scope="session")
def untrained(demo_params: Params, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Task], Predictor]:
    """Makes a predictor of a task whose network has random weights, for pictures of SIDE pixels."""

    def make(task: Task) -> Predictor:
        torch.manual_seed(1)
        images = demo_params.images.model_copy(update={"size": SIDE})
        bundle = Bundle(
            cxrflow="0",
            task=task,
            networks=(
                Network(model="tiny", images=images, mean=0.4, std=0.2, temperature=1.0, epoch=0, validation={}),
            ),
            sources={},
            digests={},
        )
        folder = tmp_path_factory.mktemp("bundle")
        network = MODELS["tiny"].build(1, len(task.order))
        network.train()(torch.randn(8, 1, SIDE, SIDE))  # statistics for batch normalisation
        empty = pd.DataFrame({"split": [], "content_hash": [], "near_hash": [], "patient_id": []})
        write_bundle(folder, [network], bundle, seen_rows(empty))
        return Predictor(folder)

    return make
