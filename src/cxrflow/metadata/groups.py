"""Groups of patients linked by duplicates, and the split by group."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cxrflow.errors import CxrflowError
from cxrflow.params import Split
from cxrflow.records import SPLITS
from cxrflow.task import Task

Pairs = NDArray[np.int64]
NO_PAIRS: Pairs = np.empty((0, 2), dtype=np.int64)


def components(frame: pd.DataFrame, keys: Sequence[str], pairs: Pairs) -> NDArray[np.int32]:
    """Index of the connected component of every row, int32 (n,).

    Two rows are connected if they have the same known value in one of the columns ``keys``, or are one of the ``pairs``
    (positions, int64 (pairs, 2)).
    """
    return joined([first_rows(frame[key]) for key in keys], pairs)


def first_rows(column: pd.Series) -> NDArray[np.int32]:
    """For every row the position of the first row with the same value, -1 if it is unknown: int32 (n,)."""
    codes, values = pd.factorize(column)
    first = np.full(len(values) + 1, -1, dtype=np.int32)  # the last one for unknown values, code -1
    rows = np.flatnonzero(codes >= 0)[::-1]
    first[codes[rows]] = rows  # of several rows the one that is assigned last counts, the first
    return first[codes]


def joined(first: Sequence[NDArray[np.int32]], pairs: Pairs) -> NDArray[np.int32]:
    """Index of the connected component of every row, int32 (n,), numbered by the first row of each.

    first  arrays int32 (n,): for each row, the first row with the same value in one column; negative if it is unknown
    pairs  further connected rows, int64 (pairs, 2)
    """
    # Most rows are connected with an earlier one. It stands for them, which leaves a small graph.
    rows = np.arange(len(first[0]), dtype=np.int32)
    earliest = rows.copy()
    for same in first:
        np.minimum(earliest, same, out=earliest, where=same >= 0)
    while (earliest != (before := earliest[earliest])).any():
        earliest = before
    nodes = np.cumsum(earliest == rows, dtype=np.int32)[earliest] - 1
    edges = [nodes[pairs].T]
    for same in first:
        other = nodes[np.where(same >= 0, same, rows)]
        differ = np.flatnonzero(nodes != other)
        edges.append(np.stack([nodes[differ], other[differ]]))
    start, end = np.concatenate(edges, axis=1)
    count = int(nodes.max(initial=-1)) + 1
    graph = coo_array((np.ones(len(start), dtype=np.int8), (start, end)), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int32)[nodes]


class Groups:
    """The groups of rows and their names, for rows whose texts come in parts.

    A group is named after its alphabetically first patient, or image if no patient is known. The name does not depend
    on the order of rows, but may change with a new member; sides.py keeps the group's side nevertheless.
    """

    def __init__(self, component: NDArray[np.int32], patient: NDArray[np.int32]) -> None:
        """component  group of every row, int32 (n,), from ``joined``
        patient    first row of the same patient, int32 (n,), -1 if unknown
        """
        self.component = component
        count, known = int(component.max(initial=-1)) + 1, patient >= 0
        low, high = np.full(count, len(component), dtype=np.int32), np.full(count, -1, dtype=np.int32)
        np.minimum.at(low, component[known], patient[known])
        np.maximum.at(high, component[known], patient[known])
        alone = np.bincount(component, minlength=count) == 1
        # Rows that name their group themselves: all known ones of a group of one patient, and lonely unknown ones.
        own = np.where(known, (low == high)[component], alone[component])
        self._mixed = np.zeros(count, dtype=bool)
        self._mixed[component[~own]] = True
        self._names: dict[int, tuple[str | None, str]] = {}
        self._learned = 0

    def learn(self, patients: Sequence[str | None], images: Sequence[str]) -> None:
        """Take in the patients and image ids of the next rows; all rows have to be, before ``names``."""
        component = self.component[self._learned : self._learned + len(images)]
        self._learned += len(images)
        for k in np.flatnonzero(self._mixed[component]).tolist():
            group, patient, image = int(component[k]), patients[k], images[k]
            before = self._names.get(group, (patient, image))
            known = [name for name in (patient, before[0]) if name is not None]
            self._names[group] = min(known, default=None), min(image, before[1])

    def names(self, rows: NDArray[np.int64], patients: Sequence[str | None], images: Sequence[str]) -> list[str]:
        """The names of the groups of rows (positions), given their patients and image ids."""
        own = zip(self.component[rows].tolist(), patients, images, strict=True)
        return [next(filter(None, self._names.get(group, (patient, image)))) for group, patient, image in own]


def split_of(group_id: str, split: Split) -> str:
    """Side of a new group: the hash of its name, as a number in [0, 1), is compared with the cumulative shares of
    ``split``."""
    number = int(hashlib.sha256(f"{split.seed}:{group_id}".encode()).hexdigest()[:13], 16) / 16**13
    if number < split.train:
        return "train"
    return "val" if number < split.train + split.val else "test"


def with_children(frame: pd.DataFrame) -> pd.Series:
    """Whether a row's group contains a kept image of a child; ``metadata.paediatric: train`` trains on these groups and
    never tests on them.

    frame  columns paediatric, left_out, group_id
    """
    children = frame.paediatric.astype(bool) & frame.left_out.isna()
    return frame.group_id.isin(frame.group_id[children])


def folds_of(groups: NDArray[Any], count: int, purpose: str) -> NDArray[np.int64]:
    """The fold of each image, int64 (n,) in [0, count), by a hash of its group's name; independent for each purpose.

    A new image may rename its group, and so move it: folds are those of one set of records.
    """
    return np.array([int(hashed_share(purpose, group) * count) for group in groups], dtype=np.int64)


def hashed_share(purpose: str, group: str) -> float:
    """A number in [0, 1), from a hash of the purpose and the group's name."""
    return int(hashlib.sha256(f"{purpose} {group}".encode()).hexdigest()[:15], 16) / 16**15


def unknown_patients(kept: pd.DataFrame) -> list[str]:
    """A sentence for each collection with images of unknown patients, which may leak.

    kept  rows that are not left out: columns source, patient_id
    """
    counted = kept.patient_id.isna().groupby(kept.source, sort=False).agg(["sum", "size"])
    return [
        f"{source}: the patient of {unknown:,} of {images:,} images is not known; images of one person may lie on "
        "several sides of the split, and count as several people in every interval."
        for source, (unknown, images) in zip(counted.index, counted.to_numpy().tolist(), strict=True)
        if unknown
    ]


def check_classes(kept: pd.DataFrame, task: Task, left_out: str = "") -> None:
    """Raise CxrflowError if one of the sides of the split has no group of a class.

    kept      rows that are not left out: columns label, group_id, split
    left_out  why rows are left out, in words; said of a class without any image
    """
    for label in task.order:
        rows = kept[kept.label == label]
        if rows.empty and left_out:
            raise CxrflowError(f"metadata: no image of class {label} is kept. {left_out}")
        groups = rows.groupby("split").group_id.nunique()
        if empty := [side for side in SPLITS if groups.get(side, 0) == 0]:
            raise CxrflowError(
                f"metadata: class {label} has {rows.group_id.nunique()} groups of patients, too few to split: none in "
                f"{', '.join(empty)}; add images of other patients, or set another metadata.split."
            )
