"""The training stage: fit, resume, choose the epoch on val, calibrate on val, write the bundle."""

import json
import logging
import os
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint, RichProgressBar
from pytorch_lightning.plugins.io import TorchCheckpointIO
from scipy.optimize import minimize_scalar

import cxrflow
from cxrflow.bundle import Bundle, write_bundle
from cxrflow.errors import CxrflowError
from cxrflow.files import code_digest, digest, write_json, write_whole
from cxrflow.images.prepare import Store, check_steps
from cxrflow.params import Images, Training
from cxrflow.records import CLASSES
from cxrflow.training.data import BalancedBatches, PlainBatches, RadiographBatches, loader
from cxrflow.training.models import find_model
from cxrflow.training.models.measure import check_size
from cxrflow.training.module import TrainingModule, to_input

_MONITOR = "val_macro_auroc"
# Devices found, products recommended: nothing that a person who trains can act on.
logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)


def train(records: pd.DataFrame, store: Store, images: Images, params: Training, out: Path) -> Bundle:
    """Train on the rows of split ``train``, choose on ``val``; write ``bundle``, ``history.csv`` and ``checkpoints``.

    records  kept rows only (columns of records.py)
    out      results folder; an interrupted run that was begun with the same params, data and code goes on from the
             last whole epoch in ``out/checkpoints``
    Raises CxrflowError where a class has no image on the training or validation side, the store was prepared by other
    steps, the network does not take pictures of that size, or the loss is no longer a number.
    """
    check_steps(store, images)
    usable = records[records.image_id.isin(store.index.image_id[store.index.left_out.isna()])]
    sides = {side: usable[usable.split == side] for side in ("train", "val")}
    for side, rows in sides.items():
        if absent := [c for c in CLASSES if not (rows.label == c).any()]:
            raise CxrflowError(f"training: no {side} image of class {', '.join(absent)}; set another metadata.split.")
    data = {side: RadiographBatches(store, rows) for side, rows in sides.items()}
    used = pd.concat(sides.values())
    digests = {
        "data": digest([used[["image_id", "content_hash", "label", "split"]].to_numpy().tolist(), store.steps]),
        "params": digest([images.model_dump(), params.model_dump()]),
        "code": code_digest(Path(cxrflow.__file__).parent, ("training", "bundle.py", "records.py")),
    }
    lightning.seed_everything(params.seed, verbose=False)
    mean, std = data["train"].mean_and_std()
    check_size(params.model, images.channels, images.size)
    network = find_model(params.model).build(images.channels, len(CLASSES))
    module = TrainingModule(network, params, images.channels, mean, std)
    checkpoints = _open_checkpoints(out / "checkpoints", digests)
    finished = checkpoints / "finished"
    if finished.exists():  # DVC removed the other outputs of a run whose checkpoints stand
        module.history = torch.load(checkpoints / "last.ckpt", weights_only=True)["history"]
    else:
        _fit(module, data, params, checkpoints, out)
        write_whole(finished, b"")
    write_history(module.history, out / "history.csv")
    chosen = int(max(module.history, key=lambda row: (row[_MONITOR], -row["epoch"]))["epoch"])
    best = torch.load(checkpoints / "best.ckpt", weights_only=True)
    module.load_state_dict(best["state_dict"])
    on_val = {k.removeprefix("val_"): v for k, v in module.history[chosen].items() if k.startswith("val_")}
    bundle = Bundle(
        cxrflow=cxrflow.__version__,
        model=params.model,
        classes=CLASSES,
        images=images,
        mean=mean,
        std=std,
        temperature=fit_temperature(*_logits(module, data["val"], params.batch_size)),
        sources={str(source): len(rows) for source, rows in used.groupby("source")},
        epoch=chosen,
        validation={name: value for name, value in on_val.items() if np.isfinite(value)},
        digests=digests,
    )
    write_bundle(out / "bundle", module.network, bundle, used)
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


class _WholeFiles(TorchCheckpointIO):
    """Checkpoints written beside their place and moved there, so that a kill never leaves half of one."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        temporary = f"{path}.writing"
        super().save_checkpoint(checkpoint, temporary, storage_options)
        os.replace(temporary, path)


class _History(lightning.Callback):
    """Writes ``history.csv`` after each epoch, whole."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        assert isinstance(module, TrainingModule)  # noqa: S101
        write_history(module.history, self._path)


def write_history(history: list[dict[str, float]], path: Path) -> None:
    """One row per epoch, as ``TrainingModule.history``."""
    frame = pd.DataFrame(history).astype({"epoch": int})
    write_whole(path, frame.to_csv(index=False, lineterminator="\n", float_format="%.6g").encode())


def _open_checkpoints(folder: Path, digests: dict[str, str]) -> Path:
    """The checkpoints of a run with these digests; those of any other run are removed."""
    try:
        same = json.loads((folder / "run.json").read_text()) == digests
    except (OSError, ValueError):
        same = False
    if not same:
        shutil.rmtree(folder, ignore_errors=True)
        write_json(folder / "run.json", digests)
    return folder


def _fit(
    module: TrainingModule, data: dict[str, RadiographBatches], params: Training, checkpoints: Path, out: Path
) -> None:
    balanced = BalancedBatches(data["train"].labels, params.batch_size, params.sample_weight_covid, params.seed)
    each_epoch: dict[str, Any] = {
        "dirpath": checkpoints,
        "save_on_train_epoch_end": True,
        "enable_version_counter": False,
    }
    best = ModelCheckpoint(filename="best", monitor=_MONITOR, mode="max", **each_epoch)
    last = ModelCheckpoint(filename="last", **each_epoch)
    stop = EarlyStopping(_MONITOR, mode="max", patience=params.early_stopping_epochs, check_on_train_epoch_end=True)
    trainer = lightning.Trainer(
        max_epochs=params.epochs,
        logger=False,
        callbacks=[best, last, stop, _History(out / "history.csv"), RichProgressBar()],
        plugins=[_WholeFiles()],
        devices=1,
        # On a GPU some layers have no deterministic gradient: they warn there; a CPU repeats every bit.
        deterministic="warn",
        num_sanity_val_steps=0,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    interrupted = checkpoints / "last.ckpt"
    if interrupted.exists():
        print(f"Going on after the last whole epoch in {interrupted}")
    with warnings.catch_warnings():
        # Batches are cut from memory-mapped arrays: there is nothing for worker processes to do.
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec.*")
        warnings.filterwarnings("ignore", ".*Checkpoint directory .* exists and is not empty.*")
        trainer.fit(
            module,
            loader(data["train"], balanced),
            loader(data["val"], PlainBatches(len(data["val"]), params.batch_size)),
            ckpt_path=interrupted if interrupted.exists() else None,
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
