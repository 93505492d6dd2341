"""How many seconds an image takes the planned work on this machine, measured in about a minute."""

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as lightning
import torch
from numpy.typing import NDArray

from cxrflow.check.facts import Cost, Span
from cxrflow.check.plan import kind
from cxrflow.dataset import Dataset
from cxrflow.engines import Engine, Lost, cores
from cxrflow.errors import CxrflowError
from cxrflow.files import Root
from cxrflow.images.file import try_record
from cxrflow.images.prepare import Store
from cxrflow.models import find_model
from cxrflow.models.model import to_input
from cxrflow.models.stored import STORED
from cxrflow.params import Images, Member
from cxrflow.task import Task
from cxrflow.terminal import track
from cxrflow.training.callbacks import MovingAverage
from cxrflow.training.checkpoints import accelerator, fitting, precision
from cxrflow.training.data import RadiographBatches, loader
from cxrflow.training.module import TrainingModule
from cxrflow.training.start import begin

#: Seconds for image steps and for trainings.
SECONDS_IMAGES, SECONDS_TRAINING = 20.0, 40.0
#: Pieces that a measurement is divided into; the fastest and the slowest are its range.
_PIECES = 5
#: Images for each core that warm the worker processes, and steps that warm a training, before the clock starts.
_WARM_IMAGES, _WARM_STEPS = 9, 1


def prepare(
    records: pd.DataFrame, root: Root, steps: Images, engine: Engine, seconds: float, clock: Callable[[], float]
) -> tuple[Span, NDArray[np.uint8]]:
    """Seconds that an image takes the image steps, with all cores of the engine, and the pictures that were prepared.

    records  kept images in random order: columns path, turned
    seconds  after which no more images are begun
    Returns the span and uint8 (n, size, size). Raises CxrflowError if none of the images can be prepared.
    """
    items = list(zip(records.path, records.turned, strict=True))
    made: list[NDArray[np.uint8]] = []

    def run(some: Sequence[tuple[str, bool]]) -> None:
        for result in engine.map(_Prepare(root.absolute(), steps), some):
            if not isinstance(result, (str, Lost)):
                made.append(result.image)

    run(items[: (at := min(_WARM_IMAGES * cores(), len(items)))])  # so many that each core has a part
    pieces: list[tuple[float, int]] = []
    begun, count = clock(), 4 * cores()
    while at < len(items) and clock() - begun < seconds:
        start, some = clock(), items[at : at + count]
        run(some)
        at += len(some)
        pieces.append((clock() - start, len(some)))
        # Larger pieces, the next about a fifth of the time: the end of each leaves cores idle.
        count = max(count, int(len(some) * seconds / _PIECES / max(pieces[-1][0], 1e-6)))
    if not pieces:  # fewer images than warm the workers
        start = clock()
        run(items)
        pieces.append((clock() - start, len(items)))
    if not made:
        raise CxrflowError(f"check: none of {len(items):,} images could be prepared; see `cxrflow metadata`.")
    return span(pieces), np.stack(made)


class _Prepare:
    """``try_record`` of one root and steps; a class, so that it can be pickled by name."""

    def __init__(self, root: Root, steps: Images) -> None:
        self._root, self._steps = root, steps

    def __call__(self, record: tuple[str, bool]) -> Any:
        return try_record(self._root, self._steps, record)


def train(network: Member, task: Task, pictures: NDArray[np.uint8], seconds: float) -> Cost:
    """Seconds that an image takes a training of the network, as the training stage does it, but for its data.

    pictures  uint8 (n, size, size), drawn from at random; the labels are random, too
    seconds   for which it is trained and, a fifth of it, scored
    Weights are random unless the network is read from a bundle. Raises CxrflowError if memory runs out.
    """
    images, params, _ = network
    start = params.start if params.model == STORED else "scratch"
    made = (
        begin(STORED, start, images, task).network
        if params.model == STORED
        else find_model(params.model).architecture(images.channels, len(task.order))
    )
    batch, random = params.batch_size, np.random.default_rng(0)
    table = pd.DataFrame({"label": random.choice(list(task.order), len(pictures)), "split": "train"})
    store = Store(pictures, None, pd.DataFrame(index=range(len(pictures))), "")
    data = RadiographBatches(Dataset(task, table, (store,), np.arange(len(pictures)), pd.DataFrame()))
    module = TrainingModule(made, task, params, images.channels, (0.5, 0.25))
    clock = _Clock(seconds * 4 / 5)
    trainer = lightning.Trainer(
        max_epochs=1,
        logger=False,
        callbacks=[*([] if params.average is None else [MovingAverage(params.average)]), clock],
        accelerator=accelerator(),
        devices=1,
        precision=precision(),
        gradient_clip_val=params.gradient_clip,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )
    out_of_memory = f"check: out of memory with batches of {batch}; lower training.batch_size or images.size,"
    forward_only = params.freeze == "backbone"
    with fitting(out_of_memory, "or take a smaller network."), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*have no `val_dataloader`.*")
        if not forward_only:
            placed = data.on(trainer.strategy.root_device)
            trainer.fit(module, loader(placed, _Drawn(len(pictures), batch)))  # type: ignore[arg-type]
        pieces = _scored(module, pictures, batch, seconds / 5)
    scored = span(pieces)
    return Cost(scored if forward_only else span([(taken, batch) for taken in clock.steps]), scored)


