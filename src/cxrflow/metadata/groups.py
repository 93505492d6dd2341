"""Groups of patients linked by duplicates, and the split by group."""

import hashlib
from collections.abc import Sequence

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
    edges = [pairs]
    for key in keys:
        codes, _ = pd.factorize(frame[key])
        known = np.flatnonzero(codes >= 0)
        _, first, value = np.unique(codes[known], return_index=True, return_inverse=True)
        edges.append(np.stack([known, known[first[value]]], axis=1))
    start, end = np.concatenate(edges).astype(np.int64).T
    graph = coo_array((np.ones(len(start), dtype=np.int8), (start, end)), shape=(len(frame), len(frame)))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int32)


def group_ids(frame: pd.DataFrame, near: Pairs) -> pd.Series:
    """The group of every row: the connected component of rows with the same patient, same file or near repeats.

    frame   columns image_id, patient_id, path, content_hash; index 0..n-1
    near    near repeats, positions (pairs, 2)
    A group is named after its alphabetically first patient, or image if no patient is known. The name does not depend
    on the order of rows, but may change with a new member; sides.py keeps the group's side nevertheless.
    """
    component = components(frame, ("patient_id", "path", "content_hash"), near)
    patient, image = (_smallest(frame[column], component) for column in ("patient_id", "image_id"))
    return patient.where(patient.notna(), image)


def _smallest(names: pd.Series, component: NDArray[np.int32]) -> pd.Series:
    """The alphabetically first known name in the component of every row, NaN if none is known."""
    known = names.astype(object).dropna().sort_values()
    first = known.groupby(component[known.index]).first()
    return pd.Series(component, index=names.index).map(first)


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


def check_classes(kept: pd.DataFrame, task: Task) -> None:
    """Raise CxrflowError if one of the sides of the split has no group of a class.

    kept  rows that are not left out: columns label, group_id, split
    """
    for label in task.order:
        rows = kept[kept.label == label]
        groups = rows.groupby("split").group_id.nunique()
        if empty := [side for side in SPLITS if groups.get(side, 0) == 0]:
            raise CxrflowError(
                f"metadata: class {label} has {rows.group_id.nunique()} groups of patients, too few to split: none in "
                f"{', '.join(empty)}; add images of other patients, or set another metadata.split."
            )
