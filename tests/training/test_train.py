"""Training end to end on a tiny set: it learns, repeats itself to the byte, and survives a kill."""

import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.functional import cross_entropy, softmax

from cxrflow.bundle import read_bundle, read_trained_on
from cxrflow.errors import CxrflowError
from cxrflow.images.prepare import Store
from cxrflow.params import Images, Params, Training
from cxrflow.training.module import TrainingModule, learning_rate_factor
from cxrflow.training.train import fit_temperature, running_mean, train

Tiny = Callable[..., tuple[pd.DataFrame, Store, Images]]
FILES = ("model.safetensors", "bundle.json", "trained_on.csv")


@pytest.fixture(scope="session")
def training(params: Params) -> Training:
    update = {"model": "crnn", "epochs": 4, "batch_size": 16, "learning_rate": 0.002}
    return params.training.model_copy(update=update)


def contents(out: Path) -> dict[str, bytes]:
    return {name: (out / "bundle" / name).read_bytes() for name in FILES} | {
        "history": (out / "history.csv").read_bytes()
    }


def test_it_learns_and_the_bundle_says_how(tiny: Tiny, training: Training, tmp_path: Path) -> None:
    records, store, steps = tiny(120)
    bundle = train(records, store, steps, training, tmp_path)
    history = pd.read_csv(tmp_path / "history.csv")
    assert history.epoch.tolist() == [0, 1, 2, 3]
    assert bundle.validation["macro_auroc"] == pytest.approx(history.val_macro_auroc.max(), abs=1e-5)
    assert bundle.validation["macro_auroc"] > 0.9
    tied = history[history.val_macro_auroc == history.val_macro_auroc.max()]
    assert bundle.epoch == tied.epoch[tied.val_loss.idxmin()]
    read, network = read_bundle(tmp_path / "bundle")
    assert read.digests == bundle.digests | {"weights": read.digests["weights"]}
    assert not network.training
    seen = read_trained_on(tmp_path / "bundle")
    assert sorted(seen.content_hash) == sorted(records.content_hash)
    assert not seen.patient.str.contains("tiny").any()


