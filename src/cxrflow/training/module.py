"""The Lightning module: loss, optimiser, learning-rate schedule and per-epoch metrics of the network passed in."""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytorch_lightning as lightning
import torch
from torch import nn
from torch.nn import functional
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAUROC, MulticlassConfusionMatrix

from cxrflow.models.model import to_input
from cxrflow.params import Training
from cxrflow.task import Task
from cxrflow.training.augmentation import augment
from cxrflow.training.cells import GroupDro
from cxrflow.training.data import Batch
from cxrflow.training.graphed import GraphedNetwork

#: Metric that selects the epoch: macro AUROC on val, with ties (easy data reach 1 early) broken by the lower loss. The
#: loss term is smaller than the change of AUROC when two images swap ranks.
CHOICE = "choice"
_TIE = 1e-5


class TrainingModule(lightning.LightningModule):
    """Trains ``network``.

    network  float (n, channels, size, size) to logits (n, classes), in the order of ``task``
    scale    mean and standard deviation that normalise the input, for pixels in [0, 1]
    Attributes: ``history``, a dict per epoch with losses and metrics on val; ``seconds``, that these epochs took,
    without what an interruption lost; ``origin``, saved in checkpoints: classes, sources, and pretrained_on, listed,
    scale and passport as in ``start.Start``; ``robust``, the group DRO loss over cells that replaces the mean loss, or
    None.
    """

    _class_weights: torch.Tensor

    def __init__(
        self, network: nn.Module, task: Task, params: Training, channels: int, scale: tuple[float, float]
    ) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)
        self._in_training = GraphedNetwork(self.network)
        self.history: list[dict[str, float]] = []
        self.seconds, self._begun = 0.0, 0.0
        self.origin: dict[str, Any] = {"pretrained_on": [], "listed": True}
        self.robust: GroupDro | None = None
        self._task, self._params = task, params
        self.input = (channels, *scale)
        weights = torch.tensor([params.loss_weights.get(name, 1.0) for name in task.order])
        self.register_buffer("_class_weights", weights, persistent=False)
        self._figures = figures_on_val(len(task.order))
        self._learning_rate = params.learning_rate
        # Synchronised over DDP ranks; NaN is kept, so that it is noticed.
        self._train_loss, self._val_loss = MeanMetric(nan_strategy="disable"), MeanMetric(nan_strategy="disable")

    def on_train_start(self) -> None:
        """Set this run's learning rate and weight decay, in place of those restored from a checkpoint."""
        schedule = self.lr_schedulers()
        assert isinstance(schedule, torch.optim.lr_scheduler.LambdaLR)  # noqa: S101
        rate = self._params.learning_rate
        schedule.base_lrs = [rate]
        (group,) = schedule.optimizer.param_groups
        group |= {
            "initial_lr": rate,
            "lr": rate * learning_rate_factor(self._params)(schedule.last_epoch),
            "weight_decay": self._params.weight_decay,
        }

    def on_train_epoch_start(self) -> None:
        """Record the learning rate of this epoch, and start the clock."""
        self._begun = time.monotonic()
        self._learning_rate = float(self.trainer.optimizers[0].param_groups[0]["lr"])

    def training_step(self, batch: tuple[torch.Tensor, ...], batch_index: int) -> torch.Tensor:
        """One step: augment, normalise, weighted cross-entropy."""
        images, labels, *cells = batch
        # Seeded by epoch, batch and rank, not by earlier draws: a resumed run draws the same.
        place = [self._params.seed, self.current_epoch, batch_index, self.global_rank]
        drawn = int(np.random.SeedSequence(place).generate_state(1)[0])
        random = torch.Generator().manual_seed(drawn)
        self._generator.manual_seed(drawn)  # for dropout
        changed = augment(images.float() / 255, self._params.augmentation, random)
        logits = self._in_training(to_input(changed, *self.input))
        if self.robust is None:
            loss = self._loss(logits, labels)
        else:
            loss = self.robust(self._loss(logits, labels, "none"), *cells)
        self._train_loss.update(loss.detach(), loss.new_full((), len(labels)))
        return loss

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Update metrics and loss with one batch of val, without augmentation."""
        images, labels = batch
        logits = self.network(to_input(images.float() / 255, *self.input))
        self._val_loss.update(self._loss(logits, labels), len(labels))
        self._figures.update(logits.softmax(dim=1), labels)

    def on_validation_epoch_end(self) -> None:
        """Append the epoch to ``history`` and log what checkpoints and early stopping monitor."""
        row = {
            "epoch": float(self.current_epoch),
            "learning_rate": self._learning_rate,
            "train_loss": float(self._train_loss.compute()),
            "val_loss": float(self._val_loss.compute()),
            **row_of(self._figures, self._task.order),
        }
        for metric in (self._figures, self._train_loss, self._val_loss):
            metric.reset()
        if not math.isfinite(row["train_loss"] + row["val_loss"]):
            raise FloatingPointError(
                f"training: the loss became NaN or infinite in epoch {self.current_epoch + 1}; lower "
                f"training.learning_rate ({self._params.learning_rate:g}) and run again."
            )
        self.history.append(row)
        self.seconds += time.monotonic() - self._begun
        self.log_dict({"val_macro_auroc": row["val_macro_auroc"], "val_loss": row["val_loss"]}, prog_bar=True)
        self.log(CHOICE, row["val_macro_auroc"] - _TIE * min(row["val_loss"], 10))

    @property
    def _generator(self) -> torch.Generator:
        """The generator of PyTorch that dropout draws from."""
        if self.device.type == "cuda":
            return torch.cuda.default_generators[self.device.index or 0]
        return torch.default_generator

    def configure_optimizers(self) -> Any:
        """AdamW, with the learning rate scheduled per epoch."""
        optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=self._params.learning_rate, weight_decay=self._params.weight_decay
        )
        return [optimiser], [torch.optim.lr_scheduler.LambdaLR(optimiser, learning_rate_factor(self._params))]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save history, time and origin with the weights."""
        checkpoint["history"] = self.history
        checkpoint["seconds"] = self.seconds
        checkpoint["origin"] = self.origin
        if self.robust is not None:
            checkpoint["robust"] = self.robust.weights

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore history and time and, if the number of cells is the same, the group DRO weights."""
        self.history = checkpoint["history"]
        self.seconds = checkpoint.get("seconds", 0.0)  # which a checkpoint of before lacks
        weights = checkpoint.get("robust")
        if self.robust is not None and weights is not None and len(weights) == len(self.robust.weights):
            self.robust.weights.copy_(weights)

    def _loss(self, logits: torch.Tensor, labels: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
        return functional.cross_entropy(logits, labels, weight=self._class_weights, reduction=reduction)


def figures_on_val(classes: int) -> MetricCollection:
    """The metrics on val, which take probabilities, float (n, classes), and class indices, int64 (n,)."""
    return MetricCollection(
        {
            "auroc": MulticlassAUROC(classes, average="none", thresholds=None),
            "confusion": MulticlassConfusionMatrix(classes),
        }
    )


def row_of(figures: MetricCollection, order: Sequence[str]) -> dict[str, float]:
    """Macro AUROC, sensitivity and PPV of each class, by their names in the history."""
    values = figures.compute()
    confusion = values["confusion"].double()  # true class on rows
    present = confusion.sum(dim=1) > 0  # a class without an image has no AUROC
    row, right = {"val_macro_auroc": float(values["auroc"][present].mean())}, confusion.diagonal()
    for position, name in enumerate(order):
        row[f"val_sensitivity_{name}"] = float(right[position] / confusion[position].sum())
        # NaN, a gap in the curve, where the class was never predicted.
        row[f"val_ppv_{name}"] = float(right[position] / confusion[:, position].sum())
    return row


def on_val(row: dict[str, float]) -> dict[str, float]:
    """The finite figures on val of a row of the history."""
    figures = {name.removeprefix("val_"): value for name, value in row.items() if name.startswith("val_")}
    return {name: value for name, value in figures.items() if np.isfinite(value)}


def learning_rate_factor(params: Training) -> Callable[[int], float]:
    """Learning-rate factor by epoch: step decay, as in the paper, or linear warm-up and cosine annealing to 0."""
    schedule = params.schedule

    def factor(epoch: int) -> float:
        if schedule.name == "step":
            return schedule.step_factor ** (epoch // schedule.step_epochs)
        if epoch < schedule.warmup_epochs:
            return (epoch + 1) / (schedule.warmup_epochs + 1)
        passed = (epoch - schedule.warmup_epochs) / max(1, params.epochs - schedule.warmup_epochs)
        return 0.5 * (1 + math.cos(math.pi * passed))

    return factor
