"""The training of one network: fit, resume, choose the epoch on val, calibrate on val."""

import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as lightning
import torch
from numpy.typing import NDArray
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import distributed, nn

import cxrflow
from cxrflow.bundle import Network
from cxrflow.bundle_files import TRAINED_ON, seen_csv, seen_rows
from cxrflow.dataset import Dataset
from cxrflow.errors import CxrflowError
from cxrflow.files import code_digest, digest, write_json, write_whole
from cxrflow.models import plugin_of
from cxrflow.models.measure import check_size
from cxrflow.models.model import to_input
from cxrflow.models.stored import STORED
from cxrflow.params import Member, Training
from cxrflow.progress import progress
from cxrflow.terminal import remark
from cxrflow.training.callbacks import History, MovingAverage, Stop, WriteHistory
from cxrflow.training.cells import CellBatches, GroupDro, SourceBalancedBatches
from cxrflow.training.checkpoints import (
    RUN,
    WholeFiles,
    accelerator,
    begun_by_same,
    fitting,
    is_whole,
    precision,
    read_checkpoint,
)
from cxrflow.training.checks import check_freeze
from cxrflow.training.data import BalancedBatches, PlainBatches, Process, RadiographBatches, ReplacedBatches, loader
from cxrflow.training.frozen import train_head
from cxrflow.training.module import CHOICE, TrainingModule, on_val
from cxrflow.training.start import Start, begin
from cxrflow.training.temperature import fit_temperature

_CODE = (
    "training",
    "models",
    "bundle.py",
    "bundle_files.py",
    "bundle_networks.py",
    "dataset.py",
    "folds.py",
    "network.py",
    "task.py",
)


@dataclass(frozen=True)
class Trained:
    """A trained network.

    about    its description, whose weights are not known yet
    module   on the CPU
    start    what the training began with
    seen     the images that it was trained or validated on, and those of the training that it started from, as
             ``seen_rows`` returns them
    history  of all epochs
    seconds  that they took
    digests  of data, params and code, and of the weights that it started from
    """

    about: Network
    module: nn.Module
    start: Start
    seen: pd.DataFrame
    history: History
    seconds: float
    digests: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Sides:
    """Batches of the training and validation images, and the records of both, training first."""

    train: CellBatches
    val: RadiographBatches
    used: pd.DataFrame
    is_positive: NDArray[np.bool_]  # of the training images


def train_network(
    dataset: Dataset,
    member: Member,
    checkpoints: Path,
    classes: Sequence[str],
    write: Callable[[History], None],
    process: Process,
    features: Path,
    networks: int,
) -> Trained | None:
    """Train a network on the split ``train``; choose its epoch on ``val``, or take the last one if ``val`` is a fold
    that it leaves out. An interrupted training resumes. Of a frozen network (``training.freeze``), fit the last layer.

    checkpoints  folder for checkpoints
    classes, features  as for ``train.train``
    write        writes the history after each epoch
    networks     that are left to train, this one included: to say how long all take
    Returns None in all DDP ranks but 0. Raises CxrflowError as ``train.train``.
    """
    images, params, fold = member
    dataset = dataset.of(images)
    sides = _sides(dataset, classes)
    lightning.seed_everything(params.seed, verbose=False)
    check_size(params.model, images.channels, images.size, len(dataset.task.order))
    check_freeze(params, images.channels, images.size, len(dataset.task.order))
    start = begin(params.model, params.start, images, dataset.task)
    if start.epochs >= params.epochs:
        raise CxrflowError(
            f"training.epochs: {params.start} has been trained for {start.epochs} epochs; set the new total above that."
        )
    digests = _digests(dataset, sides.used, member) | ({"start": start.digest} if start.digest else {})
    seen = pd.concat([seen_rows(sides.used), *([] if start.seen is None else [start.seen])]).drop_duplicates()
    if params.freeze == "backbone":
        if process.rank > 0:
            return None
        shutil.rmtree(checkpoints, ignore_errors=True)
        checkpoints.mkdir(parents=True)  # DVC expects it
        begun = time.monotonic()
        about, network, row = train_head(start, dataset, member, features)
        write([row])
        return Trained(about, network, start, seen, [row], time.monotonic() - begun, digests)
    module = _module(start, sides, dataset, params, images.channels)
    module.origin["trained_on"] = sha256(seen_csv(seen)).hexdigest()
    if process.rank == 0:
        _open_checkpoints(checkpoints, digests, seen, module, {_chosen(fold), "last.ckpt"})
    if process.world > 1:
        distributed.barrier()
    finished = checkpoints / "finished"
    if finished.exists():  # of a finished run, DVC removed all outputs but the persistent checkpoints
        module.on_load_checkpoint(read_checkpoint(checkpoints / "last.ckpt"))
    else:
        _fit(module, sides, start.checkpoint, member, checkpoints, write, process, networks)
    if process.rank > 0:
        return None
    write_whole(finished, b"")
    held = read_checkpoint(checkpoints / _chosen(fold))
    chosen = int(held["epoch"])
    module.load_state_dict(held["state_dict"])
    figures = next(row for row in module.history if row["epoch"] == chosen)
    _, mean, std = module.input
    about = Network(
        model=params.model,
        images=images,
        mean=mean,
        std=std,
        temperature=fit_temperature(*_logits(module, sides.val, params.batch_size)),
        fold=fold,
        epoch=chosen,
        validation=on_val(figures),
        start=start.passport,
    )
    return Trained(about, module.network, start, seen, module.history, module.seconds, digests)


