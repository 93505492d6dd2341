"""In-domain pretraining: a backbone learns from the training images alone, without their labels or sources.

For those who have no ImageNet weights at hand. The method is SimCLR (Chen et al. 2020, arXiv:2002.05709): random
changes make two views of each image, and the network, its last layer replaced by a projection, learns to find the other
view of an image among all views of its batch. Needs the extra ``pretraining`` (MONAI); to train from what comes of it
takes nothing more.
"""

import hashlib
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as lightning
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from pytorch_lightning.callbacks import ModelCheckpoint, RichProgressBar
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn
from torch.nn import functional
from torchmetrics import MeanMetric

import cxrflow
from cxrflow.bundle import TRAINED_ON, read_trained_on, seen_rows
from cxrflow.errors import CxrflowError
from cxrflow.files import code_digest, digest, write_json, write_whole
from cxrflow.images.prepare import Store, check_steps
from cxrflow.params import Augmentation, Images
from cxrflow.records import CLASSES
from cxrflow.training.augmentation import augment
from cxrflow.training.checkpoints import RUN, WholeFiles, accelerator, begun_by_same, fitting
from cxrflow.training.data import BalancedBatches, Batch, RadiographBatches, loader
from cxrflow.training.models import find_model
from cxrflow.training.models.measure import check_size
from cxrflow.training.module import to_input

WEIGHTS, DESCRIPTION = "backbone.safetensors", "backbone.json"
#: What ``trained_on.csv`` says of the images in the place of their split.
SPLIT = "pretraining"

BATCH_SIZE = 64
#: The paper's best (table 5), and the length of its projections (section 2.1).
TEMPERATURE, PROJECTION = 0.1, 128
_METHOD = f"SimCLR (arXiv:2002.05709), batches of {BATCH_SIZE}, temperature {TEMPERATURE}"
_RATE, _DECAY, _CLIP = 5e-4, 1e-2, 1.0
_WARMUP = 0.1  # share of all steps
_CODE = ("augmentation.py", "checkpoints.py", "data.py", "models", "module.py", "pretrain.py")

#: Changes of a view, beside its crop and its grey levels. Crops alone leave the histogram, by which a network tells
#: images apart without looking at what they show (section 3.1): the grey levels change as much.
CHANGES = Augmentation(flip=0.5, rotate_degrees=15, shift=0, zoom=0, aspect=0.15, brightness=0.3, contrast=0, gamma=0)
LEAST_AREA = 0.2  # share of a picture that its crop shows at least
GAMMA = 2.0  # greatest, and one over the least
CONTRAST = 0.5  # +-, share


class Backbone(BaseModel):
    """``backbone.json``.

    format     1
    cxrflow    version that wrote it
    model      name of the network, as find_model knows it
    images     image steps, size and channels
    mean, std  of training pixels, as shares of white: the input was (pixel / 255 - mean) / std
    method     how it was pretrained
    sources    images of each source that it was pretrained on
    epochs     passes over these images
    loss       mean of each epoch; log(2 * BATCH_SIZE - 1), 4.84, is what guessing gives in a full batch
    digests    of data, params and code, of the weights' file and of ``trained_on.csv``
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = 1
    cxrflow: str
    model: str
    images: Images
    mean: float
    std: float
    method: str
    sources: dict[str, int]
    epochs: int
    loss: tuple[float, ...]
    digests: dict[str, str]


def pretrain(
    records: pd.DataFrame, store: Store, images: Images, model: str, epochs: int, seed: int, out: Path
) -> Backbone:
    """Pretrain the network called ``model`` on the rows of split ``train``; write what ``read_backbone`` reads.

    records  kept rows (columns of records.py); labels are not looked at, and sources only counted
    out      folder for the backbone and ``history.csv``, the loss of each epoch; an interrupted run that was begun with
             the same params, data and code goes on from the last whole epoch in ``out/checkpoints``
    Raises CxrflowError where there are fewer than two training images, the store was prepared by other steps, the
    network comes pretrained, has no linear last layer or does not take pictures of that size, the extra is not
    installed, the loss is no longer a number, or memory does not suffice.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise CxrflowError("pretraining: it runs in one process; start it without torchrun.")
    loss = _loss()
    check_steps(store, images)
    check_size(model, images.channels, images.size)
    known = find_model(model)
    if known.load_pretrained is not None:
        raise CxrflowError(f"pretraining: {model} comes pretrained; train it with training.start: scratch.")
    used = records[
        (records.split == "train") & records.image_id.isin(store.index.image_id[store.index.left_out.isna()])
    ]
    if len(used) < 2:
        raise CxrflowError(f"pretraining: it takes two training images at least, there are {len(used)}.")
    data = RadiographBatches(store, used[["image_id"]].assign(label=CLASSES[0]))  # the true labels stay outside
    digests = {
        "data": digest([used[["image_id", "content_hash"]].to_numpy().tolist(), store.steps]),
        "params": digest([images.model_dump(), model, epochs, seed]),
        "code": code_digest(Path(__file__).parent, _CODE),
    }
    lightning.seed_everything(seed, verbose=False)
    mean, std = data.mean_and_std()
    network = known.architecture(images.channels, len(CLASSES))
    last_layer = put_projection(network, len(CLASSES))
    batches = BalancedBatches(data.labels, BATCH_SIZE, None, seed)
    module = SimClr(network, loss, epochs * len(batches), seed, (images.channels, mean, std), out / "history.csv")
    checkpoints = out / "checkpoints"
    if not begun_by_same(checkpoints, digests):
        shutil.rmtree(checkpoints, ignore_errors=True)
        write_json(checkpoints / RUN, digests)
    _fit(module, data, batches, epochs, checkpoints)
    state = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in network.state_dict().items()
        if not name.startswith(f"{last_layer}.")
    }
    backbone = Backbone(
        cxrflow=cxrflow.__version__,
        model=model,
        images=images,
        mean=mean,
        std=std,
        method=_METHOD,
        sources={str(source): len(rows) for source, rows in used.groupby("source")},
        epochs=epochs,
        loss=tuple(module.history),
        digests=digests,
    )
    return _write(out, backbone, state, seen_rows(used.assign(split=SPLIT)))


