"""Training end to end on a tiny set: it learns, repeats itself to the byte, and survives a kill."""

import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from timm.utils import ModelEmaV3
from torch.nn.functional import cross_entropy, softmax
from torch.optim.swa_utils import AveragedModel

from cxrflow.bundle_files import read_trained_on
from cxrflow.bundle_networks import read_bundle
from cxrflow.dataset import Dataset
from cxrflow.errors import CxrflowError
from cxrflow.params import Images, Training
from cxrflow.task import Task
from cxrflow.training.callbacks import MovingAverage
from cxrflow.training.checkpoints import WholeFiles, begun_by_same, read_checkpoint
from cxrflow.training.module import TrainingModule, learning_rate_factor
from cxrflow.training.temperature import fit_temperature
from cxrflow.training.train import train

Tiny = Callable[..., tuple[Dataset, Images]]
FILES = ("model.safetensors", "bundle.json", "trained_on.csv")


def contents(out: Path) -> dict[str, bytes]:
    return {name: (out / "bundle" / name).read_bytes() for name in FILES} | {
        "history": (out / "history.csv").read_bytes()
    }


@pytest.fixture(params=["default", "two_classes", "four_classes"])
def any_task(request: pytest.FixtureRequest, task: Task) -> Task:
    return task if request.param == "default" else request.getfixturevalue(request.param)


def test_it_learns_any_task_and_the_bundle_says_how(
    any_task: Task, tiny: Tiny, training: Training, tmp_path: Path
) -> None:
    dataset, steps = tiny(150, any_task)
    bundle = train(dataset, steps, training, tmp_path)
    history = pd.read_csv(tmp_path / "history.csv")
    assert history.epoch.tolist() == [0, 1, 2, 3]
    by_class = [f"val_{figure}_{name}" for name in any_task.order for figure in ("sensitivity", "ppv")]
    assert [name for name in history if "sensitivity" in name or "ppv" in name] == by_class
    assert bundle is not None
    assert bundle.networks[0].validation["macro_auroc"] == pytest.approx(history.val_macro_auroc.max(), abs=1e-5)
    assert bundle.networks[0].validation["macro_auroc"] > 0.9
    tied = history[history.val_macro_auroc == history.val_macro_auroc.max()]
    assert bundle.networks[0].epoch == tied.epoch[tied.val_loss.idxmin()]
    read, (network,) = read_bundle(tmp_path / "bundle")
    assert read.task == any_task
    assert read.digests == bundle.digests | {name: read.digests[name] for name in ("weights", "trained_on")}
    assert not network.training
    seen = read_trained_on(tmp_path / "bundle")
    assert sorted(seen.content_hash) == sorted(dataset.records.content_hash)
    assert not seen.patient.str.contains("tiny").any()
    # Each output is that of its class, in the order of the task.
    val = dataset.split("val")
    (about,) = read.networks
    images = (torch.from_numpy(val.pixels())[:, None] / 255 - about.mean) / about.std
    with torch.inference_mode():
        found = network(images).argmax(dim=1).numpy()
    right = [(found == val.truth)[val.truth == number].mean() for number in range(len(any_task.order))]
    sensitivities = [bundle.networks[0].validation[f"sensitivity_{name}"] for name in any_task.order]
    assert right == pytest.approx(sensitivities, abs=1e-6)
    assert np.mean(right) > 0.7


