"""Batches for training and validation, cut from the memory-mapped images."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from cxrflow.images.prepare import Store
from cxrflow.records import CLASSES

Batch = tuple[torch.Tensor, torch.Tensor]


class RadiographBatches(Dataset[Batch]):
    """A data set whose item is a whole batch: indexed by a list of positions.

    Gives uint8 (n, 1, size, size) and int64 (n,), positions in CLASSES.
    """

    def __init__(self, store: Store, records: pd.DataFrame) -> None:
        self._images = store.images
        self._rows = store.rows_of(records.image_id)
        self.labels = records.label.map(CLASSES.index).to_numpy(dtype=np.int64)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, positions: list[int]) -> Batch:
        images = np.stack([self._images[self._rows[p]] for p in positions])
        return torch.from_numpy(images)[:, None], torch.from_numpy(self.labels[positions])

    def mean_and_std(self) -> tuple[float, float]:
        """Mean and standard deviation of the pixels, as shares of white; one image in memory at a time."""
        count, total, squares = 0, 0.0, 0.0
        for row in self._rows:
            image = self._images[row].astype(np.float64) / 255
            count, total, squares = count + image.size, total + image.sum(), squares + (image**2).sum()
        mean = float(total / count)
        return mean, math.sqrt(max(squares / count - mean**2, 1e-12))


@dataclass(frozen=True)
class Place:
    """Which of several training processes this one is: ``rank`` of ``world``."""

    rank: int = 0
    world: int = 1

    def part(self, batch: np.ndarray) -> list[int]:
        """What this process takes of a batch."""
        return batch[self.rank :: self.world].tolist()


class BalancedBatches(Sampler[list[int]]):
    """Shuffled batches, a share of each drawn from COVID-19 images (the paper's ``sample_weight_covid``).

    The other images pass once an epoch; the COVID-19 ones are drawn with replacement as often as the share takes.
    Without a share, or without COVID-19 images, all images pass once. The order depends on seed and epoch alone, so
    that a resumed run goes on as an uninterrupted one would; of several processes each takes its part of the same
    batches.
    """

    def __init__(
        self,
        labels: np.ndarray,
        batch_size: int,
        covid_share: float | None,
        seed: int,
        place: Place = Place(),
    ) -> None:
        self._place = place
        covid = CLASSES.index("covid")
        covid_share = covid_share if (labels == covid).any() else None
        self._covid = np.flatnonzero(labels == covid) if covid_share is not None else np.empty(0, dtype=np.int64)
        self._others = np.flatnonzero(labels != covid) if covid_share is not None else np.arange(len(labels))
        self._covid_per_batch = round(batch_size * (covid_share or 0))
        self._others_per_batch = batch_size - self._covid_per_batch
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of this epoch (Lightning calls it)."""
        self._epoch = epoch

    def __len__(self) -> int:
        # One image has no variance for batch normalisation: a last batch that leaves a process with fewer than two is
        # dropped.
        full, rest = divmod(len(self._others), self._others_per_batch)
        return full + (rest >= 2 * self._place.world)

    def __iter__(self) -> Iterator[list[int]]:
        random = np.random.default_rng([self._seed, self._epoch])
        others = random.permutation(self._others)
        for batch in range(len(self)):
            chosen = others[batch * self._others_per_batch : (batch + 1) * self._others_per_batch]
            # a short last batch keeps the share
            count = round(self._covid_per_batch * len(chosen) / self._others_per_batch)
            covid = random.choice(self._covid, count) if count else self._covid[:0]
            yield self._place.part(random.permutation(np.concatenate([chosen, covid])))


class PlainBatches(Sampler[list[int]]):
    """Every image once, in order, in batches of nearly one size; of several processes each takes its part of them."""

    def __init__(self, count: int, batch_size: int, place: Place = Place()) -> None:
        self._count, self._batches, self._place = count, math.ceil(count / batch_size), place

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[list[int]]:
        for batch in np.array_split(np.arange(self._count), self._batches):
            yield self._place.part(batch)


def loader(data: RadiographBatches, batches: Sampler[list[int]]) -> DataLoader[Batch]:
    """A loader that passes whole batches through: nothing is decoded, so that no worker process is needed."""
    return DataLoader(data, sampler=batches, batch_size=None)
