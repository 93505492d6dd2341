"""Cells (pairs of source and class): batches that balance the classes within each source, and group DRO over cells."""

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import Sampler

from cxrflow.dataset import Dataset
from cxrflow.training.data import Process, RadiographBatches, without_waiting


class CellBatches(RadiographBatches):
    """Batches with the cell of each image: images, uint8 (n, 1, size, size), classes, int64 (n,), cells, int64 (n,).

    Attributes: ``cells``, int64 (n,), from 0 to ``cell_count`` - 1 in alphabetical order of source and class.
    """

    def __init__(self, dataset: Dataset) -> None:
        super().__init__(dataset)
        self._sources = dataset.records.source.to_numpy()
        names = list(zip(dataset.records.source, dataset.records.label, strict=True))
        order = {name: position for position, name in enumerate(sorted(set(names)))}
        self.cells = np.array([order[name] for name in names], dtype=np.int64)
        self.cell_count = len(order)

    def __getitem__(self, positions: list[int]) -> tuple[torch.Tensor, ...]:  # type: ignore[override]
        images, labels = super().__getitem__(positions)
        return images, labels, without_waiting(torch.from_numpy(self.cells[positions]), images.device)

    def chances(self) -> NDArray[np.float64]:
        """Sampling probability of each image, float64 (n,): each source keeps its share of the images, and the classes
        present in a source are equally frequent within it."""
        table = pd.DataFrame({"source": self._sources, "cell": self.cells})
        of_source = table.groupby("source").cell.transform("size")
        classes = table.groupby("source").cell.transform("nunique")
        of_cell = table.groupby("cell").cell.transform("size")
        return (of_source / len(table) / classes / of_cell).to_numpy(dtype=np.float64)


class SourceBalancedBatches(Sampler[list[int]]):
    """Batches drawn with replacement with the probabilities ``chances``, float (n,), which sum to 1; an epoch draws
    about n images.

    The draw depends on seed and epoch alone, so a resumed run draws the batches of an uninterrupted one. All DDP ranks
    draw the same batches; each takes its part.
    """

    def __init__(self, chances: NDArray[np.float64], batch_size: int, seed: int, process: Process) -> None:
        self._chances, self._batch_size, self._seed, self._process = chances, batch_size, seed, process
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the draw of this epoch (Lightning calls it)."""
        self._epoch = epoch

    def __len__(self) -> int:
        return math.ceil(len(self._chances) / self._batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        random = np.random.default_rng([self._seed, self._epoch])
        for _ in range(len(self)):
            yield self._process.part(random.choice(len(self._chances), self._batch_size, p=self._chances))


class GroupDro(nn.Module):
    """Loss of online group distributionally robust optimisation (Sagawa et al., ICLR 2020, algorithm 1).

    ``weights``, float (groups,), sum to 1. At every batch each weight is multiplied by exp(``step`` x the group's mean
    loss), and the weights are normalised to sum to 1 again. The loss is the weighted sum of the groups' mean losses; a
    group without an image in the batch has loss 0, as in the authors' code.
    """

    weights: torch.Tensor

    def __init__(self, groups: int, step: float) -> None:
        super().__init__()
        self._step = step
        # Not persistent, because it is no part of the network; the training module saves it in the checkpoint.
        self.register_buffer("weights", torch.full((groups,), 1 / groups), persistent=False)

    def forward(self, losses: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
        """Loss of a batch, float (), from the losses, float (n,), and groups, int64 (n,), of its images."""
        sums = losses.new_zeros(len(self.weights)).index_add(0, groups, losses)
        means = sums / torch.bincount(groups, minlength=len(self.weights)).clamp(min=1)
        with torch.no_grad():
            raised = self.weights * torch.exp(self._step * means)
            self.weights = raised / raised.sum()
        return means @ self.weights
