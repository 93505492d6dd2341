"""Training with ``freeze: backbone``: features once, and a head."""

import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from cxrflow.bundle import Network
from cxrflow.dataset import Dataset
from cxrflow.network import LoadedNetwork
from cxrflow.params import Member
from cxrflow.training.cells import CellBatches
from cxrflow.training.features import features_of
from cxrflow.training.head import fit_head, image_weights
from cxrflow.training.module import figures_on_val, on_val, row_of
from cxrflow.training.start import Start
from cxrflow.training.temperature import fit_temperature


def train_head(
    start: Start, dataset: Dataset, member: Member, cache: Path
) -> tuple[Network, nn.Module, dict[str, float]]:
    """Fit the head of a frozen network on the split ``train``, put it into the last linear layer, calibrate on ``val``.

    cache  folder of features (``features_of``)
    Returns the network's description, whose weights are not known yet, the network on the CPU, and the row of its
    history: epoch 0, with ``head_c``, the chosen C.
    """
    images, params, fold = member
    order, train, val = dataset.task.order, dataset.split("train"), dataset.split("val")
    batches = CellBatches(train)
    mean, std = start.scale or batches.mean_and_std()
    about = Network(
        model=params.model,
        images=images,
        mean=mean,
        std=std,
        temperature=1.0,
        fold=fold,
        epoch=0,
        validation={},
        frozen=True,
        start=start.passport,
    )
    network = LoadedNetwork(about, start.network.eval())
    both = dataset.split("train", "val")
    features, is_train = features_of(network, both, cache), (both.records.split == "train").to_numpy()
    learned, left_out = features[is_train], features[~is_train]
    weights = image_weights(params, train.truth, dataset.task.positive_column, order, batches.chances())
    head = fit_head(learned, train.truth, weights, train.groups, len(order))
    head.put_into(network.module)
    logits = head.logits(left_out)
    figures = figures_on_val(len(order))
    figures.update(torch.from_numpy(logits).softmax(dim=1), torch.from_numpy(val.truth))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No positive samples in targets.*")  # of a class that is not learned
        on_val_now = row_of(figures, order)
    of_class = np.array([params.loss_weights.get(name, 1.0) for name in order])
    row = {
        "epoch": 0.0,
        "train_loss": _cross_entropy(head.logits(learned), train.truth, weights),
        "val_loss": _cross_entropy(logits, val.truth, of_class[val.truth]),
        **on_val_now,
        "head_c": head.c,
    }
    fitted = {"temperature": fit_temperature(logits, val.truth), "validation": on_val(row)}
    return about.model_copy(update=fitted), network.module.cpu(), row


def _cross_entropy(logits: NDArray[np.float64], truth: NDArray[np.int64], weights: NDArray[np.float64]) -> float:
    losses = functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(truth), reduction="none")
    return float(np.average(losses.numpy(), weights=weights))
