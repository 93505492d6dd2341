"""A tiny data set that a network can learn: the brightest third of the picture is the class."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxrflow.images.prepare import Store, steps_digest
from cxrflow.params import Images, Params, load_params
from cxrflow.records import CLASSES

Tiny = tuple[pd.DataFrame, Store, Images]


@pytest.fixture(scope="session")
def params() -> Params:
    """The demo's parameters."""
    return load_params(Path(__file__).parents[2] / "params.yaml")


@pytest.fixture
def tiny(params: Params) -> Callable[[int], Tiny]:
    """Records, prepared images and steps of ``n`` images of 32 pixels."""

    def make(n: int = 90) -> Tiny:
        random = np.random.default_rng(0)
        labels = random.integers(0, 3, n)
        images = random.integers(60, 120, (n, 32, 32)).astype(np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[:, 10 * label : 10 * label + 10] += 60
        ids = [f"tiny:{k}" for k in range(n)]
        records = pd.DataFrame(
            {
                "image_id": ids,
                "source": "tiny",
                "patient_id": [f"tiny:p{k}" for k in range(n)],
                "group_id": ids,
                "label": [CLASSES[label] for label in labels],
                "split": np.where(np.arange(n) % 3 == 0, "val", "train"),
                "content_hash": [f"{k:064x}" for k in range(n)],
                "near_hash": [f"{k * 7919:064x}" for k in range(n)],
            }
        )
        steps = params.images.model_copy(update={"size": 32})
        index = pd.DataFrame({"image_id": ids, "content_hash": records.content_hash, "left_out": None})
        return records, Store(images, None, index, steps_digest(steps)), steps

    return make
