"""A tiny hospital whose pictures have a disease in their lungs and a mark at their border; networks that read one."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch

from cxrflow.audit.pictures import Pictures
from cxrflow.bundle import Bundle, seen_rows, write_bundle
from cxrflow.models import MODELS
from cxrflow.params import Params
from cxrflow.predictor import Predictor
from cxrflow.records import CLASSES

SIDE = 32
LUNGS = np.zeros((SIDE, SIDE), np.bool_)
LUNGS[8:24, 6:14] = LUNGS[8:24, 18:26] = True
#: Where the disease shows, and where the mark does: none of its pixels lies in the lungs.
DISEASE, MARK = np.s_[:, 10:20, 7:13], np.s_[:, 1:4, 1:10]


@pytest.fixture
def pictures() -> Callable[..., Pictures]:
    """Makes ``n`` pictures: grey noise, lungs, as much disease as the class has, and a mark as bright as ``mark`` says
    (class numbers, int (n,))."""

    def make(mark: np.ndarray, labels: np.ndarray, seed: int = 0, sources: int = 2) -> Pictures:
        n = len(labels)
        rng = np.random.default_rng(seed)
        images = rng.integers(90, 110, (n, SIDE, SIDE))
        images[DISEASE] += 50 * labels[:, None, None]
        images[MARK] += 50 * mark[:, None, None]
        table = pd.DataFrame(
            {
                "image_id": [f"t:{k}" for k in range(n)],
                "source": [f"s{k}" for k in rng.integers(0, sources, n)],
                "label": [CLASSES[k] for k in labels],
                "group_id": [f"g{k // 2}" for k in range(n)],
            }
        )
        return Pictures(table, images.astype(np.uint8), np.repeat(LUNGS[None], n, axis=0))

    return make


@pytest.fixture
def reader() -> Callable[[tuple], Callable[[np.ndarray], np.ndarray]]:
    """Makes scores that are sure of the class that the brightness of a region of the picture stands for."""

    def make(region: tuple) -> Callable[[np.ndarray], np.ndarray]:
        def scores(images: np.ndarray) -> np.ndarray:
            level = (images[region].astype(float).mean(axis=(1, 2)) - 100) / 50
            weights = np.exp(-8 * (level[:, None] - np.arange(3)) ** 2)
            return weights / weights.sum(axis=1, keepdims=True)

        return scores

    return make


@pytest.fixture(scope="session")
def predictor(demo_params: Params, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """A ResNet-18 with random weights for pictures of SIDE pixels."""
    torch.manual_seed(1)
    images = demo_params.images.model_copy(update={"size": SIDE})
    bundle = Bundle(
        cxrflow="0", model="resnet18", classes=CLASSES, images=images, mean=0.4, std=0.2, temperature=1.0,
        sources={}, epoch=0, validation={}, digests={},
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("bundle")
    network = MODELS["resnet18"].build(1, 3)
    network.train()(torch.randn(8, 1, SIDE, SIDE))  # some statistics for batch normalisation
    empty = pd.DataFrame({"split": [], "content_hash": [], "near_hash": [], "patient_id": []})
    write_bundle(folder, network, bundle, seen_rows(empty))
    return Predictor(folder)
