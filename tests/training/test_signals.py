"""Training that is told to end does so at once, with the exit status of the signal, and resumes."""

import os
import signal
from pathlib import Path

import pandas as pd
import pytest

from cxrflow import cli
from cxrflow.training.module import TrainingModule
from cxrflow.training.train import train


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_training_and_the_next_run_goes_on(
    tiny, training, tmp_path: Path, monkeypatch, number: signal.Signals, status: int
) -> None:
    training = training.model_copy(update={"epochs": 3})
    real = TrainingModule.training_step

    def step(self: TrainingModule, batch, position: int):
        if self.current_epoch == 2:
            os.kill(os.getpid(), number)
        return real(self, batch, position)

    before = signal.signal(number, cli._stop)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(TrainingModule, "training_step", step)
            with pytest.raises(SystemExit) as stopped:
                train(*tiny(60), training, tmp_path)
    finally:
        signal.signal(number, before)
    assert stopped.value.code == status
    assert len(pd.read_csv(tmp_path / "history.csv")) == 2
    assert not (tmp_path / "bundle").exists()
    train(*tiny(60), training, tmp_path)
    assert len(pd.read_csv(tmp_path / "history.csv")) == 3
