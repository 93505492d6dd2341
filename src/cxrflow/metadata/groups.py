"""Groups of patients linked by duplicates, and the split by group."""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrflow.errors import CxrflowError
from cxrflow.params import Split
from cxrflow.records import SPLITS
from cxrflow.task import Task
from cxrflow.text import number_of

Pairs = NDArray[np.int64]
NO_PAIRS: Pairs = np.empty((0, 2), dtype=np.int64)
#: Number of links processed at a time; the arrays for one part are small beside the result.
_PART = 1 << 20


def components(frame: pd.DataFrame, keys: Sequence[str], pairs: Pairs) -> NDArray[np.int32]:
    """The connected component of every row, int32 (n,), as ``joined``.

    Two rows are connected if they have the same known value in one of the columns ``keys``, or are one of the ``pairs``
    (positions, int64 (pairs, 2)).
    """
    rows = np.arange(len(frame), dtype=np.int32)
    return joined(len(frame), [*((rows, _first_rows(frame[key])) for key in keys), (pairs[:, 0], pairs[:, 1])])


def _first_rows(column: pd.Series) -> NDArray[np.int32]:
    """For every row the position of the first row with the same value, -1 if it is unknown: int32 (n,)."""
    codes, values = pd.factorize(column)
    first = np.full(len(values) + 1, -1, dtype=np.int32)  # the last one for unknown values, code -1
    rows = np.flatnonzero(codes >= 0)[::-1]
    first[codes[rows]] = rows  # of several rows the one that is assigned last counts, the first
    return first[codes]


def joined(count: int, links: Sequence[tuple[NDArray[Any], NDArray[Any]]]) -> NDArray[np.int32]:
    """The connected component of each of ``count`` nodes, given as the lowest node in it: int32 (count,).

    links  arrays of connected nodes, each with another of the same length; negative numbers in the second are none
    Beside the links and the result, memory is needed for one more copy of the result.
    """
    lowest = np.arange(count, dtype=np.int32)
    while True:
        changed = False
        for ends in links:
            for at in range(0, len(ends[0]), _PART):
                one, other = (nodes[at : at + _PART] for nodes in ends)
                known = other >= 0
                one, other = lowest[one[known]], lowest[other[known]]
                differ = one != other
                one, other = one[differ], other[differ]
                np.minimum.at(lowest, np.maximum(one, other), np.minimum(one, other))
                changed |= len(one) > 0
        if not changed:
            return lowest
        while (lowest != (lower := lowest[lowest])).any():
            lowest = lower


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
    return said_of_unknown(zip(counted.index, *(counted[name].tolist() for name in ("sum", "size")), strict=True))


def said_of_unknown(counted: Iterable[tuple[str, int, int]]) -> list[str]:
    """The sentences of ``unknown_patients``, given the collections with their numbers of images of unknown patients,
    and of all images."""
    return [
        f"{source}: the patient of {unknown:,} of {images:,} images is not known; images of one person may lie on "
        "several sides of the split, and count as several people in every interval."
        for source, unknown, images in counted
        if unknown
    ]


def check_classes(counted: pd.DataFrame, task: Task, left_out: str = "", children: Collection[str] = ()) -> None:
    """Raise CxrflowError if one of the sides of the split has no group of a class.

    counted   groups with kept images by class and side: columns label, split, groups
    left_out  why rows are left out, in words; said of a class without any image
    children  classes with images that ``metadata.paediatric`` leaves out or only trains on
    """
    for label in task.order:
        groups = counted[counted.label == label].set_index("split").groups
        empty = ", ".join(side for side in SPLITS if groups.get(side, 0) == 0)
        if empty and label in children:
            found = f"is kept on the sides {empty}" if len(groups) else "is kept"
            raise CxrflowError(
                f"metadata: no image of class {label} {found}, because metadata.paediatric leaves out its images of "
                "children, or only trains on them; for a question about children set metadata.paediatric: keep, as "
                "overrides: children does, else add images of adults."
            )
        if groups.empty:
            narrow = all(finding.startswith("pneumonia/") for finding in task.classes[label])
            other = "`overrides: pneumonia` in params.yaml (or `--overrides pneumonia` here), or " if narrow else ""
            raise CxrflowError(
                f"metadata: no image of class {label} is kept, and the task needs one; if your images show none, ask "
                f"another question: {other}a task of your own.{left_out and f' {left_out}'}"
            )
        if empty:
            raise CxrflowError(
                f"metadata: class {label} has {number_of(int(groups.sum()), 'group')} of patients, too few to split: "
                f"none in {empty}; add images of other patients, or set another metadata.split."
            )
