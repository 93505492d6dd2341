"""The training stage: fit, resume, choose the epoch on val, calibrate on val, write the bundle."""

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pandas as pd
import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint, RichProgressBar, WeightAveraging
from scipy.optimize import minimize_scalar
from torch import distributed

import cxrflow
from cxrflow.bundle import TRAINED_ON, Bundle, seen_rows, write_bundle
from cxrflow.errors import CxrflowError
from cxrflow.files import code_digest, digest, write_json, write_whole
from cxrflow.images.prepare import Store, check_steps
from cxrflow.model_card import write_card
from cxrflow.models.measure import check_size
from cxrflow.models.model import to_input
from cxrflow.params import Images, Training, check_start
from cxrflow.records import CLASSES
from cxrflow.training.cells import CellBatches, GroupDro, SourceBalancedBatches
from cxrflow.training.checkpoints import RUN, WholeFiles, accelerator, begun_by_same, fitting
from cxrflow.training.data import BalancedBatches, Place, PlainBatches, RadiographBatches, loader
from cxrflow.training.module import CHOICE, TrainingModule
from cxrflow.training.start import begin


class _Sides(TypedDict):
    train: CellBatches
    val: RadiographBatches


def train(
    records: pd.DataFrame,
    store: Store,
    images: Images,
    params: Training,
    out: Path,
    classes: Sequence[str] = CLASSES,
) -> Bundle | None:
    """Train on the rows of split ``train``, choose on ``val``; write ``bundle``, ``history.csv`` and ``checkpoints``.

    records  kept rows only (columns of records.py)
    out      results folder; an interrupted run that was begun with the same params, data and code goes on from the
             last whole epoch in ``out/checkpoints``
    classes  those that must have images on both sides; of another ``records`` holds none, the network learns nothing,
             and the macro AUROC that chooses the epoch is without it
    Started by ``torchrun``, each process takes its part of every batch; all but the first return None.
    Raises CxrflowError where one of ``classes`` has no image on the training or validation side, the store was prepared
    by other steps, the network does not take pictures of that size, the loss is no longer a number, or memory does not
    suffice.
    """
    place = _join()
    check_start(params, out)
    check_steps(store, images)
    usable = records[records.image_id.isin(store.index.image_id[store.index.left_out.isna()])]
    sides = {side: usable[usable.split == side] for side in ("train", "val")}
    for side, rows in sides.items():
        if absent := [c for c in classes if not (rows.label == c).any()]:
            raise CxrflowError(f"training: no {side} image of class {', '.join(absent)}; set another metadata.split.")
    data: _Sides = {"train": CellBatches(store, sides["train"]), "val": RadiographBatches(store, sides["val"])}
    used = pd.concat(sides.values())
    digests = {
        "data": digest([used[["image_id", "content_hash", "label", "split"]].to_numpy().tolist(), store.steps]),
        "params": digest([images.model_dump(), params.model_dump()]),
        "code": code_digest(Path(cxrflow.__file__).parent, ("training", "models", "bundle.py", "records.py")),
    }
    lightning.seed_everything(params.seed, verbose=False)
    check_size(params.model, images.channels, images.size)
    start = begin(params.model, params.start, images, len(CLASSES))
    if start.digest:
        digests["start"] = start.digest
    if start.epochs >= params.epochs:
        raise CxrflowError(
            f"training.epochs: {params.start} has been trained for {start.epochs} epochs; set the new total above that."
        )
    mean, std = start.scale or data["train"].mean_and_std()
    module = TrainingModule(start.network, params, images.channels, mean, std)
    if params.robust == "group_dro":
        module.robust = GroupDro(data["train"].cell_count, params.robust_step)
    sources = {str(source): len(rows) for source, rows in used.groupby("source")}
    module.origin = {
        "pretrained_on": list(start.pretrained_on),
        "sources": list(sources),
        "listed": start.listed,
        "scale": [mean, std],
    }
    seen = pd.concat([seen_rows(used), *([] if start.seen is None else [start.seen])]).drop_duplicates()
    checkpoints = out / "checkpoints"
    if place.rank == 0:
        _open_checkpoints(checkpoints, digests, seen)
    if place.world > 1:
        distributed.barrier()
    finished = checkpoints / "finished"
    if finished.exists():  # DVC removed the other outputs of a run whose checkpoints stand
        module.history = torch.load(checkpoints / "last.ckpt", weights_only=True)["history"]
    else:
        _fit(module, data, params, place, start.checkpoint, checkpoints, out)
    if place.rank > 0:
        return None
    write_whole(finished, b"")
    write_history(module.history, out / "history.csv")
    best = torch.load(checkpoints / "best.ckpt", weights_only=True)
    chosen = int(best["epoch"])
    module.load_state_dict(best["state_dict"])
    figures = next(row for row in module.history if row["epoch"] == chosen)
    on_val = {k.removeprefix("val_"): v for k, v in figures.items() if k.startswith("val_")}
    bundle = Bundle(
        cxrflow=cxrflow.__version__,
        model=params.model,
        classes=CLASSES,
        images=images,
        mean=mean,
        std=std,
        temperature=fit_temperature(*_logits(module, data["val"], params.batch_size)),
        sources=sources,
        pretrained_on=start.pretrained_on,
        seen="listed" if start.listed else "unknown",
        epoch=chosen,
        validation={name: value for name, value in on_val.items() if np.isfinite(value)},
        digests=digests,
    )
    write_bundle(out / "bundle", module.network, bundle, seen)
    write_card(out / "bundle", usable, params)
    return bundle


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Temperature that minimises the cross-entropy on val (Guo et al. 2017, section 4.2), between 0.05 and 20.

    logits  float (n, classes); labels int (n,)
    """

    values, truth = torch.tensor(logits, dtype=torch.float64), torch.tensor(labels)

    def cross_entropy(log_temperature: float) -> float:
        return float(torch.nn.functional.cross_entropy(values / np.exp(log_temperature), truth))

    bounds = (np.log(0.05), np.log(20))
    return float(np.exp(minimize_scalar(cross_entropy, bounds=bounds, method="bounded").x))


def running_mean(decay: float) -> Callable[[torch.Tensor, torch.Tensor, torch.Tensor | int], torch.Tensor]:
    """How the mean of the weights follows them: (mean, weights, steps so far) to the next mean.

    An exponential moving average whose decay grows to ``decay`` as (1 + steps) / (10 + steps), so that a short training
    does not end near its random start (TensorFlow's ``ExponentialMovingAverage`` with ``num_updates``).
    """

    def following(mean: torch.Tensor, weights: torch.Tensor, steps: torch.Tensor | int) -> torch.Tensor:
        kept = min(decay, (1 + int(steps)) / (10 + int(steps)))
        return mean * kept + weights * (1 - kept)

    return following


class _Stop(EarlyStopping):
    """Early stopping that an interrupted run takes up where it was, and one that goes on from another run begins."""

    def __init__(self, patience: int, same_run: bool) -> None:
        super().__init__("val_macro_auroc", mode="max", patience=patience, check_on_train_epoch_end=True)
        self._same_run = same_run

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if self._same_run:
            super().load_state_dict(state_dict)

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        trainer.should_stop = self.wait_count >= self.patience  # a run killed when it had stopped, before its end


class _History(lightning.Callback):
    """Writes ``history.csv`` after each epoch, whole."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        assert isinstance(module, TrainingModule)  # noqa: S101
        if trainer.is_global_zero:
            write_history(module.history, self._path)


def write_history(history: list[dict[str, float]], path: Path) -> None:
    """One row per epoch, as ``TrainingModule.history``."""
    frame = pd.DataFrame(history).astype({"epoch": int})
    write_whole(path, frame.to_csv(index=False, lineterminator="\n", float_format="%.6g").encode())


def _join() -> Place:
    """This process among those that ``torchrun`` started."""
    place = Place(int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)))
    if place.world > 1 and not distributed.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return place


