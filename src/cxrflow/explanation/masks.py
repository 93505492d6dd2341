"""Masks of stored pictures: the true opacity of demo data, and the lungs."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cxrflow.dataset import Dataset
from cxrflow.errors import LeftOut
from cxrflow.files import Root
from cxrflow.images.steps import cut
from cxrflow.records import TRUTH

#: Folder with the true opacity of each demo image, below the root of the collections.
TRUE_OPACITY = Path(TRUTH) / "opacity"


@dataclass(frozen=True)
class Masks:
    """Masks of a data set's pictures, bool (size, size), by position in the data set; None if there is no mask.

    root  folder of the collections
    """

    dataset: Dataset
    root: Path

    def opacity(self, at: int) -> NDArray[np.bool_] | None:
        """The true opacity of a demo radiograph, cropped and resized like the picture; None for real data."""
        try:
            file = Root(self.root / TRUE_OPACITY).file(self.dataset.records.path[at]).with_suffix(".png")
        except LeftOut:
            return None
        mask = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) if file.is_file() else None
        if mask is None:
            return None
        shown = cut(mask, self.dataset.store.window(int(self.dataset.rows[at])))
        size = self.dataset.size
        return np.asarray(cv2.resize(shown, (size, size), interpolation=cv2.INTER_NEAREST) > 0)

    def lungs(self, at: int) -> NDArray[np.bool_] | None:
        """The lungs as segmented in the image steps; None if these segment no lungs."""
        stored = self.dataset.store.lungs
        return None if stored is None else np.asarray(stored[self.dataset.rows[at]], np.bool_)
