"""The data set: records joined with their stored pixels, for training, prediction, evaluation and all studies."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrflow.errors import CxrflowError
from cxrflow.images.prepare import Store, open_all, steps_digest
from cxrflow.images.steps import Window
from cxrflow.params import Images
from cxrflow.records import read_kept
from cxrflow.task import Task
from cxrflow.terminal import console

#: Reason for leaving out a record whose image is not in the store.
NOT_PREPARED = "not among the prepared images: run `cxrflow images`"
_BATCH = 64


@dataclass(frozen=True)
class Dataset:
    """Images with their records, labels and pixels.

    task      the classes of the labels
    records   rows whose image is stored (columns of records.py); index 0 to n - 1
    stores    the prepared images: one store for each of several image steps, with the same rows
    rows      row of each record's image in the stores, int64 (n,)
    left_out  records without an image in every store: columns image_id, left_out (the reason)
    """

    task: Task
    records: pd.DataFrame
    stores: tuple[Store, ...]
    rows: NDArray[np.int64]
    left_out: pd.DataFrame

    @classmethod
    def join(cls, records: pd.DataFrame, stores: Store | Sequence[Store], task: Task) -> "Dataset":
        """Join kept records (columns of records.py) with the stores by ``image_id``.

        Raises CxrflowError if a label is not a class of the task, or if the stores are of different images.
        """
        stores = (stores,) if isinstance(stores, Store) else tuple(stores)
        index = _index(stores)
        unknown = sorted({str(label) for label in records.label} - set(task.order))
        if unknown:
            raise CxrflowError(
                f"records: label {unknown[0]} is not one of the task's classes {', '.join(task.order)}; run "
                "`cxrflow metadata` for this task."
            )
        position = pd.Series(np.arange(len(index)), index=index.image_id)
        rows = position.reindex(records.image_id, fill_value=-1).to_numpy()
        reasons = np.append(index.left_out.astype(object).to_numpy(), NOT_PREPARED)[rows]  # -1 is the last
        if "content_hash" in index and "content_hash" in records:  # another file by this name may be prepared
            contents = index.content_hash.to_numpy(object)[rows]
            reasons[(rows >= 0) & (contents != records.content_hash.to_numpy(object))] = NOT_PREPARED
        usable = np.asarray(pd.isna(reasons))
        left_out = pd.DataFrame({"image_id": records.image_id[~usable], "left_out": reasons[~usable]})
        return cls(
            task,
            records[usable].reset_index(drop=True),
            stores,
            rows[usable].astype(np.int64),
            left_out.reset_index(drop=True),
        )

    @classmethod
    def open(cls, records: Path, images: Path, task: Task) -> "Dataset":
        """The kept rows of a ``records.csv``, joined with the stores in the folder ``images``; rows without an image
        are counted on the terminal.

        Raises CxrflowError if either is absent, and as ``join`` does.
        """
        dataset = cls.join(read_kept(records), open_all(images), task)
        for reason, count in dataset.left_out.left_out.value_counts().items():
            console().print(f"{count:,} of the kept records have no image: {reason}", markup=False, soft_wrap=True)
        return dataset

    def __len__(self) -> int:
        return len(self.records)

    @property
    def labels(self) -> NDArray[np.str_]:
        """The class of each image, str (n,)."""
        return self.records.label.to_numpy(str)

    @property
    def truth(self) -> NDArray[np.int64]:
        """Class index of each image, int64 (n,)."""
        return self.task.numbers(self.records.label)

    @property
    def groups(self) -> NDArray[np.str_]:
        """The group of each image, str (n,)."""
        return self.records.group_id.to_numpy(str)

    @property
    def store(self) -> Store:
        """The store of a data set that has only one."""
        (only,) = self.stores
        return only

    @property
    def size(self) -> int:
        """Side length of the stored images (pixels)."""
        return int(self.store.images.shape[-1])

    def of(self, steps: Images) -> "Dataset":
        """The same images as prepared by ``steps``, alone. Raises CxrflowError if there are none."""
        wanted = steps_digest(steps)
        found = [store for store in self.stores if store.steps == wanted]
        if not found:
            raise CxrflowError(
                "the prepared images were made by other image steps than required; run `cxrflow images`."
            )
        return replace(self, stores=(found[0],))

    def where(self, chosen: NDArray[Any] | pd.Series | list[int]) -> "Dataset":
        """A subset: the images where a bool mask (n,) is True, or those at positions int (k,), in that order."""
        at = np.asarray(chosen)
        at = np.flatnonzero(at) if at.dtype == bool else at.astype(np.int64)
        return replace(self, records=self.records.iloc[at].reset_index(drop=True), rows=self.rows[at])

    def split(self, *names: str) -> "Dataset":
        """The images on the named sides of the split."""
        return self.where(self.records.split.isin(names))

    def divided(self, split: NDArray[Any]) -> "Dataset":
        """The same images with a new split: str (n,), None for an image on no side."""
        return replace(self, records=self.records.assign(split=np.asarray(split, dtype=object)))

    def pixels(self) -> NDArray[np.uint8]:
        """All images of the only store, loaded into memory: uint8 (n, size, size)."""
        return np.asarray(self.store.images[self.rows])

    def image(self, at: int) -> NDArray[np.uint8]:
        """One image of the only store, uint8 (size, size)."""
        return np.asarray(self.store.images[self.rows[at]])

    def window(self, at: int) -> Window:
        """The part of the radiograph that an image of the only store shows."""
        return self.store.window(int(self.rows[at]))

    def batches(self) -> Iterator[NDArray[np.uint8]]:
        """The images of the only store, in batches: uint8 (up to 64, size, size)."""
        for start in range(0, len(self.rows), _BATCH):
            yield np.asarray(self.store.images[self.rows[start : start + _BATCH]])


def _index(stores: Sequence[Store]) -> pd.DataFrame:
    """The index of all stores: an image that one of them lacks is left out with the reason given there."""
    index = stores[0].index
    for other in stores[1:]:
        if not index.image_id.equals(other.index.image_id):
            raise CxrflowError("the prepared images are of different records; run `cxrflow images`.")
        index = index.assign(left_out=index.left_out.where(index.left_out.notna(), other.index.left_out))
    return index
