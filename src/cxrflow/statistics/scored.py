"""Scored images: labels, groups and predicted probabilities, from which all figures are computed."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrflow.errors import CxrflowError
from cxrflow.statistics.resampling import Bootstrap
from cxrflow.task import Task

Probabilities = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Scored:
    """Images with the probabilities that a network predicts for them.

    task           the classes
    table          one row per image: label (one of the classes), source, group_id and any further columns in use
    probabilities  float (n, classes), in the order of the task; each row sums to 1
    bootstrap      number and seed of the resamples for intervals
    Raises CxrflowError if these are inconsistent.
    """

    task: Task
    table: pd.DataFrame
    probabilities: Probabilities
    bootstrap: Bootstrap

    def __post_init__(self) -> None:
        values, order = self.probabilities, self.task.order
        absent = [name for name in ("label", "source", "group_id") if name not in self.table]
        if absent:
            raise CxrflowError(f"The table to evaluate lacks the column {absent[0]}; pass records.")
        if len(self.table) == 0:
            raise CxrflowError("There is no image to evaluate; see which records are kept and in the test split.")
        if values.shape != (len(self.table), len(order)):
            raise CxrflowError(
                f"Probabilities of shape {values.shape} do not fit {len(self.table)} images; "
                f"pass one row per image with the columns {', '.join(order)}."
            )
        unknown = sorted({str(label) for label in self.table["label"]} - set(order))
        if unknown:
            raise CxrflowError(f"Label {unknown[0]} is not one of {', '.join(order)}; leave such images out.")
        for name in ("source", "group_id"):
            if self.table[name].isna().any():
                count = int(self.table[name].isna().sum())
                raise CxrflowError(f"{count} of the images to evaluate have no {name}; give every image one.")
        if not np.issubdtype(values.dtype, np.floating) or not np.isfinite(values).all():
            raise CxrflowError("Some probabilities are not finite; see whether the training loss became NaN.")
        if values.min() < 0 or np.abs(values.sum(axis=1, dtype=np.float64) - 1).max() > 1e-3:
            raise CxrflowError("Some rows are not probabilities adding up to 1; pass softmax outputs.")

    def __len__(self) -> int:
        return len(self.table)

    @property
    def labels(self) -> NDArray[np.str_]:
        """The true class of each image, str (n,)."""
        return self.table["label"].to_numpy(str)

    @property
    def truth(self) -> NDArray[np.int64]:
        """Index of the true class, int64 (n,)."""
        return self.task.numbers(self.table["label"])

    @property
    def predicted(self) -> NDArray[np.int64]:
        """Index of the most probable class, int64 (n,); the first one if several tie."""
        return np.asarray(self.probabilities.argmax(axis=1), dtype=np.int64)

    @property
    def groups(self) -> NDArray[np.str_]:
        """The group of each image, str (n,)."""
        return self.table["group_id"].to_numpy(str)

    @property
    def sources(self) -> NDArray[np.str_]:
        """The source of each image, str (n,)."""
        return self.table["source"].to_numpy(str)

    @property
    def positive(self) -> NDArray[np.bool_]:
        """Whether each image is of the task's positive class, bool (n,)."""
        return np.asarray(self.labels == self.task.positive)

    @property
    def positive_scores(self) -> Probabilities:
        """The probability of the task's positive class, float (n,)."""
        return np.asarray(self.probabilities[:, self.task.positive_column])

    def where(self, rows: NDArray[np.bool_]) -> "Scored":
        """Only the images where ``rows``, bool (n,), is True; at least one must be."""
        return Scored(self.task, self.table[rows], self.probabilities[rows], self.bootstrap)

    def among(self, a: str, b: str) -> NDArray[np.bool_]:
        """Whether each image is of class ``a`` or ``b``, bool (n,)."""
        return np.isin(self.labels, (a, b))

    def share(self, a: str, b: str) -> NDArray[np.float64]:
        """p_a / (p_a + p_b) of each image, float64 (n,): 0.5 where both are 0."""
        p_a, p_b = (self.probabilities[:, self.task.order.index(name)].astype(np.float64) for name in (a, b))
        return np.asarray(np.divide(p_a, p_a + p_b, out=np.full(len(p_a), 0.5), where=p_a + p_b > 0))
