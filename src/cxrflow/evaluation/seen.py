"""Leaves images that a bundle has seen out of its test sets."""

from pathlib import Path

import numpy as np
import pandas as pd

from cxrflow.bundle import Bundle, patient_digest, read_trained_on
from cxrflow.metadata.near import like_hashes

SAME_IMAGE = "the bundle was trained or validated on this image"
SAME_PATIENT = "the bundle was trained or validated on another image of this patient or group"


def leave_out_seen(records: pd.DataFrame, bundle_folder: Path) -> pd.DataFrame:
    """Leave out the images that the bundle was trained or validated on: the same bytes, near repeats, other images of
    the same patients, and the groups of all these. Returns records (columns of records.py) with ``left_out`` set.

    The bundle holds no thumbnails, so near repeats are found by the difference hash alone, within the usual number of
    bits; this leaves out some new images rather than keep a seen one. If the bundle's ``seen`` is unknown, only the
    images that it lists can be left out.
    """
    seen = read_trained_on(bundle_folder)
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


def seen_before(bundle: Bundle, folder: Path, test: pd.DataFrame) -> str | None:
    """A warning about test images that the bundle in ``folder`` may have seen, or None.

    test  records (columns of records.py) without the bundle's own training and validation images; any remaining overlap
          is with the pretraining of its weights
    """
    said = []
    if bundle.seen == "unknown":
        said.append(
            "Unknown: the network comes without a list of all its training images; if test images are among them, the "
            "figures are optimistic."
        )
    known = {name.casefold() for name in bundle.pretrained_on}
    if met := [name for name in test.source.unique() if str(name).casefold() in known]:
        same = "collection" if len(met) == 1 else "collections"
        said.append(f"It was pretrained on images of {' and '.join(met)}; the test set has images of the same {same}.")
    seen = read_trained_on(folder)
    by_person = test.patient_id.map(patient_digest).isin(seen.patient.dropna())
    if count := int((by_person | test.content_hash.isin(seen.content_hash.dropna())).sum()):
        said.append(f"{count} of the {len(test)} test images, or others of their patients, were seen in training.")
    return " ".join(said) or None


def _near_any(hashes: pd.Series, seen: pd.Series) -> np.ndarray:
    """Whether each hash is near a seen one: bool (len(hashes),)."""
    return np.isin(np.arange(len(hashes)), like_hashes(hashes.tolist(), seen.tolist())[:, 0])
