"""Fits what a bundle says of images that are far from its training images (far.py), and measures it on test."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf

from cxrflow.bundle import Bundle
from cxrflow.dataset import Dataset
from cxrflow.evaluation.conformal import group_weights
from cxrflow.far import DECIMALS, Far, describe
from cxrflow.statistics.figure import missing
from cxrflow.statistics.intervals import mean_over_groups
from cxrflow.terminal import track

#: An image is flagged if this share of new patients' images, or less, is as far.
SHARE = 0.02
#: With so few groups that more than this share would be flagged, a bundle says nothing.
_MOST = 0.1
_FEW = 50  # images on which nothing is fitted
#: Least standard deviation of a number of the description, and what is added to the variance of a standardised one:
#: some are the same in all training images, such as the share of white pixels.
_STEADY, _RIDGE = 0.01, 1e-3


def fit_far(dataset: Dataset) -> Far | None:
    """The distance from the images of train, and what is usual on val; None if there are too few of either.

    dataset  with one store, splits train and val
    The description of an image does not depend on the networks, so val is not seen in fitting even where the networks
    left out folds of train and val. With fewer than about 1 / SHARE groups on val, more than SHARE is flagged: what is
    farther than all of val.
    """
    train, val = dataset.split("train"), dataset.split("val")
    if len(train) < _FEW or len(val) == 0:
        return None
    distances_of = fit_distance(described(train))
    return calibrated(*distances_of, described(val), val.groups)


def described(dataset: Dataset) -> NDArray[np.float64]:
    """The description of each image of the only store: float64 (n, LENGTH)."""
    images = (image for batch in dataset.batches() for image in batch)
    shown = track(images, "describing images", disable=len(dataset) < 2000, total=len(dataset))
    return np.array([describe(image) for image in shown])


def fit_distance(descriptions: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean, float64 (k,), and the matrix W, float64 (k, k), of descriptions, float64 (n, k), as in ``Far``."""
    mean, spread = descriptions.mean(axis=0), np.maximum(descriptions.std(axis=0), _STEADY)
    fitted = LedoitWolf(assume_centered=True).fit((descriptions - mean) / spread)
    precision = np.linalg.inv(fitted.covariance_ + _RIDGE * np.eye(len(mean)))
    return mean, np.linalg.cholesky(precision).T / spread


def calibrated(
    mean: NDArray[np.float64], whiten: NDArray[np.float64], held: NDArray[np.float64], groups: NDArray[Any]
) -> Far | None:
    """The alarm from the descriptions of held-out images, float64 (n, k), and their groups, (n,)."""
    weights = group_weights(groups)
    share = max(SHARE, float(1 - weights.sum()))
    if share > _MOST:
        return None
    mean, whiten = (_rounded(values) for values in (mean, whiten))
    distances = np.round(np.linalg.norm((held - mean) @ whiten.T, axis=1), DECIMALS)
    order = np.argsort(distances, kind="stable")
    return Far(
        share=share,
        mean=tuple(mean.tolist()),
        whiten=tuple(tuple(row) for row in whiten.tolist()),
        distances=tuple(distances[order].tolist()),
        weights=tuple(weights[order].tolist()),
    )


def far_figures(bundle: Bundle, dataset: Dataset) -> dict[str, Any]:
    """The share of test images that are flagged as far from the training images.

    ``share``    the share of new patients' images, like those of val, that is flagged at most; None if the bundle says
                 nothing of this
    ``all``, ``by_source``  of all images, and by source, the mean over groups of the share of their images flagged,
                 which is the guaranteed quantity
    """
    sources = sorted(set(dataset.records.source))  # the order of the other tables
    if bundle.far is None:
        reason = missing("the bundle does not say what is far from its training images: train it again")
        return {"share": None, "all": reason, "by_source": dict.fromkeys(sources, reason)}
    images = dataset.of(bundle.networks[0].images)
    far = np.array([bundle.far.is_far(bundle.far.as_far(image)) for batch in images.batches() for image in batch], bool)
    groups, source = dataset.groups, dataset.records.source.to_numpy(str)
    by_source = {name: mean_over_groups(far[source == name], groups[source == name]) for name in sources}
    return {"share": bundle.far.share, "all": mean_over_groups(far, groups), "by_source": by_source}


def _rounded(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """With seven significant digits, which are enough for the distance, for a shorter file."""
    return np.array([float(f"{value:.7g}") for value in values.ravel()]).reshape(values.shape)
