"""Cells: who is drawn how often, and the loss of group DRO against its published algorithm."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cxrflow.dataset import Dataset
from cxrflow.errors import CxrflowError
from cxrflow.images.prepare import Store
from cxrflow.params import Images, Training
from cxrflow.params_file import DEFAULTS, load_params
from cxrflow.task import Task
from cxrflow.training import train as stage
from cxrflow.training.cells import CellBatches, GroupDro, SourceBalancedBatches
from cxrflow.training.data import Process

Tiny = Callable[..., tuple[Dataset, Images]]


def batches(task: Task, sources: str, labels: list[str]) -> CellBatches:
    ids = [f"x:{k}" for k in range(len(sources))]
    store = Store(np.zeros((len(ids), 4, 4), np.uint8), None, pd.DataFrame({"image_id": ids, "left_out": None}), "")
    records = pd.DataFrame({"image_id": ids, "source": list(sources), "label": labels})
    return CellBatches(Dataset.join(records, store, task))


def test_classes_are_equally_frequent_within_each_source_and_sources_keep_their_share(task: Task) -> None:
    """Six images of a (1, 2 and 3 of the classes), two of b, of one class: by hand."""
    first, second, third = task.order
    data = batches(task, "aaaaaabb", [first, *[second] * 2, *[third] * 3, first, first])
    share = 6 / 8 / 3
    expected = [share, *[share / 2] * 2, *[share / 3] * 3, 1 / 8, 1 / 8]
    assert data.chances() == pytest.approx(expected)
    assert data.cells.tolist() == [0, 1, 1, 2, 2, 2, 3, 3]
    assert data.cell_count == 4
    drawn = np.concatenate(list(SourceBalancedBatches(np.tile(data.chances() / 500, 500), 100, 1, Process())))
    assert len(drawn) == 4000
    assert np.bincount(drawn % 8, minlength=8) / 4000 == pytest.approx(expected, abs=0.03)


def test_the_draw_depends_on_seed_and_epoch_alone_and_processes_share_it() -> None:
    def drawn(epoch: int, rank: int = 0, world: int = 1) -> list[list[int]]:
        sampler = SourceBalancedBatches(np.full(10, 0.1), 4, 1, Process(rank, world))
        list(sampler)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert [len(b) for b in drawn(0)] == [4, 4, 4]
    assert drawn(2) == drawn(2)
    assert drawn(2) != drawn(3)
    parts = [drawn(2, rank, 2) for rank in range(2)]
    assert [sorted(a + b) for a, b in zip(*parts, strict=True)] == [sorted(b) for b in drawn(2)]


@given(
    st.lists(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 3)), min_size=1, max_size=6), min_size=1, max_size=5),
    st.floats(0.001, 2),
)
def test_group_dro_is_the_published_algorithm(steps: list[list[tuple[float, int]]], eta: float) -> None:
    """Sagawa et al. 2020, algorithm 1, with mean losses of batches, worked out again in NumPy."""
    robust, q = GroupDro(4, eta), np.full(4, 0.25)
    for batch in steps:
        losses, groups = np.array([b[0] for b in batch]), np.array([b[1] for b in batch])
        means = np.array([losses[groups == g].mean() if (groups == g).any() else 0.0 for g in range(4)])
        q = q * np.exp(eta * means)
        q = q / q.sum()
        got = robust(torch.tensor(losses, dtype=torch.float32), torch.tensor(groups))
        assert float(got) == pytest.approx(float(q @ means), rel=1e-3, abs=1e-5)
    assert robust.weights.numpy() == pytest.approx(q, rel=1e-3, abs=1e-6)


def test_the_worst_group_comes_to_weigh_most_and_gradients_pass_through_the_losses_alone() -> None:
    robust = GroupDro(2, 0.5)
    losses = torch.tensor([1.0, 1.0, 2.0], requires_grad=True)
    for _ in range(50):
        loss = robust(losses, torch.tensor([0, 0, 1]))
    assert robust.weights[1] > 0.999
    loss.backward()
    assert losses.grad is not None
    assert losses.grad[2] == pytest.approx(float(robust.weights[1]))
    assert losses.grad[0] == pytest.approx(float(robust.weights[0]) / 2)


@pytest.fixture(scope="session")
def two_sources(tiny: Tiny, four_classes: Task) -> tuple[Dataset, Images]:
    dataset, steps = tiny(100, four_classes)
    records = dataset.records.assign(source=np.where(np.arange(100) % 2, "a", "b"))
    return Dataset.join(records, dataset.store, four_classes), steps


@pytest.fixture(scope="session")
def plainly(two_sources: tuple[Dataset, Images], training: Training, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The weights after training without either."""
    out = tmp_path_factory.mktemp("plain")
    stage.train(*two_sources, training, out)
    return (out / "bundle" / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    "change",
    [
        {"robust": "group_dro", "robust_step": 0.1},
        {"balance": "source_and_class", "positive_share": None},
        {"balance": "replacement", "positive_share": 0.33},
    ],
)
def test_an_interrupted_training_ends_with_the_same_bytes(
    two_sources: tuple[Dataset, Images],
    training: Training,
    plainly: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, object],
) -> None:
    training = Training.model_validate(training.model_dump() | change)
    stage.train(*two_sources, training, tmp_path / "whole")
    write = stage._write_histories

    def stop(path, before, history) -> None:
        if len(history) == 3:
            raise OSError("stopped")
        write(path, before, history)

    with monkeypatch.context() as patch:
        patch.setattr(stage, "_write_histories", stop)
        with pytest.raises(OSError, match="stopped"):
            stage.train(*two_sources, training, tmp_path / "again")
    held = torch.load(tmp_path / "again" / "checkpoints" / "last.ckpt", weights_only=True)
    assert held["epoch"] == 1
    if "robust" in change:
        assert held["robust"].shape == (8,)  # two sources of four classes
        assert held["robust"].sum() == pytest.approx(1, abs=1e-5)
        assert held["robust"].std() > 0
    stage.train(*two_sources, training, tmp_path / "again")
    weights = [(tmp_path / name / "bundle" / "model.safetensors").read_bytes() for name in ("whole", "again")]
    assert weights[0] == weights[1]
    assert weights[0] != plainly


def test_a_positive_share_and_balance_by_source_contradict_one_another(tmp_path: Path) -> None:
    text = DEFAULTS.read_text()
    (tmp_path / "params.yaml").write_text(text.replace("balance: positive_share", "balance: source_and_class"))
    with pytest.raises(CxrflowError, match="set positive_share to null"):
        load_params(tmp_path / "params.yaml")
