"""Training by two processes (torchrun, gloo) gives what one gives, even if one of them is killed; being out of memory
is one sentence."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from cxrflow.dataset import Dataset
from cxrflow.errors import CxrflowError
from cxrflow.params import Augmentation, Images, Training
from cxrflow.training.data import BalancedBatches, PlainBatches, Process, ReplacedBatches
from cxrflow.training.module import TrainingModule
from cxrflow.training.train import train

Tiny = Callable[..., tuple[Dataset, Images]]
RUN = """
import os, runpy, signal, sys
from pathlib import Path
import numpy as np, pandas as pd, torch
from cxrflow.dataset import Dataset
from cxrflow.errors import CxrflowError
from cxrflow.images.prepare import Store
from cxrflow.models import MODELS
from cxrflow.params import Images, Training
from cxrflow.task import Task
from cxrflow.training.module import TrainingModule
from cxrflow.training.train import train
torch.set_num_threads(1)
MODELS.update(runpy.run_path(sys.argv[3])["NETWORKS"])
folder = Path(sys.argv[1])
records = pd.read_csv(folder / "records.csv", dtype=str)
index = records[["image_id", "content_hash"]].assign(left_out=None)
store = Store(np.load(folder / "images.npy"), None, index, sys.argv[2])
images, training, task = (
    kind.model_validate_json((folder / f"{kind.__name__}.json").read_text()) for kind in (Images, Training, Task)
)
real = TrainingModule.training_step
def step(self, batch, position):  # kills rank 1 in the second step of the third epoch, once
    if (self.current_epoch, position, os.environ["RANK"]) == (2, 1, "1") and not (folder / "killed").exists():
        (folder / "killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, batch, position)
TrainingModule.training_step = step
try:
    bundle = train(Dataset.join(records, store, task), images, training, folder / "results")
except CxrflowError as error:
    sys.exit(f"cxrflow: {error}")
print("wrote" if bundle else "helped")
"""


def test_two_processes_of_which_one_is_killed_give_the_figures_of_one(
    tiny: Tiny, training: Training, tmp_path: Path
) -> None:
    """A network without batch statistics, pictures that are not changed at random: two halves of a batch give what the
    whole gives. One process is killed in the third epoch: the other ends with a sentence, and the same command goes on
    after the second."""
    dataset, steps = tiny(95)
    still = Augmentation(flip=0, rotate_degrees=0, shift=0, zoom=0, aspect=0, brightness=0, contrast=0, gamma=0)
    training = training.model_copy(update={"model": "plain", "augmentation": still})
    alone = train(dataset, steps, training, tmp_path / "alone")
    dataset.records.to_csv(tmp_path / "records.csv", index=False)
    np.save(tmp_path / "images.npy", dataset.store.images)
    for model in (steps, training, dataset.task):
        (tmp_path / f"{type(model).__name__}.json").write_text(model.model_dump_json())
    (tmp_path / "run.py").write_text(RUN)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [
        str(tmp_path / "run.py"),
        str(tmp_path),
        dataset.store.steps,
        str(Path(__file__).with_name("conftest.py")),
    ]
    killed = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert killed.returncode != 0
    assert "cxrflow: training: another process of this training has ended; run the same command again" in killed.stderr
    assert "RuntimeError" not in killed.stderr
    assert torch.load(tmp_path / "results" / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] == 1
    assert not (tmp_path / "results" / "bundle").exists()
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Resuming after the last complete epoch" in done.stdout + done.stderr
    # The progress bar of one process may stand on the line that the other prints to.
    assert (done.stdout.count("wrote"), done.stdout.count("helped")) == (1, 1)
    one, two = (pd.read_csv(tmp_path / name / "history.csv") for name in ("alone", "results"))
    pd.testing.assert_frame_equal(one, two, rtol=1e-3, atol=1e-4)
    assert one.train_loss[3] < one.train_loss[0] / 2
    assert alone is not None
    assert (tmp_path / "results" / "bundle" / "bundle.json").exists()


@pytest.mark.parametrize("world", [1, 2, 3])
def test_every_image_once_in_an_epoch_of_evaluation(world: int) -> None:
    for count in (7, 32, 33, 95):
        parts = [list(PlainBatches(count, 16, Process(rank, world))) for rank in range(world)]
        assert len({len(part) for part in parts}) == 1  # as many steps for each: none waits for another
        assert sorted(p for part in parts for batch in part for p in batch) == list(range(count))


@pytest.mark.parametrize("kind", [BalancedBatches, ReplacedBatches])
def test_processes_share_the_batches_of_one(kind: type[BalancedBatches | ReplacedBatches]) -> None:
    positive = np.arange(108) < 10
    whole = list(kind(positive, 20, 0.33, seed=1))
    parts = [list(kind(positive, 20, 0.33, 1, Process(rank, 2))) for rank in range(2)]
    assert [sorted(a + b) for a, b in zip(*parts, strict=True)] == [sorted(batch) for batch in whole]


def test_out_of_memory_is_one_sentence_and_the_last_epoch_is_kept(
    tiny: Tiny, training: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = training.model_copy(update={"epochs": 3})
    real = TrainingModule.training_step

    def step(self: TrainingModule, batch, position: int) -> torch.Tensor:
        if self.current_epoch == 2:
            torch.empty(2**60)
        return real(self, batch, position)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingModule, "training_step", step)
        with pytest.raises(CxrflowError, match="out of memory with batches of 16; lower"):
            train(*tiny(60), training, tmp_path)
    kept = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert kept["epoch"] == 1
    train(*tiny(60), training, tmp_path)
    assert len(pd.read_csv(tmp_path / "history.csv")) == 3


def test_gradients_are_clipped(tiny: Tiny, training: Training, tmp_path: Path) -> None:
    """Clipped to next to nothing, plain and clipped training part; clipped far above, they do not."""
    plain = training.model_copy(update={"epochs": 2})
    figures = {}
    for clip in (None, 1e9, 1e-9):
        train(*tiny(60), plain.model_copy(update={"gradient_clip": clip}), tmp_path / str(clip))
        figures[clip] = pd.read_csv(tmp_path / str(clip) / "history.csv").train_loss.tolist()
    assert figures[None] == figures[1e9]
    assert figures[None] != figures[1e-9]
