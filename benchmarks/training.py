"""Speed of the training loop, compared with the same network on a fixed random tensor and with contiguous layout.

    python benchmarks/training.py FOLDER [--images N] [--out results/bench.json]

FOLDER holds collections as for `make run`. With ResNet-18 at 224 pixels and batches of 32, it measures (a) Lightning's
loop as in training, with real stored images, balanced batches, augmentation and the exponential moving average of the
weights; (b) the ceiling: forward, backward and optimiser step of the same network and memory layout on one fixed random
tensor; (c) forward, backward and optimiser step on real, augmented images in contiguous layout; (d) the same in the
layout used in training, channels last. The loops alternate, so that drifts of the machine's speed affect all of them;
figures are medians over rounds.
"""

import argparse
import itertools
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import WeightAveraging
from rich.console import Console
from torch.utils.data import DataLoader

from cxrflow.dataset import Dataset
from cxrflow.engines import LocalEngine
from cxrflow.files import write_json
from cxrflow.images.prepare import prepare_images
from cxrflow.models import find_model
from cxrflow.models.model import to_input
from cxrflow.params import load_params
from cxrflow.training.augmentation import augment
from cxrflow.training.checkpoints import keep_memory
from cxrflow.training.data import BalancedBatches, RadiographBatches
from cxrflow.training.fit import moving_average
from cxrflow.training.module import TrainingModule
from images import STEPS, radiographs

_ROUNDS, _BATCHES, _BATCH = 12, 2, 32
_PARAMS = load_params(Path(__file__).parents[1] / "params.yaml")
TASK, TRAINING = _PARAMS.task, _PARAMS.training
#: Mean and standard deviation of the pixels; speed does not depend on them.
_SCALE = (0.5, 0.25)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--out", type=Path, default=Path("results/bench.json"))
    asked = parser.parse_args()
    keep_memory()
    with tempfile.TemporaryDirectory() as folder:
        data = stored(asked.folder, asked.images, Path(folder))
        turns = _Turns(
            {
                "ceiling": _loop(_fixed(), torch.channels_last),
                "channels_last": _loop(_real(data), torch.channels_last),
                "plain": _loop(_real(data), torch.contiguous_format),
            }
        )
        _train(data, turns)
    seconds = {name: times[1:] for name, times in turns.seconds.items()}  # the first round allocates
    rates = {name: _BATCHES * _BATCH / statistics.median(times) for name, times in seconds.items()}
    figures = {
        "per_second": rates,
        "share_of_ceiling": rates["training"] / rates["ceiling"],
        "speedup_plain": rates["channels_last"] / rates["plain"],
    }
    kept = json.loads(asked.out.read_text()) if asked.out.exists() else {}
    write_json(asked.out, kept | {"training": kept.get("training", {}) | figures})
    Console().print(
        f"ResNet-18 at {STEPS.size}: {rates['training']:.1f} images/s, {figures['share_of_ceiling']:.0%} of a fixed "
        f"tensor's {rates['ceiling']:.1f}; {rates['channels_last']:.1f} without Lightning, "
        f"{figures['speedup_plain']:.2f} times plain layout's {rates['plain']:.1f}."
    )


def stored(root: Path, count: int, out: Path) -> RadiographBatches:
    """Real images, prepared and stored, with random classes: speed does not depend on them."""
    files = [f"{p.relative_to(root)}" for p in radiographs(root)[:count]]
    records = pd.DataFrame({"image_id": files, "path": files, "content_hash": files, "turned": False})
    store = prepare_images(records, root, STEPS, LocalEngine(), out / "images")
    labels = np.random.default_rng(0).choice(TASK.order, len(files))
    return RadiographBatches(Dataset.join(records.assign(label=labels), store, TASK))


class _Turns(lightning.Callback):
    """After each round of training steps, runs a round of every other loop; ``seconds`` holds the times by loop."""

    def __init__(self, loops: dict[str, Callable[[], None]]) -> None:
        self._loops, self._begun = loops, time.perf_counter()
        self.seconds: dict[str, list[float]] = {name: [] for name in ("training", *loops)}

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if (batch_idx + 1) % _BATCHES:
            return
        self.seconds["training"].append(time.perf_counter() - self._begun)
        for name, loop in self._loops.items():
            started = time.perf_counter()
            loop()
            self.seconds[name].append(time.perf_counter() - started)
        print(f"training loops: round {len(self.seconds['training'])} of {1 + _ROUNDS}")
        self._begun = time.perf_counter()


def _train(data: RadiographBatches, turns: _Turns) -> None:
    """Training as train.py runs it, without validation and checkpoints, with ``turns`` after each round of steps."""
    module = TrainingModule(find_model("resnet18").build(1, len(TASK.order)), TASK, TRAINING, 1, _SCALE)
    full = itertools.islice(_batches(data), (1 + _ROUNDS) * _BATCHES)
    averaged = [] if TRAINING.average is None else [WeightAveraging(avg_fn=moving_average(TRAINING.average))]
    trainer = lightning.Trainer(
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
        gradient_clip_val=TRAINING.gradient_clip,
        callbacks=[*averaged, turns],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(module, DataLoader(data, sampler=list(full), batch_size=None))


def _batches(data: RadiographBatches) -> Iterator[list[int]]:
    """Full balanced batches, endlessly."""
    positive = data.labels == TASK.positive_column
    for epoch in itertools.count():
        batches = BalancedBatches(positive, _BATCH, TRAINING.positive_share, seed=0)
        batches.set_epoch(epoch)
        yield from (batch for batch in batches if len(batch) == _BATCH)


def _real(data: RadiographBatches) -> Iterator[torch.Tensor]:
    """Batches as in ``TrainingModule.training_step``, endlessly: augmented pictures in [0, 1]."""
    for step, batch in enumerate(_batches(data)):
        images, _ = data[batch]
        yield augment(images.float() / 255, TRAINING.augmentation, torch.Generator().manual_seed(step))


def _fixed() -> Iterator[torch.Tensor]:
    while True:
        yield torch.zeros(0)


def _loop(pictures: Iterator[torch.Tensor], layout: torch.memory_format) -> Callable[[], None]:
    """A function that runs a round of training steps on ``pictures``; an empty tensor stands for one fixed batch."""
    torch.manual_seed(0)
    module = TrainingModule(find_model("resnet18").build(1, len(TASK.order)), TASK, TRAINING, 1, _SCALE)
    network = module.network.to(memory_format=layout).train()
    (optimiser,), _ = module.configure_optimizers()
    fixed = torch.randn(_BATCH, 1, STEPS.size, STEPS.size).contiguous(memory_format=layout)
    labels = torch.randint(0, len(TASK.order), (_BATCH,))

    def steps() -> None:
        for images in itertools.islice(pictures, _BATCHES):
            batch = to_input(images, *module.input).contiguous(memory_format=layout) if len(images) else fixed
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(network(batch), labels).backward()
            optimiser.step()

    return steps


if __name__ == "__main__":
    main()
