"""Masks of stored pictures: the true opacity of demo data, the boxes of radiologists, and the lungs."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cxrflow.dataset import Dataset
from cxrflow.errors import LeftOut
from cxrflow.files import Root
from cxrflow.findings import under
from cxrflow.records import TRUTH, boxes_of

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
        window, size = self.dataset.window(at), self.dataset.size
        centres = (np.arange(size) + 0.5) * window.side / size
        rows, columns = (np.floor(start + centres).astype(int) for start in (window.top, window.left))
        # A canvas may reach beyond the radiograph.
        padded = np.pad(mask, ((0, max(rows[-1] + 1 - mask.shape[0], 0)), (0, max(columns[-1] + 1 - mask.shape[1], 0))))
        return np.asarray(padded[np.ix_(rows, columns)] > 0)

    @property
    def drawn(self) -> bool:
        """Whether these are demo radiographs, whose true opacities are known."""
        return (self.root / TRUTH).is_dir()

    def disease(self, at: int) -> NDArray[np.bool_] | None:
        """Where the picture's class shows, as far as it is known: the true opacity of demo data, else ``boxes``."""
        return self.opacity(at) if self.drawn else self.boxes(at)

    def boxes(self, at: int) -> NDArray[np.bool_] | None:
        """The union of the boxes that radiologists drew round findings of the picture's class; None if there are none.

        The image steps cut a square out of the radiograph and resize it; they neither mirror nor rotate. A pixel of the
        picture is in a box if its centre is. A box outside the square leaves a mask that is all False.
        """
        record = self.dataset.records.iloc[at]
        paths = self.dataset.task.classes[record.label]
        boxes = [box for box in boxes_of(record.boxes) if any(under(box.finding, path) for path in paths)]
        if not boxes:
            return None
        window, size = self.dataset.window(at), self.dataset.size
        centres = (np.arange(size) + 0.5) * window.side / size
        rows, columns = (window.top + centres) / window.height, (window.left + centres) / window.width
        mask = np.zeros((size, size), np.bool_)
        for box in boxes:
            inside = (rows >= box.top) & (rows < box.top + box.height)
            mask |= inside[:, None] & (columns >= box.left) & (columns < box.left + box.width)
        return mask

    def lungs(self, at: int) -> NDArray[np.bool_] | None:
        """The lungs as segmented in the image steps; None if these segment no lungs."""
        stored = self.dataset.store.lungs
        return None if stored is None else np.asarray(stored[self.dataset.rows[at]], np.bool_)
