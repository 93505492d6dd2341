"""What a training shows while it runs: a bar or a line for each epoch, and how long all takes."""

import time
from typing import Any

import pytorch_lightning as lightning
from pytorch_lightning.callbacks import ProgressBar, RichProgressBar

from cxrflow.terminal import console, is_quiet, remark, time_left

#: How long a training runs before it says how long all takes, if its first epoch has not ended (seconds).
_FIRST_STEPS = 30.0
#: What takes less is not announced (seconds).
_LONG = 60.0


def progress(networks: int) -> list[lightning.Callback]:
    """Callbacks that show a bar on a terminal, else a line for each epoch, and say how long the training takes.

    networks  that are left to train, this one included
    """
    return [EpochBar() if console().is_terminal and not is_quiet() else EpochLines(), TimeLeft(networks)]


class EpochBar(RichProgressBar):
    """Lightning's bar, with epochs counted from 1."""

    def _get_train_description(self, current_epoch: int) -> str:
        return f"{_epoch(self.trainer, current_epoch):{len(self.validation_description)}}"


class EpochLines(ProgressBar):
    """A line after each epoch, with the metrics that the module logs for a bar, and its time."""

    def __init__(self) -> None:
        super().__init__()
        self._begun, self._prints = 0.0, True

    def disable(self) -> None:
        """Print nothing, as in all DDP ranks but 0."""
        self._prints = False

    def enable(self) -> None:
        """Print."""
        self._prints = True

    def on_train_epoch_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Start the clock."""
        self._begun = time.monotonic()

    def on_train_epoch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Print the line."""
        if self._prints:
            figures = [f"{name} {float(value):.3f}" for name, value in trainer.progress_bar_metrics.items()]
            said = ", ".join([*figures, f"{time.monotonic() - self._begun:.1f} s"])
            remark(f"{_epoch(trainer, trainer.current_epoch)}: {said}")


class TimeLeft(lightning.Callback):
    """Says once, after half a minute or the first epoch, about how long this network and those after it take.

    As if each of those took as long an epoch as this one, and trained for as many; this one may have been resumed.
    """

    def __init__(self, networks: int) -> None:
        self._networks, self._said, self._begun, self._steps = networks, False, 0.0, 0

    def on_train_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Start the clock."""
        self._begun = time.monotonic()

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Estimate it from the steps so far."""
        self._steps += 1
        if (spent := time.monotonic() - self._begun) >= _FIRST_STEPS:
            self._say(trainer, spent / self._steps * float(trainer.num_training_batches))

    def on_train_epoch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Estimate it from the whole epoch, with its validation."""
        self._say(trainer, time.monotonic() - self._begun)

    def _say(self, trainer: lightning.Trainer, epoch_seconds: float) -> None:
        epochs = trainer.max_epochs or 1
        this = epoch_seconds * (epochs - trainer.current_epoch)
        together = this + epoch_seconds * epochs * (self._networks - 1)
        if not self._said and trainer.is_global_zero and together >= _LONG:
            remark(f"{time_left(this, together, self._networks)}.")
        self._said = True


def _epoch(trainer: lightning.Trainer, current: int) -> str:
    return f"Epoch {current + 1}/{trainer.max_epochs}"
