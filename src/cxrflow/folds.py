"""The folds of patients that the networks of one bundle leave out (``training.folds``)."""

import numpy as np
from numpy.typing import NDArray

from cxrflow.dataset import Dataset
from cxrflow.metadata.groups import folds_of, with_children

#: Fold of an image that every network is trained on, and of one that none is.
ALWAYS, NEVER = -1, -2


def fold_of(dataset: Dataset, folds: int) -> NDArray[np.int64]:
    """The fold of each image of the splits train and val, int64 (n,) in [0, folds), by a hash of its group.

    NEVER for images of other splits. ALWAYS for groups with a child if all of these are in train: they are then used
    for training only (``metadata.paediatric``), and no figure includes them.
    """
    split = dataset.records.split
    fold = np.where(split.isin(("train", "val")), folds_of(dataset.groups, folds, "member"), NEVER)
    children = with_children(dataset.records).to_numpy(np.bool_)
    if (split[children] == "train").all():
        fold[children] = ALWAYS
    return np.asarray(fold, np.int64)


def leaving_out(dataset: Dataset, folds: int, fold: int) -> Dataset:
    """The images of train and val, divided again: ``val`` is the fold, ``train`` the rest."""
    found = fold_of(dataset, folds)
    return dataset.where(found != NEVER).divided(np.where(found[found != NEVER] == fold, "val", "train"))