@pytest.fixture(scope="session")
def whole(tiny: Tiny, training: Training, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of 60 images that nothing disturbed; not to be changed."""
    out = tmp_path_factory.mktemp("whole")
    train(*tiny(60), training, out)
    return out


def test_twice_the_same_and_after_an_interruption_too(tiny: Tiny, training: Training, tmp_path: Path) -> None:
    """kill -9 once the second epoch is saved; the run that goes on ends with the bytes of one that was left alone."""
    training = training.model_copy(update={"model": "crnn", "learning_rate": 0.002})  # a process of its own has it
    dataset, steps = tiny(60)
    train(dataset, steps, training, tmp_path / "whole")
    context = multiprocessing.get_context("spawn")
    child = context.Process(target=train, args=(dataset, steps, training, tmp_path / "killed"))
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
    train(dataset, steps, training, tmp_path / "killed")
    assert kept < (tmp_path / "killed" / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_what_was_removed_from_a_finished_run_is_made_again(
    tiny: Tiny, training: Training, whole: Path, tmp_path: Path
) -> None:
    """DVC removes history and bundle before it reruns a stage, and leaves the checkpoints."""
    shutil.copytree(whole / "checkpoints", tmp_path / "checkpoints")
    last = (tmp_path / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    train(*tiny(60), training, tmp_path)
    assert contents(tmp_path) == contents(whole)
    assert (tmp_path / "checkpoints" / "last.ckpt").stat().st_mtime_ns == last  # nothing was trained


def test_images_of_other_steps_are_not_trained_on(tiny: Tiny, training: Training, tmp_path: Path) -> None:
    dataset, steps = tiny(30)
    with pytest.raises(CxrflowError, match="other image steps"):
        train(dataset, steps.model_copy(update={"size": 64}), training, tmp_path)


def test_a_loss_that_is_nan_stops_in_one_sentence(tiny: Tiny, training: Training, tmp_path: Path) -> None:
    with pytest.raises(CxrflowError, match=r"NaN or infinite in epoch \d+; lower training.learning_rate"):
        train(*tiny(60), training.model_copy(update={"learning_rate": 1e30}), tmp_path)


def test_what_was_trained_before_the_loss_was_nan_is_kept(
    tiny: Tiny, training: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss breaks in the third epoch; the error's advice, followed to the letter, goes on from the second."""
    loss = TrainingModule._loss
    broken = lambda self, *a, **k: loss(self, *a, **k) * (float("nan") if self.current_epoch == 2 else 1)  # noqa: E731
    monkeypatch.setattr(TrainingModule, "_loss", broken)
    with pytest.raises(
        CxrflowError, match=r"in epoch 3; .*move \S+ elsewhere first and set training.start to its last"
    ):
        train(*tiny(60), training, tmp_path / "run")
    monkeypatch.undo()
    shutil.move(tmp_path / "run" / "checkpoints", tmp_path / "kept")
    lower = {"learning_rate": 0.001, "start": str(tmp_path / "kept" / "last.ckpt")}
    train(*tiny(60), training.model_copy(update=lower), tmp_path / "run")
    assert pd.read_csv(tmp_path / "run" / "history.csv").epoch.tolist() == [0, 1, 2, 3]


def test_a_run_killed_after_it_stopped_early_does_not_train_on(tiny: Tiny, training: Training, tmp_path: Path) -> None:
    """The checkpoint of the last epoch stands, the mark of a finished run does not: nothing is left to train."""
    still = {"learning_rate": 1e-12, "early_stopping_epochs": 1, "epochs": 9, "average": None}
    stopping = training.model_copy(update=still)
    train(*tiny(60), stopping, tmp_path)
    first = contents(tmp_path)
    assert len(pd.read_csv(tmp_path / "history.csv")) < 9
    (tmp_path / "checkpoints" / "finished").unlink()
    train(*tiny(60), stopping, tmp_path)
    assert contents(tmp_path) == first


@pytest.mark.parametrize("named", [{"clear": 3.0}, {"clear": 3.0, "viral": 1.0}])
def test_the_loss_is_the_weighted_cross_entropy_and_val_is_not_changed(
    training: Training, four_classes: Task, named: dict[str, float]
) -> None:
    """By hand: -(w_a log p_a + w_b log p_b) / (w_a + w_b), with 1 for a class that is not named; the same val batch
    gives the same loss at any step."""
    params = training.model_copy(update={"loss_weights": named})
    module = TrainingModule(torch.nn.Flatten(), four_classes, params, 1, (0, 1))
    logits = torch.log(torch.tensor([[0.5, 0.25, 0.125, 0.125], [0.1, 0.8, 0.05, 0.05]]))
    by_hand = -(3 * np.log(0.5) + np.log(0.8)) / 4
    assert module._loss(logits, torch.tensor([0, 1])).item() == pytest.approx(by_hand)
    images, labels = torch.randint(0, 256, (2, 1, 1, 4), dtype=torch.uint8), torch.tensor([0, 1])
    module.eval()
    for step in range(2):
        module.validation_step((images, labels), step)
    expected = cross_entropy(images.flatten(1) / 255, labels, torch.tensor([3.0, 1, 1, 1]))
    assert module._val_loss.compute().item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_wanted_share_of_each_batch_is_of_the_positive_class(
    tiny: Tiny, training: Training, four_classes: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third of four classes; round(0.25 * 16) of each whole batch."""
    seen: list[list[int]] = []
    step = TrainingModule.training_step

    def watched(self: TrainingModule, batch: tuple[torch.Tensor, ...], index: int) -> torch.Tensor:
        seen.append(batch[1].tolist())
        return step(self, batch, index)

    monkeypatch.setattr(TrainingModule, "training_step", watched)
    once = training.model_copy(update={"epochs": 2, "positive_share": 0.25})
    train(*tiny(150, four_classes), once, tmp_path)
    whole = [labels for labels in seen if len(labels) == 16]
    assert len(whole) > 4
    assert {labels.count(four_classes.order.index("bacterial")) for labels in whole} == {4}


def test_checkpoints_of_other_params_data_or_task_are_not_used(
    tiny: Tiny, training: Training, task: Task, whole: Path, tmp_path: Path
) -> None:
    dataset, steps = tiny(60)
    shutil.copytree(whole / "checkpoints", tmp_path / "checkpoints")
    run = tmp_path / "checkpoints" / "run.json"
    digests = [run.read_text()]
    first, second, _ = task.order
    swapped = dataset.records.label.replace({first: second, second: first})
    others = (
        Dataset.join(dataset.records.assign(label=swapped), dataset.store, task),
        Dataset.join(dataset.records, dataset.store, task.model_copy(update={"positive": second})),
        Dataset.join(
            dataset.records, dataset.store, Task(classes=dict(reversed(task.classes.items())), positive=first)
        ),
    )
    short = training.model_copy(update={"epochs": 2})
    for other in others:
        train(other, steps, short, tmp_path)
        digests.append(run.read_text())
    assert len(set(digests)) == 4
    train(dataset, steps, training, tmp_path)
    assert contents(tmp_path) == contents(whole)


def test_a_class_without_validation_images_stops_at_once_or_is_left_out(
    tiny: Tiny, training: Training, four_classes: Task, tmp_path: Path
) -> None:
    dataset, steps = tiny(80, four_classes)
    without = dataset.where((dataset.labels != "viral") | (dataset.records.split == "train"))
    with pytest.raises(CxrflowError, match="no val image of class viral"):
        train(without, steps, training, tmp_path)
    others = [name for name in four_classes.order if name != "viral"]
    bundle = train(without, steps, training.model_copy(update={"epochs": 2}), tmp_path, others)
    assert bundle is not None
    assert 0.5 < bundle.networks[0].validation["macro_auroc"] <= 1  # of the other three
    assert "sensitivity_viral" not in bundle.networks[0].validation


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


class Given(ClassifierMixin, BaseEstimator):
    """A classifier whose decision is what it is given."""

    def __init__(self, classes: int) -> None:
        self.classes, self.classes_ = classes, np.arange(classes)

    def fit(self, *_: object) -> "Given":
        return self

    def decision_function(self, logits: np.ndarray) -> np.ndarray:
        return logits

    def predict(self, logits: np.ndarray) -> np.ndarray:
        return logits.argmax(axis=1)


@pytest.mark.parametrize("classes", [3, 4])
def test_temperature_is_scikit_learns(classes: int) -> None:
    random = np.random.default_rng(classes)
    logits, labels = random.normal(0, 2, (400, classes)), random.integers(0, classes, 400)
    logits[np.arange(400), labels] += 1.5
    reference = CalibratedClassifierCV(FrozenEstimator(Given(classes)), method="temperature").fit(logits, labels)
    expected = softmax(torch.from_numpy(logits / fit_temperature(logits, labels)), dim=1).numpy()
    assert reference.predict_proba(logits) == pytest.approx(expected, abs=1e-5)


def test_the_moving_average_is_timms_with_its_warm_up() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    reference = ModelEmaV3(module, decay=0.8, use_warmup=True, warmup_gamma=9, warmup_power=1)
    average = MovingAverage(0.8)
    average._average_model = AveragedModel(module, use_buffers=True)
    for step in range(50):
        torch.nn.init.normal_(module[0].weight)
        module(torch.randn(4, 3))
        # timm counts from 1, and its first decay is 0
        reference.update(module, step + 2) if step else reference.set(module)
        average.on_train_batch_end(SimpleNamespace(global_step=step + 1), module, None, None, step)  # type: ignore[arg-type]
    for name, held in reference.module.state_dict().items():
        torch.testing.assert_close(average._average_model.module.state_dict()[name], held, rtol=1e-5, atol=1e-6)


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


def test_the_bundle_holds_the_moving_average_of_the_weights(tiny: Tiny, training: Training, tmp_path: Path) -> None:
    """Against the mean computed here from the weights after each step: with one step an epoch a checkpoint has them."""
    # The learning rate is that of the schedule, which must not know the number of epochs.
    schedule = training.schedule.model_copy(update={"name": "step", "step_epochs": 99})
    how = training.model_copy(update={"batch_size": 64, "average": 0.5, "schedule": schedule})
    weights = []
    for epochs in (1, 2, 3):
        train(*tiny(), how.model_copy(update={"epochs": epochs}), tmp_path / f"{epochs}")
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


def flip(file: Path) -> None:
    """Turn one bit in the middle, which is in a weight."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 16
    file.write_bytes(content)


def pickled(file: Path) -> None:
    class Runs:
        def __reduce__(self) -> tuple:
            return os.system, (f"touch {file.parent.parent}/ran",)

    torch.save({"state_dict": Runs()}, file)


def test_a_checkpoint_is_written_once_for_both_its_names_and_never_changed(tmp_path: Path) -> None:
    best, last, files = tmp_path / "best.ckpt", tmp_path / "last.ckpt", WholeFiles()
    for step, paths in ((1, [best, last]), (2, [last]), (3, [last])):
        for path in paths:
            files.save_checkpoint({"global_step": step, "weights": torch.full((3,), step)}, path)
        assert best.samefile(last) == (step == 1)
        assert read_checkpoint(last)["weights"].tolist() == [step] * 3
    assert read_checkpoint(best)["weights"].tolist() == [1] * 3
    assert {path.name for path in tmp_path.iterdir()} == {"best.ckpt", "last.ckpt"}


@pytest.mark.parametrize("name", ["last.ckpt", "best.ckpt"])
@pytest.mark.parametrize(
    "damage",
    [
        flip, pickled, Path.unlink, lambda file: file.write_bytes(b""), lambda file: file.write_bytes(b"\0" * 999),
        lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
        lambda file: torch.save({"state_dict": {}, "epoch": 1}, file), lambda file: torch.save([1], file),
    ],
    ids=["bit", "pickle", "absent", "empty", "zeros", "cut", "other", "list"],
)  # fmt: skip
def test_a_damaged_checkpoint_is_said_and_the_training_starts_over(
    damage: Callable[[Path], object], name: str, tiny: Tiny, training: Training, whole: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    shutil.copytree(whole / "checkpoints", tmp_path / "checkpoints")
    damage(tmp_path / "checkpoints" / name)

    class Begins(Exception):
        pass

    def fit(*_: object) -> None:
        assert not list((tmp_path / "checkpoints").glob("*.ckpt"))
        raise Begins

    monkeypatch.setattr("cxrflow.training.fit._fit", fit)
    with pytest.raises(Begins):
        train(*tiny(60), training, tmp_path)
    assert f"{name} is absent or damaged, so the training starts over" in capsys.readouterr().out
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"[" * 100_000, b"\xff", b"[1]", b'{"data": NaN}'])
def test_checkpoints_of_an_unknown_run_are_not_gone_on_with(whole: Path, tmp_path: Path, content: bytes) -> None:
    shutil.copytree(whole / "checkpoints", tmp_path / "checkpoints")
    (tmp_path / "checkpoints" / "run.json").write_bytes(content)
    assert not begun_by_same(tmp_path / "checkpoints", {"data": "d"})
