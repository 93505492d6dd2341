"""Training by two processes (torchrun, gloo) gives what one gives, and memory that does not suffice is said plainly."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from cxrflow.errors import CxrflowError
from cxrflow.images.prepare import Store
from cxrflow.params import Augmentation, Images, Training
from cxrflow.training.data import BalancedBatches, Place, PlainBatches
from cxrflow.training.module import TrainingModule
from cxrflow.training.train import train

Tiny = Callable[..., tuple[pd.DataFrame, Store, Images]]
RUN = """
import sys
from pathlib import Path
import numpy as np, pandas as pd, torch
from cxrflow.images.prepare import Store
from cxrflow.params import Images, Training
from cxrflow.training.train import train
torch.set_num_threads(1)
folder = Path(sys.argv[1])
records = pd.read_csv(folder / "records.csv", dtype=str)
store = Store(np.load(folder / "images.npy"), None, records[["image_id", "content_hash", "left_out"]], sys.argv[2])
images = Images.model_validate_json((folder / "images.json").read_text())
training = Training.model_validate_json((folder / "training.json").read_text())
bundle = train(records, store, images, training, folder / "results")
print("wrote" if bundle else "helped")
"""


@pytest.fixture
def without_batch_statistics(params) -> Training:
    """ConvNeXt normalises each picture by itself, and no picture is changed at random: two halves of a batch give what
    the whole gives."""
    still = Augmentation(flip=0, rotate_degrees=0, shift=0, zoom=0, aspect=0, brightness=0, contrast=0, gamma=0)
    update = {"model": "timm:convnext_atto", "epochs": 2, "batch_size": 16, "augmentation": still}
    return params.training.model_copy(update=update)


def test_two_processes_give_the_figures_of_one(tiny: Tiny, without_batch_statistics: Training, tmp_path: Path) -> None:
    records, store, steps = tiny(95)
    alone = train(records, store, steps, without_batch_statistics, tmp_path / "alone")
    records.assign(left_out=None).to_csv(tmp_path / "records.csv", index=False)
    np.save(tmp_path / "images.npy", store.images)
    (tmp_path / "images.json").write_text(steps.model_dump_json())
    (tmp_path / "training.json").write_text(without_batch_statistics.model_dump_json())
    (tmp_path / "run.py").write_text(RUN)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [str(tmp_path / "run.py"), str(tmp_path), store.steps]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    # The progress bar of one process may stand on the line that the other prints to.
    assert (done.stdout.count("wrote"), done.stdout.count("helped")) == (1, 1)
    one, two = (pd.read_csv(tmp_path / name / "history.csv") for name in ("alone", "results"))
    pd.testing.assert_frame_equal(one, two, rtol=2e-3, atol=2e-3)
    assert alone is not None
    assert (tmp_path / "results" / "bundle" / "bundle.json").exists()


@pytest.mark.parametrize("world", [1, 2, 3])
def test_every_image_once_in_an_epoch_of_evaluation(world: int) -> None:
    for count in (7, 32, 33, 95):
        parts = [list(PlainBatches(count, 16, Place(rank, world))) for rank in range(world)]
        assert len({len(part) for part in parts}) == 1  # as many steps for each: none waits for another
        assert sorted(p for part in parts for batch in part for p in batch) == list(range(count))


def test_processes_share_the_batches_of_one() -> None:
    labels = np.array([0] * 10 + [1] * 50 + [2] * 48)
    whole = list(BalancedBatches(labels, 20, 0.33, seed=1))
    parts = [list(BalancedBatches(labels, 20, 0.33, 1, Place(rank, 2))) for rank in range(2)]
    assert [sorted(a + b) for a, b in zip(*parts, strict=True)] == [sorted(batch) for batch in whole]


def test_memory_that_does_not_suffice_is_one_sentence_and_the_last_epoch_is_kept(
    tiny: Tiny, params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records, store, steps = tiny(60)
    training = params.training.model_copy(update={"model": "crnn", "epochs": 3, "batch_size": 16})
    real = TrainingModule.training_step

    def step(self: TrainingModule, batch, position: int) -> torch.Tensor:
        if self.current_epoch == 2:
            torch.empty(2**60)
        return real(self, batch, position)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingModule, "training_step", step)
        with pytest.raises(CxrflowError, match="memory does not suffice for batches of 16; lower"):
            train(records, store, steps, training, tmp_path)
    kept = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert kept["epoch"] == 1
    train(records, store, steps, training, tmp_path)
    assert len(pd.read_csv(tmp_path / "history.csv")) == 3


def test_gradients_are_clipped(tiny: Tiny, params, tmp_path: Path) -> None:
    """Clipped to next to nothing, plain and clipped training part; clipped far above, they do not."""
    records, store, steps = tiny(60)
    plain = params.training.model_copy(update={"model": "crnn", "epochs": 2, "batch_size": 16})
    figures = {}
    for clip in (None, 1e9, 1e-9):
        train(records, store, steps, plain.model_copy(update={"gradient_clip": clip}), tmp_path / str(clip))
        figures[clip] = pd.read_csv(tmp_path / str(clip) / "history.csv").train_loss.tolist()
    assert figures[None] == figures[1e9]
    assert figures[None] != figures[1e-9]