def read_backbone(folder: Path) -> tuple[Backbone, dict[str, torch.Tensor], pd.DataFrame]:
    """What ``pretrain`` wrote: its description; the network's ``state_dict`` without the last layer's tensors, on the
    CPU; and the images that it has seen, as ``bundle.seen_rows`` gives them, their split SPLIT.

    Raises CxrflowError where the folder holds no backbone, a damaged one, or one of another version.
    """
    try:
        backbone = Backbone.model_validate_json((folder / DESCRIPTION).read_bytes())
    except OSError:
        raise CxrflowError(f"{folder}: no pretrained backbone there ({DESCRIPTION} cannot be read).") from None
    except ValidationError as error:
        first = error.errors()[0]
        problem = ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"])))
        raise CxrflowError(
            f"{folder / DESCRIPTION}: damaged, or of another version of cxrflow ({problem}); pretrain again."
        ) from None
    for name, key in ((WEIGHTS, "weights"), (TRAINED_ON, "trained_on")):
        try:
            content = (folder / name).read_bytes()
        except OSError:
            raise CxrflowError(f"{folder / name}: absent, so the backbone cannot be used; pretrain again.") from None
        if hashlib.sha256(content).hexdigest() != backbone.digests.get(key):
            raise CxrflowError(f"{folder / name}: damaged, it is not what {DESCRIPTION} describes; pretrain again.")
    try:
        state = load((folder / WEIGHTS).read_bytes())
    except SafetensorError as error:
        raise CxrflowError(f"{folder / WEIGHTS}: holds no weights ({error}); pretrain again.") from None
    return backbone, state, read_trained_on(folder)


def views(images: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """One view of each image: cropped, moved as CHANGES says, and with other grey levels, by its own random amounts.

    images  float (n, channels, size, size) in [0, 1]
    random  on the CPU: the amounts do not depend on the device
    Returns the same shape, dtype and range.
    """
    n = len(images)

    def around_zero(*shape: int) -> torch.Tensor:
        return 2 * torch.rand(shape, generator=random) - 1

    # A square inside the picture, its area even between LEAST_AREA and 1 (appendix A, without the change of aspect).
    side = (LEAST_AREA + (1 - LEAST_AREA) * torch.rand(n, generator=random)).sqrt()
    centre = (1 - side)[:, None] * around_zero(n, 2)
    matrix = torch.cat([side[:, None, None] * torch.eye(2), centre[:, :, None]], dim=2).to(images)
    grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
    cropped = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    moved = augment(cropped, CHANGES, random)
    gamma = torch.exp(math.log(GAMMA) * around_zero(n, 1, 1, 1)).to(images)
    contrast = (1 + CONTRAST * around_zero(n, 1, 1, 1)).to(images)
    changed = moved.pow(gamma)
    middle = changed.mean(dim=(1, 2, 3), keepdim=True)
    return (middle + contrast * (changed - middle)).clamp(0, 1)


def put_projection(network: nn.Module, classes: int) -> str:
    """Put a projection in the place of a network's last layer; returns that layer's name.

    The projection is linear, ReLU, linear (section 2.1): float (n, features) to (n, PROJECTION).
    classes  outputs of the network, by which its last layer is known
    Raises CxrflowError where the network has no such layer.
    """
    named = [(name, m) for name, m in network.named_modules() if isinstance(m, nn.Linear) and m.out_features == classes]
    if not named:
        raise CxrflowError("pretraining: the network does not end in a linear layer; set another training.model.")
    name, layer = named[-1]
    width = layer.in_features
    network.set_submodule(name, nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, PROJECTION)))
    return name