def test_twice_the_same_and_after_an_interruption_too(tiny: Tiny, training: Training, tmp_path: Path) -> None:
    """kill -9 once the second epoch is saved; the run that goes on ends with the bytes of one that was left alone."""
    records, store, steps = tiny()
    train(records, store, steps, training, tmp_path / "whole")
    context = multiprocessing.get_context("spawn")
    child = context.Process(target=train, args=(records, store, steps, training, tmp_path / "killed"))
    child.start()
    history = tmp_path / "killed" / "history.csv"
    deadline = time.monotonic() + 120
    while not (history.exists() and len(history.read_text().splitlines()) >= 3):
        assert time.monotonic() < deadline, "training did not reach its second epoch"
        assert child.is_alive(), "training ended before it could be killed"
        time.sleep(0.005)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    assert not (tmp_path / "killed" / "bundle").exists()
    kept = (tmp_path / "killed" / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    train(records, store, steps, training, tmp_path / "killed")
    assert kept < (tmp_path / "killed" / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_what_was_removed_from_a_finished_run_is_made_again(tiny: Tiny, training: Training, tmp_path: Path) -> None:
    """DVC removes history and bundle before it reruns a stage, and leaves the checkpoints."""
    records, store, steps = tiny(60)
    stopping = training.model_copy(update={"epochs": 8, "early_stopping_epochs": 1})
    train(records, store, steps, stopping, tmp_path)
    first = contents(tmp_path)
    (tmp_path / "history.csv").unlink()
    shutil.rmtree(tmp_path / "bundle")
    train(records, store, steps, stopping, tmp_path)
    assert contents(tmp_path) == first


def test_images_of_other_steps_are_not_trained_on(tiny: Tiny, training: Training, tmp_path: Path) -> None:
    records, store, steps = tiny(30)
    with pytest.raises(CxrflowError, match="other image steps"):
        train(records, store, steps.model_copy(update={"size": 64}), training, tmp_path)


def test_a_loss_that_is_no_number_stops_in_one_sentence(tiny: Tiny, training: Training, tmp_path: Path) -> None:
    records, store, steps = tiny(60)
    with pytest.raises(CxrflowError, match=r"no longer a number in epoch \d+; lower training.learning_rate"):
        train(records, store, steps, training.model_copy(update={"learning_rate": 1e30}), tmp_path)


def test_what_was_trained_before_the_loss_was_no_number_is_kept(
    tiny: Tiny, training: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss breaks in the third epoch; the error's advice, followed to the letter, goes on from the second."""
    records, store, steps = tiny(60)
    loss = TrainingModule._loss
    broken = lambda self, *a, **k: loss(self, *a, **k) * (float("nan") if self.current_epoch == 2 else 1)  # noqa: E731
    monkeypatch.setattr(TrainingModule, "_loss", broken)
    with pytest.raises(
        CxrflowError, match=r"in epoch 2; .*move \S+ elsewhere first and set training.start to its last"
    ):
        train(records, store, steps, training, tmp_path / "run")
    monkeypatch.undo()
    shutil.move(tmp_path / "run" / "checkpoints", tmp_path / "kept")
    lower = {"learning_rate": 0.001, "start": str(tmp_path / "kept" / "last.ckpt")}
    train(records, store, steps, training.model_copy(update=lower), tmp_path / "run")
    assert pd.read_csv(tmp_path / "run" / "history.csv").epoch.tolist() == [0, 1, 2, 3]


def test_a_run_killed_after_it_stopped_early_does_not_train_on(tiny: Tiny, training: Training, tmp_path: Path) -> None:
    """The checkpoint of the last epoch stands, the mark of a finished run does not: nothing is left to train."""
    records, store, steps = tiny(60)
    still = {"learning_rate": 1e-12, "early_stopping_epochs": 1, "epochs": 9, "average": None}
    stopping = training.model_copy(update=still)
    train(records, store, steps, stopping, tmp_path)
    first = contents(tmp_path)
    assert len(pd.read_csv(tmp_path / "history.csv")) < 9
    (tmp_path / "checkpoints" / "finished").unlink()
    train(records, store, steps, stopping, tmp_path)
    assert contents(tmp_path) == first


def test_the_loss_is_the_weighted_cross_entropy_and_val_is_not_changed(tiny: Tiny, training: Training) -> None:
    """By hand: -(w_a log p_a + w_b log p_b) / (w_a + w_b); the same val batch gives the same loss at any step."""
    weights = {"covid": 3.0, "normal": 1.0, "pneumonia": 1.0}
    module = TrainingModule(torch.nn.Flatten(), training.model_copy(update={"loss_weights": weights}), 1, 0, 1)
    logits = torch.log(torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]]))
    by_hand = -(3 * np.log(0.5) + np.log(0.8)) / 4
    assert module._loss(logits, torch.tensor([0, 1])).item() == pytest.approx(by_hand)
    images, labels = torch.randint(0, 256, (2, 1, 1, 3), dtype=torch.uint8), torch.tensor([0, 1])
    module.eval()
    for step in range(2):
        module.validation_step((images, labels), step)
    expected = cross_entropy(images.flatten(1) / 255, labels, torch.tensor([3.0, 1, 1]))
    assert module._val_loss.compute().item() == pytest.approx(expected.item(), rel=1e-5)


