"""Pictures in memory, with their lung masks."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cxrflow.dataset import Dataset
from cxrflow.images.steps import shrink
from cxrflow.lungs import learned
from cxrflow.terminal import track


@dataclass(frozen=True)
class Pictures:
    """Pictures of a data set.

    dataset  their records
    images   uint8 (n, size, size)
    lungs    bool (n, size, size); all False where no lungs were found
    """

    dataset: Dataset
    images: NDArray[np.uint8]
    lungs: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.images)

    def some(self, most: int) -> "Pictures":
        """At most ``most`` of them, evenly spaced."""
        at = evenly(len(self), most)
        return Pictures(self.dataset.where(at), self.images[at], self.lungs[at])


def take(dataset: Dataset, size: int) -> Pictures:
    """All pictures of a data set, shrunk to ``size``. Their lungs come from the store; where it has none, the learned
    segmenter finds them in the prepared picture."""
    store = dataset.store
    images = np.empty((len(dataset), size, size), np.uint8)
    lungs = np.empty((len(dataset), size, size), np.bool_)
    for k in track(range(len(dataset)), "finding lungs", disable=store.lungs is not None):
        picture = dataset.image(k)
        images[k] = picture if len(picture) == size else shrink(picture, size)
        if store.lungs is None:
            found = learned.lung_map(picture)
        else:
            found = store.lungs[dataset.rows[k]].astype(np.uint8) * 255
        lungs[k] = cv2.resize(found, (size, size), interpolation=cv2.INTER_LINEAR) > 127
    return Pictures(dataset, images, lungs)


def grown(lungs: NDArray[np.bool_], share: float) -> NDArray[np.bool_]:
    """Masks, bool (n, size, size), dilated on every side by ``share`` of the picture's side."""
    reach = max(1, round(share * lungs.shape[-1]))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return np.stack([cv2.dilate(mask.astype(np.uint8), kernel) > 0 for mask in lungs]) if len(lungs) else lungs


def evenly(count: int, most: int) -> NDArray[np.intp]:
    """At most ``most`` positions out of ``count``, evenly spaced, in ascending order."""
    spaced: NDArray[Any] = np.linspace(0, max(count - 1, 0), min(most, count)).round().astype(np.intp)
    return np.unique(spaced)
