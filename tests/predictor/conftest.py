"""Bundles with random weights, of any task and network."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from cxrflow.bundle import Bundle, Network
from cxrflow.bundle_files import seen_rows, write_bundle
from cxrflow.models import find_model
from cxrflow.params import Images, Params
from cxrflow.task import Task


@pytest.fixture(scope="session")
def bundle_of(demo_params: Params, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes a bundle; its folder. ``more`` are further fields of its description."""

    def write(
        task: Task, model: str = "crnn", channels: int = 1, images: Images = demo_params.images, **more: Any
    ) -> Path:
        torch.manual_seed(1)
        bundle = Bundle(
            cxrflow="0",
            task=task,
            networks=(
                Network(
                    model=model,
                    images=images.model_copy(update={"channels": channels}),
                    mean=0.4,
                    std=0.2,
                    temperature=2.0,
                    epoch=0,
                    validation={},
                ),
            ),
            sources={},
            digests={},
            **more,
        )
        network = find_model(model).build(channels, len(task.order))
        network.train()(torch.randn(8, channels, 48, 48))  # some statistics for batch normalisation
        empty = pd.DataFrame({"split": [], "content_hash": [], "near_hash": [], "patient_id": []})
        folder = tmp_path_factory.mktemp("bundle")
        write_bundle(folder, [network], bundle, seen_rows(empty))
        return folder

    return write
