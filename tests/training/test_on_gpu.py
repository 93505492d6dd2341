"""What a GPU does otherwise: pixels that lie on the card, and the network as CUDA graphs."""

import copy
import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as lightning
import torch
from torch.nn.functional import cross_entropy

from cxrflow.models import find_model
from cxrflow.params import Params
from cxrflow.training.callbacks import MovingAverage
from cxrflow.training.checkpoints import precision
from cxrflow.training.data import RadiographBatches, loader, without_waiting
from cxrflow.training.graphed import GraphedNetwork
from cxrflow.training.module import TrainingModule

CPU = torch.device("cpu")
on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def trained(graphed: bool, device: torch.device) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Losses of eight steps, the last of them with fewer images, and the network's state afterwards."""
    torch.manual_seed(0)
    network = find_model("resnet18").build(1, 3).to(device).train()
    called = GraphedNetwork(network) if graphed else network
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01)
    losses = []
    for count in (16, 16, 16, 10, 16, 16, 16, 5):
        images, labels = torch.rand(count, 1, 64, 64).to(device), torch.arange(count).to(device) % 3
        loss = cross_entropy(called(images), labels)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss))
    return losses, {name: value.cpu() for name, value in network.state_dict().items()}


@on_gpu
def test_a_graphed_network_learns_as_the_network_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    # cuDNN may otherwise choose other algorithms for the graph, which differ in the third digit of TF32's products.
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    device = torch.device("cuda")
    expected, plain = trained(False, device)
    losses, state = trained(True, device)
    assert losses == pytest.approx(expected, rel=1e-5)
    for name, value in plain.items():
        torch.testing.assert_close(state[name], value, rtol=1e-4, atol=1e-5)


class Watched(lightning.Callback):
    """PyTorch warns of every wait for the GPU from the third step of a training on; the first one captures graphs."""

    def on_train_batch_start(self, trainer: lightning.Trainer, module: Any, batch: Any, batch_idx: int) -> None:
        torch.cuda.set_sync_debug_mode("warn" if batch_idx > 1 else "default")

    def on_train_epoch_end(self, *_: Any) -> None:
        torch.cuda.set_sync_debug_mode("default")


def is_wait(warning: warnings.WarningMessage) -> bool:
    return "called a synchronizing" in str(warning.message)


@on_gpu
@pytest.mark.filterwarnings("ignore")
def test_no_step_of_a_training_waits_for_the_gpu(params: Params) -> None:
    random = np.random.default_rng(0)
    store = SimpleNamespace(images=random.integers(0, 256, (64, 64, 64)).astype(np.uint8))
    held = SimpleNamespace(store=store, rows=np.arange(64), truth=np.arange(64) % 3)
    batches = RadiographBatches(held).on(torch.device("cuda"))  # type: ignore[arg-type]
    training = params.training.model_copy(update={"gradient_clip": 5.0, "average": 0.99})
    module = TrainingModule(find_model("resnet18").build(1, 3), params.task, training, 1, (0.5, 0.25))
    trainer = lightning.Trainer(
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="gpu",
        devices=1,
        precision=precision(),
        gradient_clip_val=training.gradient_clip,
        deterministic="warn",
        callbacks=[MovingAverage(0.99), Watched()],
    )
    eight = [list(range(first, first + 16)) for first in [0, 16, 32, 48] * 2]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(module, loader(batches, eight))  # type: ignore[arg-type]
    assert [f"{each.filename}:{each.lineno}" for each in caught if is_wait(each)] == []
    with warnings.catch_warnings(record=True) as caught:  # the mode does notice a wait
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        torch.ones(1, device="cuda").item()
        torch.cuda.set_sync_debug_mode("default")
    assert any(is_wait(each) for each in caught)


def test_a_network_that_cannot_be_captured_is_called_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        network.running_mean.fill_(9)  # the passes before a capture change it
        raise RuntimeError("operation not permitted when stream is capturing\nCompile with ...")

    network = torch.nn.BatchNorm2d(1)
    images, called = torch.rand(4, 1, 2, 2), GraphedNetwork(network)
    monkeypatch.setattr(torch.cuda, "make_graphed_callables", refuse)
    called._capture(images)
    assert "No CUDA graphs of this network" in capsys.readouterr().out
    assert network.running_mean.item() == 0
    torch.testing.assert_close(called(images), torch.nn.BatchNorm2d(1)(images))


def test_a_copy_of_a_graphed_network_is_of_the_copied_network() -> None:
    """Lightning's average is a deep copy of the module that holds both."""
    holder = torch.nn.Module()
    holder.network = torch.nn.Linear(2, 2)
    holder.called = GraphedNetwork(holder.network)  # type: ignore[assignment]
    copied = copy.deepcopy(holder)
    with torch.no_grad():
        copied.network.weight.fill_(7)
        copied.network.bias.fill_(0)
    assert copied.called(torch.ones(1, 2)).tolist() == [[14, 14]]
    assert set(holder.state_dict()) == {"network.weight", "network.bias"}


@on_gpu
def test_batches_are_the_same_from_the_memory_of_a_gpu() -> None:
    random = np.random.default_rng(0)
    store = SimpleNamespace(images=random.integers(0, 256, (9, 8, 8)).astype(np.uint8))
    held = SimpleNamespace(store=store, rows=np.array([8, 3, 5, 1]), truth=np.array([2, 0, 1, 1]))
    batches = RadiographBatches(held)  # type: ignore[arg-type]
    placed = batches.on(torch.device("cuda"))
    for here, there in zip(batches[[3, 0, 1]], placed[[3, 0, 1]], strict=True):
        assert there.is_cuda
        assert torch.equal(here, there.cpu())


def test_a_tensor_stays_where_it_is_on_a_cpu() -> None:
    tensor = torch.from_numpy(np.arange(3))
    assert without_waiting(tensor, CPU) is tensor
