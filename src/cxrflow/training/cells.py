"""Cells, the pairs of source and class: batches that balance the classes of each source, and group DRO over cells."""

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils.data import Sampler

from cxrflow.images.prepare import Store
from cxrflow.training.data import Place, RadiographBatches


class CellBatches(RadiographBatches):
    """Whole batches with their cells: uint8 (n, 1, size, size), int64 (n,) classes, int64 (n,) cells.

    Attributes: ``cells``, int64, one per image, from 0 to ``cell_count`` - 1, in the order of source and class.
    """

    def __init__(self, store: Store, records: pd.DataFrame) -> None:
        super().__init__(store, records)
        self._sources = records.source.to_numpy()
        names = list(zip(records.source, records.label, strict=True))
        order = {name: position for position, name in enumerate(sorted(set(names)))}
        self.cells = np.array([order[name] for name in names], dtype=np.int64)
        self.cell_count = len(order)

    def __getitem__(self, positions: list[int]) -> tuple[torch.Tensor, ...]:  # type: ignore[override]
        return *super().__getitem__(positions), torch.from_numpy(self.cells[positions])

    def chances(self) -> np.ndarray:
        """The chance of each image to be drawn, float64 (n,), that leaves each source its share of the images and
        makes the classes that a source has equally frequent within it."""
        table = pd.DataFrame({"source": self._sources, "cell": self.cells})
        of_source = table.groupby("source").cell.transform("size")
        classes = table.groupby("source").cell.transform("nunique")
        of_cell = table.groupby("cell").cell.transform("size")
        return (of_source / len(table) / classes / of_cell).to_numpy(dtype=np.float64)


class SourceBalancedBatches(Sampler[list[int]]):
    """Batches drawn with replacement by ``chances`` (float (n,), adding up to 1), as many an epoch as hold n images.

    The order depends on seed and epoch alone, so that a resumed run goes on as an uninterrupted one would; of several
    processes each takes its part of the same batches.
    """

    def __init__(self, chances: np.ndarray, batch_size: int, seed: int, place: Place) -> None:
        self._chances, self._batch_size, self._seed, self._place = chances, batch_size, seed, place
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the draw of this epoch (Lightning calls it)."""
        self._epoch = epoch

    def __len__(self) -> int:
        return math.ceil(len(self._chances) / self._batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        random = np.random.default_rng([self._seed, self._epoch])
        for _ in range(len(self)):
            yield self._place.part(random.choice(len(self._chances), self._batch_size, p=self._chances))


class GroupDro(nn.Module):
    """The loss of group distributionally robust optimisation, online (Sagawa et al., ICLR 2020, algorithm 1).

    ``weights``, float (groups,), add up to 1: at every batch each is multiplied by exp(``step`` x the group's mean
    loss in it) and all are brought to a sum of 1 again; the loss is the mean losses weighted by them. A group without
    an image in the batch counts as a loss of 0 there, as in the authors' code.
    """

    weights: torch.Tensor

    def __init__(self, groups: int, step: float) -> None:
        super().__init__()
        self._step = step
        # Kept in the checkpoint by the training module: it is no part of the network.
        self.register_buffer("weights", torch.full((groups,), 1 / groups), persistent=False)

    def forward(self, losses: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
        """From the losses, float (n,), and groups, int64 (n,), of a batch to its loss, float ()."""
        sums = losses.new_zeros(len(self.weights)).index_add(0, groups, losses)
        means = sums / torch.bincount(groups, minlength=len(self.weights)).clamp(min=1)
        with torch.no_grad():
            raised = self.weights * torch.exp(self._step * means)
            self.weights = raised / raised.sum()
        return means @ self.weights