def test_checkpoints_of_other_params_or_data_are_not_used(tiny: Tiny, training: Training, tmp_path: Path) -> None:
    records, store, steps = tiny(60)
    short = training.model_copy(update={"epochs": 2})
    train(records, store, steps, short, tmp_path)
    first = (tmp_path / "checkpoints" / "run.json").read_text()
    relabelled = records.assign(label=records.label.map({"covid": "normal", "normal": "covid"}).fillna("pneumonia"))
    train(relabelled, store, steps, short, tmp_path)
    assert (tmp_path / "checkpoints" / "run.json").read_text() != first
    train(records, store, steps, short, tmp_path / "fresh")
    train(records, store, steps, short, tmp_path)
    assert contents(tmp_path) == contents(tmp_path / "fresh")


def test_a_class_without_validation_images_stops_at_once(tiny: Tiny, training: Training, tmp_path: Path) -> None:
    records, store, steps = tiny(60)
    without = records[(records.label != "covid") | (records.split == "train")]
    with pytest.raises(CxrflowError, match="no val image of class covid"):
        train(without, store, steps, training, tmp_path)


def test_temperature_minimises_the_cross_entropy() -> None:
    """Labels drawn from softmax(logits / 2.5): the temperature found is near 2.5 and no neighbour does better."""
    random = np.random.default_rng(0)
    logits = random.normal(0, 4, (4000, 3))
    shares = softmax(torch.from_numpy(logits / 2.5), dim=1).numpy()
    labels = np.array([random.choice(3, p=p) for p in shares])
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(2.5, rel=0.08)

    def loss(temperature: float) -> float:
        return float(cross_entropy(torch.from_numpy(logits / temperature), torch.from_numpy(labels)))

    assert loss(found) <= min(loss(found * 1.05), loss(found / 1.05))


def test_schedules(training: Training) -> None:
    step = training.model_copy(
        update={"schedule": training.schedule.model_copy(update={"name": "step", "step_epochs": 7, "step_factor": 0.1})}
    )
    factors = [learning_rate_factor(step)(epoch) for epoch in (0, 6, 7, 13, 14)]
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01])  # the paper: times 0.1 every 7 epochs
    cosine = training.model_copy(update={"epochs": 11})
    factors = [learning_rate_factor(cosine)(epoch) for epoch in range(11)]
    assert factors[0] == pytest.approx(0.5)
    assert factors[1] == pytest.approx(1)
    assert factors[6] == pytest.approx(0.5)  # half way through ten epochs
    assert all(a > b for a, b in pairwise(factors[1:]))


def test_the_bundle_holds_the_running_mean_of_the_weights(tiny: Tiny, training: Training, tmp_path: Path) -> None:
    """Against the mean computed here from the weights after each step: with one step an epoch a checkpoint has them."""
    following = running_mean(0.25)
    assert following(torch.tensor(8.0), torch.tensor(4.0), 1).item() == pytest.approx(8 * 2 / 11 + 4 * 9 / 11)
    assert following(torch.tensor(8.0), torch.tensor(4.0), 90).item() == pytest.approx(5)
    records, store, steps = tiny()
    how = training.model_copy(update={"batch_size": 64, "epochs": 3, "average": 0.5, "early_stopping_epochs": 3})
    weights = []
    for epochs in (1, 2, 3):  # the learning rate is that of the schedule, which must not know the number of epochs
        schedule = how.schedule.model_copy(update={"name": "step", "step_epochs": 99})
        train(
            records,
            store,
            steps,
            how.model_copy(update={"epochs": epochs, "schedule": schedule}),
            tmp_path / f"{epochs}",
        )
        held = torch.load(tmp_path / f"{epochs}" / "checkpoints" / "last.ckpt", weights_only=True)
        assert held["global_step"] == epochs
        weights.append((held["current_model_state"], held["state_dict"]))
    for name, first in weights[0][0].items():
        mean = first.double()
        for k in (1, 2):
            kept = min(0.5, (1 + k) / (10 + k))
            mean = mean * kept + weights[k][0][name].double() * (1 - kept)
        if first.is_floating_point():
            torch.testing.assert_close(weights[2][1][name].double(), mean, rtol=1e-4, atol=1e-6)
