"""How far an image is from the training images of a bundle, and how many images of new patients are as far.

An image is described by 43 numbers of its prepared picture (``describe``), which need no network: they are the same for
every bundle, on every engine, from a file and from a store. The distance is Mahalanobis' from the mean of the training
images, with a shrunk covariance (Lee et al., NeurIPS 2018, arXiv:1807.03888, section 2.1, there of a network's
features; Ledoit and Wolf, J Multivar Anal 2004; 88: 365-411). The alarm is conformal: an image is flagged if few of
the images of val are as far (Bates et al., Ann Stat 2023; 51: 149-178). evaluation/far.py fits both; docs/far.md says
what it finds and what it misses.
"""

from functools import cached_property
from typing import Annotated, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cxrflow.params import Fraction

#: Text of the flag.
FAR = "is far from the training data"
_SIDE, _WAVES = 32, 5  # of the shape: pixels, and waves along each side
_LEVELS = 5  # of the detail: each half as fine as the one before
_SHARES = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)  # of the grey levels
_LEAST = 1e-3
#: Numbers of a description.
LENGTH = _WAVES**2 - 1 + 2 * _LEVELS + len(_SHARES) + 2
#: Decimals of a distance: what differs between processors is beyond them.
DECIMALS = 3
_Number = Annotated[float, Field(ge=-1e9, le=1e9)]


class Far(BaseModel):
    """Distance from the training images, and what is usual (thresholds.json).

    share      an image is flagged if ``as_far`` is at most this
    mean       description of the training images, on average
    whiten     matrix W, a row each: the distance of a description x is the length of W (x - mean)
    distances  of the images of val, in ascending order
    weights    of these images; they add up to 1 minus the weight of a new group (evaluation/conformal.py)
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    share: Fraction
    mean: Annotated[tuple[_Number, ...], Field(min_length=LENGTH, max_length=LENGTH)]
    whiten: Annotated[tuple[tuple[_Number, ...], ...], Field(min_length=LENGTH, max_length=LENGTH)]
    distances: tuple[Annotated[float, Field(ge=0, le=1e12)], ...]
    weights: tuple[Fraction, ...]

    @model_validator(mode="after")
    def _consistent(self) -> "Far":
        if any(len(row) != LENGTH for row in self.whiten):
            raise ValueError(f"whiten must have rows of {LENGTH} numbers")
        if len(self.distances) != len(self.weights) or list(self.distances) != sorted(self.distances):
            raise ValueError("distances must ascend, and weights be as many")
        if not 0 < sum(self.weights) < 1:
            raise ValueError("weights must add up to less than 1")
        return self

    def distance(self, image: NDArray[np.uint8]) -> float:
        """Of a prepared image, uint8 (size, size), from the training images; 1 is a standard deviation."""
        mean, whiten, _, _ = self._arrays
        return round(float(np.linalg.norm(whiten @ (describe(image) - mean))), DECIMALS)

    def as_far(self, image: NDArray[np.uint8]) -> float:
        """Share of new patients' images, like those of val, that are at least as far from the training images: a
        conformal p-value in (0, 1].

        image  prepared, uint8 (size, size)
        If the patient of the image is one such as those of val, the share of patients' images with a value of at most
        p is at most p, on average over drawn bundles and patients, whatever the distribution.
        """
        _, _, distances, beyond = self._arrays
        return float(beyond[np.searchsorted(distances, self.distance(image), side="left")])

    def is_far(self, as_far: float) -> bool:
        """Whether an image with this value of ``as_far`` is flagged."""
        return as_far <= self.share + 1e-9

    @cached_property
    def _arrays(self) -> tuple[NDArray[np.float64], ...]:
        """Mean, W, distances, and the share of new images at or beyond each of these, the last beyond all."""
        weights = np.array(self.weights)
        beyond = 1 - np.r_[0, np.cumsum(weights)]
        return np.array(self.mean), np.array(self.whiten), np.array(self.distances), np.asarray(beyond.clip(0, 1))


def describe(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The description of a prepared image, uint8 (size, size): float64 (LENGTH,), finite for every image.

    - its shape: the cosine transform of a thumbnail of mean 0 and deviation 1, the 24 lowest waves without the constant
    - its detail: of the image and its next four reductions by half, the logarithms of the root mean square and of the
      median magnitude of what the next reduction loses
    - its grey levels: seven quantiles, and the fourth roots of the shares of black and of white pixels
    """
    small = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float64)
    shape = cv2.dct((small - small.mean()) / max(float(small.std()), _LEAST))[:_WAVES, :_WAVES].ravel()[1:]
    levels = np.cumsum(np.bincount(image.ravel(), minlength=256)) / image.size
    grey = [*(np.searchsorted(levels, _SHARES) / 255), levels[0] ** 0.25, (1 - levels[254]) ** 0.25]
    return np.concatenate([shape, np.log(np.array(_detail(image)) + _LEAST), grey])


def _detail(image: NDArray[np.uint8]) -> list[float]:
    found: list[float] = []
    finer: NDArray[Any] = np.asarray(image, np.uint16) * 256  # a fraction of the work of floating-point numbers
    for _ in range(_LEVELS):
        coarser = np.asarray(cv2.pyrDown(finer))
        lost = np.asarray(cv2.absdiff(finer, cv2.pyrUp(coarser, dstsize=finer.shape[::-1])))
        found += [cv2.norm(lost) / lost.size**0.5 / 65280, float(np.median(lost)) / 65280]
        finer = coarser
    return found