class SimClr(lightning.LightningModule):
    """Trains ``network``, which ends in a projection; ``history`` holds the mean loss of each epoch.

    loss    of projections of two views, float (n, PROJECTION) each, row by row of the same image
    steps   of the optimiser, altogether
    input   channels, mean and standard deviation, as ``to_input`` takes them
    table   the CSV file that the history is written to after each epoch
    """

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module,
        steps: int,
        seed: int,
        input: tuple[int, float, float],
        table: Path,
    ) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)
        self.history: list[float] = []
        self._loss, self._steps, self._seed, self._input, self._table = loss, steps, seed, input, table
        self._mean_loss = MeanMetric(nan_strategy="disable")  # a loss that is not a number stays one

    def training_step(self, batch: Batch, batch_index: int) -> torch.Tensor:
        """One step: two views of each image through the network together, NT-Xent loss (equation 1)."""
        images, _ = batch
        # Seeded by the place in training, not by what was drawn before, dropout too: a resumed run draws the same.
        place = np.random.SeedSequence([self._seed, self.current_epoch, batch_index]).generate_state(2)
        torch.manual_seed(int(place[0]))
        random = torch.Generator().manual_seed(int(place[1]))
        both = views((images.float() / 255).repeat(2, 1, 1, 1), random)
        one, other = self.network(to_input(both, *self._input)).float().chunk(2)
        loss = self._loss(one, other)
        self._mean_loss.update(loss.detach(), len(images))
        self.log("loss", loss, prog_bar=True)
        return loss

    def on_train_epoch_end(self) -> None:
        """Enter the epoch in ``history``."""
        loss = float(self._mean_loss.compute())
        self._mean_loss.reset()
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"pretraining: the loss is no longer a number in epoch {self.current_epoch}; set another training.seed "
                "or training.model."
            )
        self.history.append(loss)
        rows = "".join(f"{epoch},{value:.6g}\n" for epoch, value in enumerate(self.history))
        write_whole(self._table, f"epoch,loss\n{rows}".encode())

    def configure_optimizers(self) -> Any:
        """AdamW, and the learning rate of each step from the schedule."""
        optimiser = torch.optim.AdamW(self.network.parameters(), lr=_RATE, weight_decay=_DECAY)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, learning_rate_factor(self._steps))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the history with the weights, so that a resumed run has all of it."""
        checkpoint["history"] = self.history

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the history up again."""
        self.history = checkpoint["history"]


def learning_rate_factor(steps: int) -> Callable[[int], float]:
    """Factor on the learning rate by step: a linear warm-up over a tenth of them, then half a cosine to 0."""
    warmup = max(1, round(_WARMUP * steps))

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))

    return factor


def _loss() -> nn.Module:
    try:
        from monai.losses import ContrastiveLoss
    except ImportError:
        raise CxrflowError("pretraining: it needs MONAI; `pip install 'cxrflow[pretraining]'`.") from None
    return ContrastiveLoss(TEMPERATURE)


def _fit(module: SimClr, data: RadiographBatches, batches: BalancedBatches, epochs: int, checkpoints: Path) -> None:
    last = checkpoints / "last.ckpt"
    trainer = lightning.Trainer(
        max_epochs=epochs,
        logger=False,
        callbacks=[
            ModelCheckpoint(checkpoints, filename="last", save_on_train_epoch_end=True, enable_version_counter=False),
            RichProgressBar(),
        ],
        plugins=[WholeFiles()],
        accelerator=accelerator(),
        devices=1,
        precision="bf16-mixed" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "32-true",
        gradient_clip_val=_CLIP,
        deterministic="warn",  # as in train.py
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    if last.exists():
        print(f"Going on after the last whole epoch in {last}")
    with fitting(
        f"pretraining: memory does not suffice for two views of {BATCH_SIZE} images; lower images.size or take a "
        "smaller network.",
        "What was trained up to the last whole epoch is kept.",
    ):
        trainer.fit(module, loader(data, batches), ckpt_path=last if last.exists() else None, weights_only=True)
    # Lightning leaves the weights as they are where a finished run has nothing left to train.
    kept = torch.load(last, map_location="cpu", weights_only=True)
    module.load_state_dict(kept["state_dict"])
    module.history = kept["history"]


def _write(out: Path, backbone: Backbone, state: dict[str, torch.Tensor], seen: pd.DataFrame) -> Backbone:
    weights = save(state, metadata={"format": "pt"})
    rows = seen.to_csv(index=False, lineterminator="\n").encode()
    hashes = {"weights": hashlib.sha256(weights).hexdigest(), "trained_on": hashlib.sha256(rows).hexdigest()}
    backbone = backbone.model_copy(update={"digests": backbone.digests | hashes})
    write_whole(out / WEIGHTS, weights)
    write_whole(out / TRAINED_ON, rows)
    write_whole(out / DESCRIPTION, (backbone.model_dump_json(indent=2) + "\n").encode())
    return backbone
