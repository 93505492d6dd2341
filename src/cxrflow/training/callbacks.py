"""Lightning callbacks of a training: moving average of the weights, early stopping, the history on disk."""

import itertools
from collections.abc import Callable
from typing import Any

import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import EarlyStopping, WeightAveraging

from cxrflow.training.module import TrainingModule

#: Metrics of an epoch, as in ``TrainingModule.history``.
History = list[dict[str, float]]


class MovingAverage(WeightAveraging):
    """Exponential moving average of weights and buffers, which validation and checkpoints use.

    The decay warms up to ``decay`` as (1 + steps) / (10 + steps), so that a short training does not end near its random
    start (TensorFlow's ``ExponentialMovingAverage`` with ``num_updates``). Lightning's own ``EMAWeightAveraging`` has a
    constant decay; timm's ``ModelEmaV3`` has this warm-up, but Lightning would not validate and checkpoint its weights.
    The trainer counts the steps: PyTorch's ``AveragedModel``, whose update Lightning would call, keeps its count on the
    GPU and waits for it several times a step.
    """

    def __init__(self, decay: float) -> None:
        super().__init__()
        self._decay = decay

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Update the average after a step of the optimiser; after the first it is the weights."""
        before = trainer.global_step - 1
        if before < self._latest_update_step:
            return
        assert self._average_model is not None  # noqa: S101
        kept = min(self._decay, (1 + before) / (10 + before)) if before else 0.0
        mean, now = _tensors(self._average_model.module), _tensors(pl_module)
        real = [tensor.is_floating_point() for tensor in mean]
        torch._foreach_lerp_(_where(mean, real), _where(now, real), 1 - kept)
        for counter, value in zip(_where(mean, real, False), _where(now, real, False), strict=True):
            counter.copy_(value)
        self._latest_update_step = trainer.global_step


def _tensors(module: torch.nn.Module) -> list[torch.Tensor]:
    return [tensor.detach() for tensor in itertools.chain(module.parameters(), module.buffers())]


def _where(tensors: list[torch.Tensor], real: list[bool], wanted: bool = True) -> list[torch.Tensor]:
    return [tensor for tensor, is_real in zip(tensors, real, strict=True) if is_real == wanted]


class Stop(EarlyStopping):
    """Early stopping. A resumed run restores its state; a run started from another run's checkpoint resets it."""

    def __init__(self, patience: int, same_run: bool) -> None:
        super().__init__("val_macro_auroc", mode="max", patience=patience, check_on_train_epoch_end=True)
        self._same_run = same_run

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of the same run."""
        if self._same_run:
            super().load_state_dict(state_dict)

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Stop at once if the run was killed just after it stopped early."""
        trainer.should_stop = self.wait_count >= self.patience


class WriteHistory(lightning.Callback):
    """Writes the history after each epoch."""

    def __init__(self, write: Callable[[History], None]) -> None:
        self._write = write

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Write."""
        assert isinstance(module, TrainingModule)  # noqa: S101
        if trainer.is_global_zero:
            self._write(module.history)
