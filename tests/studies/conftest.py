"""Small data sets of any task, parameters of short trainings, and a training that writes an untrained network."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cxrflow.bundle import Bundle, Network
from cxrflow.bundle_files import seen_rows, write_bundle
from cxrflow.dataset import Dataset
from cxrflow.images.prepare import Store, steps_digest
from cxrflow.models import MODELS
from cxrflow.params import Images, Params
from cxrflow.task import Task


@pytest.fixture(scope="session")
def short(demo_params: Params) -> Callable[..., Params]:
    """Parameters of a small network, pictures of 32 pixels and few resamples; ``training`` changes more."""

    def make(task: Task | None = None, **training: Any) -> Params:
        constant = demo_params.training.schedule.model_copy(update={"name": "step"})
        small = {"model": "crnn", "epochs": 1, "batch_size": 32, "schedule": constant} | training
        return demo_params.model_copy(
            update={
                "task": task or demo_params.task,
                "images": demo_params.images.model_copy(update={"size": 32}),
                "training": demo_params.training.model_copy(update=small),
                "evaluation": demo_params.evaluation.model_copy(update={"bootstrap": 40}),
            }
        )

    return make


@pytest.fixture(scope="session")
def drawn_set(short: Callable[..., Params]) -> Callable[..., Dataset]:
    """Makes a data set of a task from (source, label, count): each image of a group of its own, and the brightest part
    of the picture, from left to right, is the class. ``columns`` of the records stand in place of these."""

    def make(task: Task, plan: Sequence[tuple[str, str, int]], **columns: Any) -> Dataset:
        rows = [(source, label) for source, label, count in plan for _ in range(count)]
        count, width = len(rows), 30 // len(task.order)
        pictures = np.random.default_rng(0).integers(60, 120, (count, 32, 32)).astype(np.uint8)
        for picture, (_, label) in zip(pictures, rows, strict=True):
            at = width * task.order.index(label)
            picture[:, at : at + width] += 60
        records = pd.DataFrame(rows, columns=["source", "label"]).assign(
            image_id=[f"{source}:{k}" for k, (source, _) in enumerate(rows)],
            path=[f"{source}/{k}.png" for k, (source, _) in enumerate(rows)],
            group_id=[f"p{k}" for k in range(count)],
            content_hash=[f"{k:064x}" for k in range(count)],
            near_hash=[f"{k * 7919:081x}" for k in range(count)],
            split="train",
            left_out=None,
            paediatric=False,
            view=None,
            age=np.nan,
            sex=None,
        )
        records = records.assign(**columns)
        records["patient_id"] = records.group_id
        index = records[["image_id", "content_hash"]].assign(left_out=None)
        return Dataset.join(records, Store(pictures, None, index, steps_digest(short().images)), task)

    return make


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> Callable[[ModuleType], list[Dataset]]:
    """Replaces ``train`` of a study's module by one that writes an untrained network; what it was given, in order."""

    def replace(module: ModuleType) -> list[Dataset]:
        given: list[Dataset] = []

        def train(
            dataset: Dataset, images: Images, params: Any, out: Path, classes: Sequence[str] = (),
            features: Any = None, to_follow: int = 0, drawn: bool = False,
        ) -> None:  # fmt: skip
            given.append(dataset)
            network = MODELS["crnn"].build(images.channels, len(dataset.task.order))
            bundle = Bundle(
                cxrflow="0",
                task=dataset.task,
                networks=(
                    Network(model="crnn", images=images, mean=0.5, std=0.2, temperature=1.0, epoch=0, validation={}),
                ),
                sources={},
                digests={},
            )
            used = dataset.split("train", "val").records
            write_bundle(out / "bundle", [network], bundle, seen_rows(used))

        monkeypatch.setattr(module, "train", train)
        return given

    return replace
