"""The pictures that the audit works on, with their lungs."""

from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd
from rich.progress import track

from cxrflow.images.prepare import Store
from cxrflow.images.steps import shrink
from cxrflow.lungs import learned


@dataclass(frozen=True)
class Pictures:
    """Some prepared pictures.

    table   one row per picture: image_id, source, label, group_id and whatever else the records say; index 0 to n - 1
    images  uint8 (n, size, size)
    lungs   bool (n, size, size); all False where none are found
    """

    table: pd.DataFrame
    images: np.ndarray
    lungs: np.ndarray

    def some(self, most: int) -> "Pictures":
        """At most ``most`` of them, evenly spaced."""
        rows = evenly(self.table, most).index.to_numpy()
        return Pictures(self.table.iloc[rows].reset_index(drop=True), self.images[rows], self.lungs[rows])


def take(table: pd.DataFrame, store: Store, size: int) -> Pictures:
    """The stored pictures of a table's rows, shrunk to ``size``, with the lungs that the store has; where it has none,
    those that the learned segmenter finds in the prepared picture."""
    rows = store.rows_of(table.image_id)
    images = np.empty((len(rows), size, size), np.uint8)
    lungs = np.empty((len(rows), size, size), np.bool_)
    for k, row in enumerate(track(rows, "finding lungs", disable=store.lungs is not None)):
        picture = np.asarray(store.images[row])
        images[k] = picture if len(picture) == size else shrink(picture, size)
        found = learned.lung_map(picture) if store.lungs is None else store.lungs[row].astype(np.uint8) * 255
        lungs[k] = cv2.resize(found, (size, size), interpolation=cv2.INTER_LINEAR) > 127
    return Pictures(table.reset_index(drop=True), images, lungs)


def grown(lungs: np.ndarray, share: float) -> np.ndarray:
    """Masks, bool (n, size, size), grown by a share of the side on every side."""
    reach = max(1, round(share * lungs.shape[-1]))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return np.stack([cv2.dilate(mask.astype(np.uint8), kernel) > 0 for mask in lungs]) if len(lungs) else lungs


def evenly(table: pd.DataFrame, most: int) -> pd.DataFrame:
    """At most ``most`` rows, evenly spaced."""
    return table.iloc[np.unique(np.linspace(0, max(len(table) - 1, 0), min(most, len(table))).round().astype(int))]
