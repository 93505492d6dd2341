"""Batches for training and validation: from the memory-mapped images, or from the memory of a GPU that holds them."""

import math
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as Batched

from cxrflow.dataset import Dataset

Batch = tuple[torch.Tensor, torch.Tensor]
#: Share of a GPU's free memory that images may take; network, gradients and activations need the rest.
_SHARE = 0.4


class RadiographBatches(Batched[Batch]):
    """A PyTorch dataset that is indexed by a list of positions and returns a whole batch.

    A batch is the images, uint8 (n, 1, size, size), and their class indices, int64 (n,), in the task's order.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._images, self._rows = dataset.store.images, dataset.rows
        self._resident: torch.Tensor | None = None
        self.labels = dataset.truth

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, positions: list[int]) -> Batch:
        labels = torch.from_numpy(self.labels[positions])
        if self._resident is None:
            images = np.stack([self._images[self._rows[p]] for p in positions])
            return torch.from_numpy(images)[:, None], labels
        chosen = without_waiting(torch.tensor(positions), self._resident.device)
        return self._resident[chosen][:, None], without_waiting(labels, self._resident.device)

    def on(self, device: torch.device) -> Self:
        """The same batches from the memory of a GPU, if the images fit into ``_SHARE`` of what is free there; else, and
        for a CPU, this object."""
        if device.type != "cuda" or self._images[:1].nbytes * len(self) > _SHARE * torch.cuda.mem_get_info(device)[0]:
            return self
        placed = copy(self)
        placed._resident = torch.empty((len(self), *self._images.shape[1:]), dtype=torch.uint8, device=device)
        for place, row in enumerate(self._rows):
            placed._resident[place] = torch.from_numpy(np.array(self._images[row])).to(device)
        return placed

    def mean_and_std(self) -> tuple[float, float]:
        """Mean and standard deviation of the pixels scaled to [0, 1]; one image in memory at a time."""
        count, total, squares = 0, 0.0, 0.0
        for row in self._rows:
            image = self._images[row].astype(np.float64) / 255
            count, total, squares = count + image.size, total + image.sum(), squares + (image**2).sum()
        mean = float(total / count)
        return mean, math.sqrt(max(squares / count - mean**2, 1e-12))


def without_waiting(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy a CPU tensor to a GPU without waiting for it, so that its next steps can be queued meanwhile; for a CPU, the
    tensor itself."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


@dataclass(frozen=True, slots=True)
class Process:
    """DDP rank and world size of this process: ``rank`` of ``world``."""

    rank: int = 0
    world: int = 1

    def part(self, batch: NDArray[np.int64]) -> list[int]:
        """This rank's share of a batch: every ``world``-th position."""
        share: list[int] = batch[self.rank :: self.world].tolist()
        return share


class BalancedBatches(Sampler[list[int]]):
    """Shuffled batches with a fixed share of positive-class images.

    The other images are used once per epoch; positive images are drawn with replacement to fill the share. Without a
    share, or without positive images, every image is used once per epoch. The order depends on seed and epoch alone, so
    a resumed run draws the batches of an uninterrupted one. All DDP ranks draw the same batches; each takes its part.
    """

    def __init__(
        self,
        positive: NDArray[np.bool_],
        batch_size: int,
        share: float | None,
        seed: int,
        process: Process = Process(),
    ) -> None:
        """positive: bool (n,), whether each image is of the positive class; share: of these in a batch, in [0, 1)."""
        self._process = process
        drawn = positive if share is not None and positive.any() else np.zeros_like(positive)
        self._positive, self._others = np.flatnonzero(drawn), np.flatnonzero(~drawn)
        self._positive_per_batch = round(batch_size * (share or 0)) if drawn.any() else 0
        self._others_per_batch = batch_size - self._positive_per_batch
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of this epoch (Lightning calls it)."""
        self._epoch = epoch

    def __len__(self) -> int:
        # Batch normalisation needs two images per rank; a smaller last batch is dropped.
        full, rest = divmod(len(self._others), self._others_per_batch)
        return full + (rest >= 2 * self._process.world)

    def __iter__(self) -> Iterator[list[int]]:
        random = np.random.default_rng([self._seed, self._epoch])
        others = random.permutation(self._others)
        for batch in range(len(self)):
            chosen = others[batch * self._others_per_batch : (batch + 1) * self._others_per_batch]
            # A short last batch keeps the share.
            count = round(self._positive_per_batch * len(chosen) / self._others_per_batch)
            positive = random.choice(self._positive, count) if count else self._positive[:0]
            yield self._process.part(random.permutation(np.concatenate([chosen, positive])))


class ReplacedBatches(Sampler[list[int]]):
    """The paper's batches: shuffled batches of the other images, a share of each replaced by positive-class images.

    ``max(int(n x share), 1)`` of the n others in a batch are replaced, and do not occur in that epoch. Positive images
    are drawn without replacement within a batch, and from all of them for each batch; if a batch asks for more than
    there are, it gets all of them. The last batch may be smaller; it is dropped if it gives a DDP rank fewer than two
    images. The order depends on seed and epoch alone. All DDP ranks draw the same batches; each takes its part.

    Source: the batch generator of COVID-Net (github.com/lindawangg/COVID-Net, data.py), which the paper adopted.
    """

    def __init__(
        self,
        positive: NDArray[np.bool_],
        batch_size: int,
        share: float,
        seed: int,
        process: Process = Process(),
    ) -> None:
        """positive: bool (n,), whether each image is of the positive class; share: replaced in a batch, in [0, 1)."""
        self._positive, self._others = np.flatnonzero(positive), np.flatnonzero(~positive)
        self._batch_size, self._share = batch_size, share
        self._seed, self._process = seed, process
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of this epoch (Lightning calls it)."""
        self._epoch = epoch

    def __len__(self) -> int:
        full, rest = divmod(len(self._others), self._batch_size)
        return full + (rest >= 2 * self._process.world)

    def __iter__(self) -> Iterator[list[int]]:
        random = np.random.default_rng([self._seed, self._epoch])
        others = random.permutation(self._others)
        for batch in range(len(self)):
            chosen = others[batch * self._batch_size : (batch + 1) * self._batch_size]
            count = min(max(int(len(chosen) * self._share), 1), len(self._positive))
            places = random.choice(len(chosen), count, replace=False)
            chosen[places] = random.choice(self._positive, count, replace=False)
            yield self._process.part(chosen)


class PlainBatches(Sampler[list[int]]):
    """Every image once, in order, in batches of nearly equal size; each DDP rank takes its part of each."""

    def __init__(self, count: int, batch_size: int, process: Process = Process()) -> None:
        self._count, self._batches, self._process = count, math.ceil(count / batch_size), process

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[list[int]]:
        for batch in np.array_split(np.arange(self._count), self._batches):
            yield self._process.part(batch)


def loader(data: RadiographBatches, batches: Sampler[list[int]]) -> DataLoader[Batch]:
    """A DataLoader of whole batches. It starts no worker process, because nothing has to be decoded."""
    return DataLoader(data, sampler=batches, batch_size=None)
