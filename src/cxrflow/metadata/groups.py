"""Groups of patients with their duplicates, and the split by group."""

import hashlib

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cxrflow.errors import CxrflowError
from cxrflow.params import Split
from cxrflow.records import CLASSES, SPLITS


def group_ids(frame: pd.DataFrame, near: np.ndarray) -> pd.Series:
    """The group of every row: rows of one patient, one file or one picture are in one, and so on along the chain.

    frame   columns image_id, patient_id, path, content_hash; index 0..n-1
    near    (pairs, 2) positions of near repeats
    The group is called after the first of its patients in the alphabet, or of its images where no patient is known:
    neither adding nor reordering other rows renames it.
    """
    edges = [near]
    for key in ("patient_id", "path", "content_hash"):
        known = frame[frame[key].notna()]
        first = known.groupby(key).image_id.transform(lambda ids: ids.index[0])
        edges.append(np.stack([known.index.to_numpy(), first.to_numpy(dtype=np.int64)], axis=1))
    pairs = np.concatenate(edges).astype(np.int64)
    n = len(frame)
    graph = coo_array((np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    _, component = connected_components(graph, directed=False)
    names = pd.DataFrame({"patient": frame.patient_id, "image": frame.image_id}).groupby(component)
    patient = names.patient.transform(lambda values: min((v for v in values if v is not None), default=None))
    return patient.where(patient.notna(), names.image.transform("min"))


def split_of(group_id: str, split: Split) -> str:
    """``train``, ``val`` or ``test``: the group's hash, as a number in [0, 1), against the wanted shares."""
    number = int(hashlib.sha256(f"{split.seed}:{group_id}".encode()).hexdigest()[:13], 16) / 16**13
    if number < split.train:
        return "train"
    return "val" if number < split.train + split.val else "test"


def with_children(frame: pd.DataFrame) -> pd.Series:
    """Rows of the groups that hold a child's kept image, bool, index of ``frame`` (columns paediatric, left_out,
    group_id): what ``metadata.paediatric: train`` learns from and never tests."""
    children = frame.paediatric.astype(bool) & frame.left_out.isna()
    return frame.group_id.isin(frame.group_id[children])


def check_classes(kept: pd.DataFrame) -> None:
    """Raise CxrflowError where a class has too few groups for a training, a validation and a test side.

    kept  the rows that stay, columns label, group_id, split
    """
    for label in CLASSES:
        rows = kept[kept.label == label]
        groups = rows.groupby("split").group_id.nunique()
        if empty := [side for side in SPLITS if groups.get(side, 0) == 0]:
            raise CxrflowError(
                f"metadata: class {label} has {rows.group_id.nunique()} groups of patients, too few to split: none in "
                f"{', '.join(empty)}; add images of other patients, or set another metadata.split."
            )
