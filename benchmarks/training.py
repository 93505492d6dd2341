"""Speed of the training loop, compared with the same network on a fixed random tensor and with contiguous layout.

    python benchmarks/training.py FOLDER [--images N] [--out results/bench.json]

FOLDER holds collections as for `make run`. It measures (a) Lightning's loop as in training, with real stored images,
balanced batches, augmentation, gradient clipping and the moving average of the weights; (b) the ceiling: forward,
backward and optimiser step of the same network and memory layout on one fixed random tensor; (c) forward, backward and
optimiser step on real, augmented images in the layout used in training, channels last; on a CPU also (d) the same in
contiguous layout, on a GPU with batches of 128, where it and not Python limits the speed, (e) the ceiling after
``torch.compile``, with the seconds of its first step. The loops alternate, so that drifts of the machine's speed affect
all of them; figures are medians over rounds.

On a CPU: ResNet-18 at 224 pixels, batches of 32. On a GPU: ResNet-18 and EfficientNet-Lite0 at 224 pixels, batches of
32 and 128, as in training in bfloat16 with float32 weights; and the scores of 10,000 stored images.
"""

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as lightning
import torch
from tables import table
from torch.utils.data import DataLoader

from cxrflow.bundle import Network
from cxrflow.dataset import Dataset
from cxrflow.engines import LocalEngine
from cxrflow.files import Root, write_json
from cxrflow.images.prepare import prepare_images
from cxrflow.models import find_model
from cxrflow.models.model import to_input
from cxrflow.network import LoadedNetwork
from cxrflow.params_file import DEFAULTS, load_params
from cxrflow.training.augmentation import augment
from cxrflow.training.callbacks import MovingAverage
from cxrflow.training.checkpoints import accelerator, keep_memory, precision
from cxrflow.training.data import BalancedBatches, RadiographBatches
from cxrflow.training.module import TrainingModule
from images import STEPS, radiographs

DEVICE = torch.device(accelerator())
ON_GPU = DEVICE.type == "cuda"
#: Rounds, and batches in a round: a GPU's batch takes milliseconds.
_ROUNDS, _BATCHES = (8, 40) if ON_GPU else (12, 2)
RUNS = list(itertools.product(("resnet18", "timm:tf_efficientnet_lite0"), (32, 128))) if ON_GPU else [("resnet18", 32)]
_COMPILED = 128
_SCORED = 10_000
_PARAMS = load_params(DEFAULTS)
TASK = _PARAMS.task
TRAINING = _PARAMS.training.model_copy(update={"gradient_clip": 5.0})
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
        figures = {f"{model}, batches of {batch}": measure(data, model, batch) for model, batch in RUNS}
        if ON_GPU:
            figures |= {f"{model}, scores": {"per_second": scores_per_second(data, model)} for model, _ in RUNS[::2]}
    kept = json.loads(asked.out.read_text()) if asked.out.exists() else {}
    write_json(asked.out, kept | {"training": kept.get("training", {}) | figures})


def measure(data: RadiographBatches, model: str, batch: int) -> dict[str, Any]:
    """Images per second of every loop, and what they say."""
    loops = {
        "ceiling": _Loop(model, _fixed(), batch),
        "channels_last": _Loop(model, _real(data.on(DEVICE), batch), batch),
    }
    if not ON_GPU:
        loops["plain"] = _Loop(model, _real(data, batch), batch, torch.contiguous_format)
    elif batch == _COMPILED:
        loops["compiled"] = _Loop(model, _fixed(), batch, compiled=True)
    begun = _now()
    list(loops.values())[-1].steps(1)
    first = _now() - begun
    turns = _Turns(loops)
    _train(data, model, batch, turns)
    seconds = {name: times[1:] for name, times in turns.seconds.items()}  # the first round allocates
    rates = {name: _BATCHES * batch / statistics.median(times) for name, times in seconds.items()}
    share = rates["training"] / rates["ceiling"]
    rows = [
        ("training: Lightning's loop on stored images, balanced batches, augmentation, moving average", "training"),
        ("forward, backward and step of the same network on one fixed random tensor", "ceiling"),
        ("forward, backward and step on stored images with augmentation", "channels_last"),
    ]
    if "compiled" in loops:
        rows.append((f"the fixed tensor after `torch.compile`, whose first step took {first:.0f} s", "compiled"))
    if "plain" in loops:
        rows.append(("the same in contiguous instead of channels-last layout", "plain"))
    columns = f"{model} at {STEPS.size}, batches of {batch}", "images/s", "of the fixed tensor"
    table(columns, [(said, f"{rates[key]:,.1f}", f"{rates[key] / rates['ceiling']:.1%}") for said, key in rows])
    extra = {"seconds_to_compile": first} if "compiled" in loops else {}
    return {"per_second": rates, "share_of_ceiling": share, **extra}