def sources_of(used: pd.DataFrame) -> dict[str, int]:
    """Number of images of each source in some records."""
    return {str(source): len(rows) for source, rows in used.groupby("source")}


def _sides(dataset: Dataset, classes: Sequence[str]) -> _Sides:
    """Raises CxrflowError if one of ``classes`` has no training or no validation image."""
    train, val = dataset.split("train"), dataset.split("val")
    for name, side in (("train", train), ("val", val)):
        if absent := [c for c in classes if c not in side.labels]:
            raise CxrflowError(f"training: no {name} image of class {', '.join(absent)}; set another metadata.split.")
    used = pd.concat([train.records, val.records])
    return _Sides(CellBatches(train), RadiographBatches(val), used, train.labels == dataset.task.positive)


def _digests(dataset: Dataset, used: pd.DataFrame, member: Member) -> dict[str, str]:
    """Digests that a resumed run must share with the interrupted one; the bundle records them as its provenance."""
    rows, task = used[["image_id", "content_hash", "label", "split"]].to_numpy().tolist(), dataset.task
    code, model = code_digest(Path(cxrflow.__file__).parent, _CODE), member.training.model
    theirs = None if model == STORED else plugin_of(model)
    return {
        "data": digest([rows, dataset.store.steps, list(task.classes.items()), task.positive]),
        "params": digest([member.images.model_dump(), member.training.model_dump(), member.fold]),
        "code": digest([code, theirs.sha256]) if theirs else code,
    }


def _module(start: Start, sides: _Sides, dataset: Dataset, params: Training, channels: int) -> TrainingModule:
    scale = start.scale or sides.train.mean_and_std()
    module = TrainingModule(start.network, dataset.task, params, channels, scale)
    if params.robust == "group_dro":
        module.robust = GroupDro(sides.train.cell_count, params.robust_step)
    module.origin = {
        "classes": list(dataset.task.order),
        "pretrained_on": list(start.pretrained_on),
        "sources": list(sources_of(sides.used)),
        "listed": start.listed,
        "passport": start.passport.model_dump(mode="json") if start.passport else None,
        "scale": list(scale),
    }
    return module


def _chosen(fold: int | None) -> str:
    """Name of the checkpoint that becomes the network: of the best epoch on val, or of the last one."""
    return "best.ckpt" if fold is None else "last.ckpt"


def _open_checkpoints(
    folder: Path, digests: dict[str, str], seen: pd.DataFrame, module: TrainingModule, names: set[str]
) -> None:
    """Prepare the folder for a run with these digests, which writes checkpoints ``names``; removes those of any other
    run, and damaged ones."""
    if begun_by_same(folder, digests):
        there = [folder / name for name in sorted(names)]
        begun = (folder / "finished").exists() or any(path.exists() for path in there)
        damaged = [path for path in there if begun and not is_whole(path, module)]
        if not damaged:
            write_whole(folder / TRAINED_ON, seen_csv(seen))
            return
        remark(f"{damaged[0]} is absent or damaged, so the training starts over")
    shutil.rmtree(folder, ignore_errors=True)
    write_whole(folder / TRAINED_ON, seen_csv(seen))
    write_json(folder / RUN, digests)