def _open_checkpoints(folder: Path, digests: dict[str, str], seen: pd.DataFrame) -> None:
    """Make the folder ready for a run with these digests: the checkpoints of any other run are removed."""
    if begun_by_same(folder, digests):
        return
    shutil.rmtree(folder, ignore_errors=True)
    write_whole(folder / TRAINED_ON, seen.to_csv(index=False, lineterminator="\n").encode())
    write_json(folder / RUN, digests)


def _fit(
    module: TrainingModule,
    data: _Sides,
    params: Training,
    place: Place,
    begun_by: Path | None,
    checkpoints: Path,
    out: Path,
) -> None:
    if min(params.batch_size // 2, len(data["val"])) < place.world:
        raise CxrflowError(
            f"training: batches of {params.batch_size} and {len(data['val'])} validation images are too few for "
            f"{place.world} processes; start fewer."
        )
    if params.robust != "none" and place.world > 1:
        raise CxrflowError("training.robust: its weights are kept by one process; start training without torchrun.")
    train = data["train"]
    balanced: BalancedBatches | SourceBalancedBatches
    if params.balance == "source_and_class":
        balanced = SourceBalancedBatches(train.chances(), params.batch_size, params.seed, place)
    else:
        balanced = BalancedBatches(train.labels, params.batch_size, params.sample_weight_covid, params.seed, place)
    each_epoch: dict[str, Any] = {
        "dirpath": checkpoints,
        "save_on_train_epoch_end": True,
        "enable_version_counter": False,
    }
    best = ModelCheckpoint(filename="best", monitor=CHOICE, mode="max", **each_epoch)
    last = ModelCheckpoint(filename="last", **each_epoch)
    interrupted = checkpoints / "last.ckpt"
    going_on = interrupted if interrupted.exists() else begun_by
    stop = _Stop(params.early_stopping_epochs, going_on == interrupted)
    averaged = [] if params.average is None else [WeightAveraging(avg_fn=running_mean(params.average))]
    trainer = lightning.Trainer(
        max_epochs=params.epochs,
        logger=False,
        callbacks=[*averaged, best, last, stop, _History(out / "history.csv"), RichProgressBar()],
        plugins=[WholeFiles()],
        accelerator=accelerator(),
        devices=int(os.environ.get("LOCAL_WORLD_SIZE", 1)),
        num_nodes=place.world // int(os.environ.get("LOCAL_WORLD_SIZE", 1)),
        strategy="ddp" if place.world > 1 else "auto",
        sync_batchnorm=place.world > 1 and torch.cuda.is_available(),  # torch has it for CUDA alone
        precision="bf16-mixed" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "32-true",
        gradient_clip_val=params.gradient_clip,
        # On a GPU some layers have no deterministic gradient: they warn there; a CPU repeats every bit.
        deterministic="warn",
        num_sanity_val_steps=0,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    if going_on and place.rank == 0:
        print(f"Going on after the last whole epoch in {going_on}")
    with fitting(
        f"training: memory does not suffice for batches of {params.batch_size}; lower training.batch_size or "
        "images.size, or take a smaller network.",
        f"To go on with what was trained, move {checkpoints} elsewhere first and set training.start to its last.ckpt.",
    ):
        trainer.fit(
            module,
            loader(train, balanced),
            loader(data["val"], PlainBatches(len(data["val"]), params.batch_size, place)),
            ckpt_path=going_on,
            weights_only=True,
        )


@torch.inference_mode()
def _logits(module: TrainingModule, data: RadiographBatches, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    network = module.network.cpu().eval()
    parts = [
        network(to_input(images.float() / 255, *module.input))
        for images, _ in loader(data, PlainBatches(len(data), batch_size))
    ]
    return torch.cat(parts).numpy(), data.labels