class _Drawn:
    """Random batches of positions, without an end."""

    def __init__(self, count: int, batch: int) -> None:
        self._count, self._batch = count, batch

    def __len__(self) -> int:
        return 1_000_000

    def __iter__(self) -> Iterator[list[int]]:
        random = np.random.default_rng(0)
        while True:
            yield random.integers(0, self._count, self._batch).tolist()


class _Clock(lightning.Callback):
    """Times the steps of a training, after the first ones, and ends it; at least one is timed."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._begun, self._last = seconds, 0.0, 0.0
        self.steps: list[float] = []

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note the time since the end of the step before: with the data, the optimiser, and the moving average."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        if batch_idx == 0:
            self._begun = now
        if batch_idx >= _WARM_STEPS:
            self.steps.append(now - self._last)
        self._last = now
        trainer.should_stop = bool(self.steps) and now - self._begun >= self._seconds


@torch.inference_mode()
def _scored(module: TrainingModule, pictures: NDArray[np.uint8], batch: int, seconds: float) -> list[tuple[float, int]]:
    """Seconds and images of forward passes."""
    network, begun = module.network.to(accelerator()).eval(), time.perf_counter()
    pieces: list[tuple[float, int]] = []
    chosen = torch.from_numpy(pictures[np.arange(batch) % len(pictures)])[:, None]
    while len(pieces) <= _WARM_STEPS or time.perf_counter() - begun < seconds:
        start = time.perf_counter()
        network(to_input(chosen.to(accelerator()).float() / 255, *module.input)).cpu()
        pieces.append((time.perf_counter() - start, batch))
    network.cpu()
    return pieces[1:]


def span(pieces: Sequence[tuple[float, int]]) -> Span:
    """Seconds for one image, from timed pieces of work (seconds, images): that of all together, and its range, the
    fastest and the slowest fifth; from fewer than three pieces, half and twice as long."""
    parts = [part for part in np.array_split(np.asarray(pieces, float), min(_PIECES, len(pieces))) if len(part)]
    each = [float(part[:, 0].sum() / part[:, 1].sum()) for part in parts]
    mid = sum(taken for taken, _ in pieces) / sum(count for _, count in pieces)
    return Span(min(each), mid, max(each)) if len(parts) > 2 else Span(mid / 2, mid, mid * 2)


def measured(
    networks: Sequence[Member],
    records: pd.DataFrame,
    root: Root,
    task: Task,
    engine: Engine,
    seconds: tuple[float, float] = (SECONDS_IMAGES, SECONDS_TRAINING),
) -> tuple[dict[Images, Span], dict[str, Cost]]:
    """Costs of each different image steps, and of each different ``kind`` of network, in about as many seconds.

    records  kept images: columns path, turned
    seconds  for the image steps, and for the trainings, all together
    """
    shuffled = records.sample(frac=1, random_state=0)
    different = {kind(network): network for network in networks}
    steps = list(dict.fromkeys(network.images.model_copy(update={"channels": 1}) for network in different.values()))
    prepared = {
        each: prepare(shuffled, root, each, engine, seconds[0] / len(steps), time.perf_counter)
        for each in track(steps, "measuring the image steps")
    }
    costs = {
        name: train(
            network,
            task,
            prepared[network.images.model_copy(update={"channels": 1})][1],
            seconds[1] / len(different),
        )
        for name, network in track(different.items(), "measuring the trainings", total=len(different))
    }
    return {each: found for each, (found, _) in prepared.items()}, costs
