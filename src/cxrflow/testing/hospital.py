"""A tiny hospital for tests of the audit: pictures with a disease in their lungs and a mark at their border, and
networks that read one of the two."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from cxrflow.audit.context import Audited
from cxrflow.bundle import Bundle, Network
from cxrflow.bundle_files import seen_rows, write_bundle
from cxrflow.dataset import Dataset
from cxrflow.images.prepare import Store, steps_digest
from cxrflow.images.steps import Window
from cxrflow.models import MODELS
from cxrflow.models.model import Model
from cxrflow.params import Images, Params
from cxrflow.predictor import Predictor
from cxrflow.records import Record, to_frame
from cxrflow.task import Task

SIDE = 32
LUNGS = np.zeros((SIDE, SIDE), np.bool_)
LUNGS[8:24, 6:14] = LUNGS[8:24, 18:26] = True
#: Where the disease shows, and where the mark does: no pixel of the mark lies in the lungs.
REGIONS = {"disease": np.s_[:, 10:20, 7:13], "mark": np.s_[:, 1:4, 1:10]}
STEP = 48  # grey levels between a class's disease or mark and the next one's

Scores = Callable[[NDArray[np.uint8]], NDArray[np.float64]]


def hospital(
    params: Params,
    folder: Path,
    labels: NDArray[np.integer[Any]],
    mark: NDArray[np.integer[Any]] | None = None,
    *,
    task: Task | None = None,
    reads: str | Scores = "disease",
    sources: int = 2,
    seed: int = 0,
    split: str | NDArray[np.str_] = "test",
    **training: object,
) -> Audited:
    """An audit's context of ``labels``, the class numbers of two pictures a group: grey noise, lungs, disease as bright
    as the class says, and a mark as bright as ``mark`` (as the class where it is not given). The network is sure of the
    class that it ``reads`` off the brightness of the disease or of the mark, or scores as a function does.

    params    of which task, training and more are changed to what is small
    folder    for what the audit writes
    training  changes to ``params.training``, whose network is ``tiny`` (``tiny_network``)
    """
    task, n, rng = task or params.task, len(labels), np.random.default_rng(seed)
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
    steps = params.images.model_copy(update={"size": SIDE})
    index = records[["image_id", "content_hash"]].assign(left_out=None)
    index = index.assign(**Window(0, 0, SIDE, SIDE, SIDE)._asdict())
    lungs = np.repeat(LUNGS[None], n, axis=0)
    dataset = Dataset.join(records, Store(images.astype(np.uint8), lungs, index, steps_digest(steps)), task)
    small = {"model": "tiny", "learning_rate": 3e-3, "batch_size": 20, "positive_share": None}
    changed = params.model_copy(
        update={
            "task": task,
            "images": steps,
            "training": params.training.model_copy(update=small | training),
            "evaluation": params.evaluation.model_copy(update={"bootstrap": 100, "seed": 0}),
            "audit": params.audit.model_copy(update={"heat_maps": 40, "retrain_size": SIDE}),
        }
    )
    scores = reader(REGIONS[reads], len(task.order)) if isinstance(reads, str) else reads
    bundle = SimpleNamespace(task=task, steps=[steps])
    predictor = cast(Predictor, SimpleNamespace(scores=lambda views: scores(views[0]), bundle=bundle))
    table = predictions_of(dataset.split("test"), scores)
    return Audited(predictor, dataset, table, changed, folder, folder / "audit", folder / "ledger.csv")


def whole_context(params: Params, folder: Path, task: Task) -> Audited:
    """The hospital with a real network of random weights, on all sides of the split. Inside ``tiny_network``."""
    n = 48 * len(task.order)
    labels = np.arange(n) // 2 % len(task.order)
    split = np.array(["train", "val", "test"])[np.arange(n) // 2 // len(task.order) % 3]
    made = hospital(params, folder, labels, task=task, split=split)
    made.predictor = untrained(params.images, folder / "bundle", task)
    probabilities = made.predictor.score(made.dataset.split("test"))
    made.predictions[list(task.order)] = probabilities
    made.predictions["prediction"] = [task.order[k] for k in probabilities.argmax(axis=1)]
    made.params = made.params.model_copy(
        update={"audit": made.params.audit.model_copy(update={"heat_maps": 6, "retrain_epochs": 1})}
    )
    return made


def reader(region: Any, classes: int) -> Scores:
    """Scores that are sure of the class that the brightness of a region of the picture stands for."""

    def scores(images: NDArray[np.uint8]) -> NDArray[np.float64]:
        level = (images[region].astype(float).mean(axis=(1, 2)) - 100) / STEP
        weights = np.exp(-8 * (level[:, None] - np.arange(classes)) ** 2)
        return np.asarray(weights / weights.sum(axis=1, keepdims=True))

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


def _last_convolution(network: nn.Module, size: int) -> nn.Module:
    return network.get_submodule("3")


@contextmanager
def tiny_network() -> Iterator[None]:
    """Context manager in which ``tiny`` is the name of a network that trains in a second."""
    with patch.dict(MODELS, tiny=Model(build_tiny, _last_convolution, SIDE)):
        yield


def untrained(images: Images, folder: Path, task: Task) -> Predictor:
    """A predictor of a task whose network ``tiny`` has random weights, for pictures of SIDE pixels; its bundle is
    written into ``folder``."""
    torch.manual_seed(1)
    steps = images.model_copy(update={"size": SIDE})
    bundle = Bundle(
        cxrflow="0",
        task=task,
        networks=(Network(model="tiny", images=steps, mean=0.4, std=0.2, temperature=1.0, epoch=0, validation={}),),
        sources={},
        digests={},
    )
    network = MODELS["tiny"].build(1, len(task.order))
    network.train()(torch.randn(8, 1, SIDE, SIDE))  # statistics for batch normalisation
    empty = pd.DataFrame({"split": [], "content_hash": [], "near_hash": [], "patient_id": []})
    write_bundle(folder, [network], bundle, seen_rows(empty))
    return Predictor(folder)
