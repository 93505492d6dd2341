"""What a training shows: epochs from 1, in lines or on a bar, and how long all networks take."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cxrflow import progress
from cxrflow.dataset import Dataset
from cxrflow.params import Images, Training
from cxrflow.terminal import set_quiet
from cxrflow.training.train import train

Tiny = Callable[..., tuple[Dataset, Images]]


@pytest.fixture(autouse=True)
def _heard() -> Iterator[None]:
    yield
    set_quiet(False)


@pytest.fixture
def short(training: Training) -> Training:
    return training.model_copy(update={"epochs": 3})


def test_a_file_gets_a_line_for_each_epoch(tiny: Tiny, short: Training, tmp_path: Path, capsys) -> None:
    train(*tiny(60), short, tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["Epoch 1/3", "Epoch 2/3", "Epoch 3/3"]
    pattern = r"Epoch \d/3: val_macro_auroc [01]\.\d{3}, val_loss \d\.\d{3}, \d+\.\d s"
    assert all(re.fullmatch(pattern, line) for line in lines)


def test_a_terminal_gets_a_bar_that_counts_from_1(
    tiny: Tiny, short: Training, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TTY_INTERACTIVE", "0")
    train(*tiny(60), short, tmp_path)
    printed = capsys.readouterr().out
    assert "Epoch 3/3" in printed
    assert "━" in printed
    assert "Epoch 0/" not in printed


def test_nothing_is_shown_if_quiet(tiny: Tiny, short: Training, tmp_path: Path, capsys) -> None:
    set_quiet(True)
    train(*tiny(60), short.model_copy(update={"members": [{}, {"seed": 5}]}), tmp_path)
    assert capsys.readouterr().out == ""


def test_how_long_all_networks_take_is_said_after_the_first_epoch_of_each(
    tiny: Tiny, short: Training, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(range(0, 10**6, 20))  # the clock goes 20 seconds from one look at it to the next
    monkeypatch.setattr(progress, "time", type("Clock", (), {"monotonic": staticmethod(lambda: float(next(now)))}))
    monkeypatch.setattr(progress, "_FIRST_STEPS", 1e9)
    two = short.model_copy(update={"members": [{}, {"seed": 5}]})
    train(*tiny(60), two, tmp_path, to_follow=2)
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("About")]
    assert len(said) == 2
    assert said[0].endswith("for the 6 that are left.")
    assert said[1].endswith("for the 5 that are left.")


def test_the_estimate_from_steps_is_what_they_took(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    class Trainer:
        num_training_batches, max_epochs, current_epoch, is_global_zero = 100, 12, 2, True

    started = time.monotonic()
    left = progress.TimeLeft(3)
    for second in (0.0, 6.0, 18.0, 31.0, 90.0):  # three steps in 31 seconds; the fifth look says nothing more
        monkeypatch.setattr(progress.time, "monotonic", lambda second=second: started + second)
        (left.on_train_batch_end if second else left.on_train_start)(Trainer())
    # 31 s / 3 steps x 100 steps x 10 epochs = 10,333 s = 2.9 hours; two more of 12 epochs, 24,800 s; 9.8 hours in all
    said = "About 2.9 hours for this network, about 9.8 hours for the 3 that are left.\n"
    assert capsys.readouterr().out == said


def test_the_networks_after_a_resumed_one_train_for_all_epochs(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    class Trainer:
        max_epochs, current_epoch, is_global_zero = 100, 90, True

    left, now = progress.TimeLeft(10), iter([0.0, 60.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    left.on_train_start(Trainer())
    left.on_train_epoch_end(Trainer())
    # 10 epochs of a minute, and nine networks of 100: 910 minutes
    said = "About 10 minutes for this network, about 15.2 hours for the 10 that are left.\n"
    assert capsys.readouterr().out == said