def scores_per_second(data: RadiographBatches, model: str) -> float:
    """Scores of stored images by a network, repeated to ``_SCORED`` images; from the array in memory."""
    images = np.stack([data[[k]][0][0, 0].numpy() for k in range(len(data))])
    images = np.tile(images, (-(-_SCORED // len(images)), 1, 1))[:_SCORED]
    module = find_model(model).build(1, len(TASK.order)).eval()
    about = Network(model=model, images=STEPS, mean=0.5, std=0.25, temperature=1.0, epoch=0, validation={})
    network = LoadedNetwork(about, module)
    network.probabilities(images[:128], len(TASK.order))
    begun = time.perf_counter()
    network.probabilities(images, len(TASK.order))
    rate = _SCORED / (time.perf_counter() - begun)
    table(("network", "scores, images/s"), [(f"{model} at {STEPS.size}", f"{rate:,.0f}")])
    return rate


def stored(root: Path, count: int, out: Path) -> RadiographBatches:
    """Real images, prepared and stored, with random classes: speed does not depend on them."""
    files = [f"{p.relative_to(root)}" for p in radiographs(root)[:count]]
    records = pd.DataFrame({"image_id": files, "path": files, "content_hash": files, "turned": False})
    store = prepare_images(records, Root(root), STEPS, LocalEngine(), out / "images")
    labels = np.random.default_rng(0).choice(TASK.order, len(files))
    return RadiographBatches(Dataset.join(records.assign(label=labels), store, TASK))


class _Turns(lightning.Callback):
    """After each round of training steps, runs a round of every other loop; ``seconds`` holds the times by loop."""

    def __init__(self, loops: dict[str, "_Loop"]) -> None:
        self._loops, self._begun = loops, _now()
        self.seconds: dict[str, list[float]] = {name: [] for name in ("training", *loops)}

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if (batch_idx + 1) % _BATCHES:
            return
        self.seconds["training"].append(_now() - self._begun)
        for name, loop in self._loops.items():
            started = _now()
            loop.steps(_BATCHES)
            self.seconds[name].append(_now() - started)
        print(f"training loops: round {len(self.seconds['training'])} of {1 + _ROUNDS}", file=sys.stderr)
        self._begun = _now()


def _now() -> float:
    """Seconds, once all that the GPU was asked for is done."""
    if ON_GPU:
        torch.cuda.synchronize()
    return time.perf_counter()


def _train(data: RadiographBatches, model: str, batch: int, turns: _Turns) -> None:
    """Training as train.py runs it, without validation and checkpoints, with ``turns`` after each round of steps."""
    module = TrainingModule(find_model(model).build(1, len(TASK.order)), TASK, TRAINING, 1, _SCALE)
    full = itertools.islice(_batches(data, batch), (1 + _ROUNDS) * _BATCHES)
    averaged = [] if TRAINING.average is None else [MovingAverage(TRAINING.average)]
    trainer = lightning.Trainer(
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator=accelerator(),
        devices=1,
        precision=precision(),
        gradient_clip_val=TRAINING.gradient_clip,
        deterministic="warn",
        callbacks=[*averaged, turns],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(module, DataLoader(data.on(DEVICE), sampler=list(full), batch_size=None))


def _batches(data: RadiographBatches, size: int) -> Iterator[list[int]]:
    """Full balanced batches, endlessly."""
    positive = data.labels == TASK.positive_column
    for epoch in itertools.count():
        batches = BalancedBatches(positive, size, TRAINING.positive_share, seed=0)
        batches.set_epoch(epoch)
        yield from (batch for batch in batches if len(batch) == size)


def _real(data: RadiographBatches, size: int) -> Iterator[torch.Tensor]:
    """Batches as in ``TrainingModule.training_step``, endlessly: augmented pictures in [0, 1]."""
    for step, batch in enumerate(_batches(data, size)):
        images, _ = data[batch]
        yield augment(images.float() / 255, TRAINING.augmentation, torch.Generator().manual_seed(step))


def _fixed() -> Iterator[torch.Tensor]:
    while True:
        yield torch.zeros(0)


class _Loop:
    """Training steps on ``pictures``, as in training but without Lightning; an empty tensor stands for one fixed
    batch."""

    def __init__(
        self,
        model: str,
        pictures: Iterator[torch.Tensor],
        batch: int,
        layout: torch.memory_format = torch.channels_last,
        compiled: bool = False,
    ) -> None:
        torch.manual_seed(0)
        self._module = TrainingModule(find_model(model).build(1, len(TASK.order)), TASK, TRAINING, 1, _SCALE).to(DEVICE)
        network = self._module.network.to(memory_format=layout).train()
        self._network = torch.compile(network) if compiled else network
        (self._optimiser,), _ = self._module.configure_optimizers()
        self._pictures, self._layout = pictures, layout
        self._fixed = torch.randn(batch, 1, STEPS.size, STEPS.size, device=DEVICE).contiguous(memory_format=layout)
        self._labels = torch.randint(0, len(TASK.order), (batch,), device=DEVICE)

    def steps(self, count: int) -> None:
        for images in itertools.islice(self._pictures, count):
            batch = to_input(images, *self._module.input) if len(images) else self._fixed
            self._optimiser.zero_grad()
            with torch.autocast(DEVICE.type, torch.bfloat16, enabled=precision() == "bf16-mixed"):
                logits = self._network(batch.contiguous(memory_format=self._layout))
                loss = torch.nn.functional.cross_entropy(logits, self._labels)
            loss.backward()
            self._optimiser.step()


if __name__ == "__main__":
    main()
