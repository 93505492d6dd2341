"""What a bundle has seen must not test it."""

from pathlib import Path

import numpy as np
import pandas as pd

from cxrflow.bundle import Bundle, patient_digest, read_trained_on
from cxrflow.metadata.near import MOST_BITS, hash_words

SAME_IMAGE = "the bundle was trained or validated on this image"
SAME_PATIENT = "the bundle was trained or validated on another image of this patient or group"


def leave_out_seen(records: pd.DataFrame, bundle: Path) -> pd.DataFrame:
    """Leave out what the bundle was trained or validated on: the same bytes, near repeats, patients, and their groups.

    Without thumbnails of the seen images, near repeats are told by the difference hash alone, within the same number of
    bits: rather an image too many left out than one that was seen. Of a bundle whose ``seen`` is unknown, only what it
    lists can be left out.
    """
    seen = read_trained_on(bundle)
    kept = records.left_out.isna()
    same = records.content_hash.isin(seen.content_hash.dropna())
    with_hash = records.index[kept & ~same & records.near_hash.notna()]
    same = same | records.index.isin(with_hash[_near_any(records.near_hash[with_hash], seen.near_hash.dropna())])
    patient = records.patient_id.map(patient_digest).isin(seen.patient.dropna())
    group = records.group_id.isin(records.group_id[same | patient])
    out = records.copy()
    out.loc[kept & group, "left_out"] = SAME_PATIENT
    out.loc[kept & same, "left_out"] = SAME_IMAGE
    out.loc[out.left_out.notna(), "split"] = None
    return out


def overlap(bundle: Bundle, folder: Path, test: pd.DataFrame) -> str | None:
    """What has to be said of what a bundle in ``folder`` may have seen of the test rows before; None: nothing.

    Its training and validation images are no test images by the split, or were left out; what its weights saw before
    that, in pretraining, need not have been.
    """
    said = []
    if bundle.seen == "unknown":
        said.append(
            "Unknown: the network comes with no list of all its training images; these may be among them, and the "
            "figures then too good."
        )
    known = {name.casefold() for name in bundle.pretrained_on}
    if met := [name for name in test.source.unique() if str(name).casefold() in known]:
        said.append(f"It was pretrained on images of {' and '.join(met)}, of which there are test images, too.")
    seen = read_trained_on(folder)
    by_person = test.patient_id.map(patient_digest).isin(seen.patient.dropna())
    if count := int((by_person | test.content_hash.isin(seen.content_hash.dropna())).sum()):
        said.append(f"{count} of the {len(test)} test images, or others of their patients, were seen in training.")
    return " ".join(said) or None


def _near_any(hashes: pd.Series, seen: pd.Series) -> np.ndarray:
    """Whether each hash is within MOST_BITS of any seen one: bool (len(hashes),)."""
    ours, theirs = hash_words(hashes.tolist()), hash_words(seen.tolist())
    if not len(theirs):
        return np.zeros(len(ours), dtype=bool)
    return np.array([np.bitwise_count(theirs ^ one).sum(axis=1).min() <= MOST_BITS for one in ours], dtype=bool)