def _fit(
    module: TrainingModule,
    sides: _Sides,
    begun_by: Path | None,
    member: Member,
    checkpoints: Path,
    write: Callable[[History], None],
    process: Process,
    networks: int,
) -> None:
    """begun_by: checkpoint of another run to start from, or None."""
    params = member.training
    if min(params.batch_size // 2, len(sides.val)) < process.world:
        raise CxrflowError(
            f"training: batches of {params.batch_size} and {len(sides.val)} validation images are too few for "
            f"{process.world} processes; start fewer processes."
        )
    if params.robust != "none" and process.world > 1:
        raise CxrflowError("training.robust: processes cannot share its weights; start training without torchrun.")
    batches: BalancedBatches | ReplacedBatches | SourceBalancedBatches
    if params.balance == "source_and_class":
        batches = SourceBalancedBatches(sides.train.chances(), params.batch_size, params.seed, process)
    elif params.balance == "replacement" and params.positive_share is not None:
        batches = ReplacedBatches(sides.is_positive, params.batch_size, params.positive_share, params.seed, process)
    else:
        batches = BalancedBatches(sides.is_positive, params.batch_size, params.positive_share, params.seed, process)
    each_epoch: dict[str, Any] = {
        "dirpath": checkpoints,
        "save_on_train_epoch_end": True,
        "enable_version_counter": False,
    }
    best = [ModelCheckpoint(filename="best", monitor=CHOICE, mode="max", **each_epoch)] if member.fold is None else []
    last = ModelCheckpoint(filename="last", **each_epoch)
    interrupted = checkpoints / "last.ckpt"
    resumed = interrupted if interrupted.exists() else begun_by
    stop = Stop(params.early_stopping_epochs if member.fold is None else params.epochs, resumed == interrupted)
    averaged = [] if params.average is None else [MovingAverage(params.average)]
    trainer = lightning.Trainer(
        max_epochs=params.epochs,
        logger=False,
        callbacks=[*averaged, *best, last, stop, WriteHistory(write), *progress(networks)],
        plugins=[WholeFiles()],
        accelerator=accelerator(),
        devices=int(os.environ.get("LOCAL_WORLD_SIZE", 1)),
        num_nodes=process.world // int(os.environ.get("LOCAL_WORLD_SIZE", 1)),
        strategy="ddp" if process.world > 1 else "auto",
        sync_batchnorm=process.world > 1 and torch.cuda.is_available(),  # PyTorch has it for CUDA only
        precision=precision(),
        gradient_clip_val=params.gradient_clip,
        # On a GPU some layers lack a deterministic gradient and warn; on a CPU runs are bit-identical.
        deterministic="warn",
        num_sanity_val_steps=0,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    if resumed and process.rank == 0:
        remark(f"Resuming after the last complete epoch in {resumed}")
    device = trainer.strategy.root_device
    with fitting(
        f"training: out of memory with batches of {params.batch_size}; lower training.batch_size or "
        "images.size, or take a smaller network.",
        f"To continue from the last epoch, move {checkpoints} elsewhere first and set training.start to its last.ckpt.",
    ):
        trainer.fit(
            module,
            loader(sides.train.on(device), batches),
            loader(sides.val.on(device), PlainBatches(len(sides.val), params.batch_size, process)),
            ckpt_path=resumed,
            weights_only=True,
        )


@torch.inference_mode()
def _logits(
    module: TrainingModule, data: RadiographBatches, batch_size: int
) -> tuple[NDArray[np.floating[Any]], NDArray[np.int64]]:
    """Logits, float (n, classes), and labels, int64 (n,), of all images; the network is on the CPU afterwards."""
    network = module.network.to(accelerator()).eval()
    parts = [
        network(to_input(images.to(accelerator()).float() / 255, *module.input)).cpu()
        for images, _ in loader(data, PlainBatches(len(data), batch_size))
    ]
    network.cpu()
    return torch.cat(parts).numpy(), data.labels
