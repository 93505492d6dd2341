"""Leaves images that a bundle has seen out of its test sets, and says how each was recognised."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cxrflow.bundle import Bundle
from cxrflow.bundle_files import patient_digest, read_trained_on
from cxrflow.engines import Engine
from cxrflow.files import Root
from cxrflow.metadata.fingerprint import fingerprints
from cxrflow.metadata.near_hash import DIGITS, SAME, SIMILAR, agreement
from cxrflow.passport import Passport
from cxrflow.records import are_drawn
from cxrflow.sources import covid_chestxray, nih, radiography, rsna

SAME_FILE = "the bundle was trained or validated on this file"
SAME_PICTURE = "the bundle was trained or validated on this picture, in another file"
SIMILAR_PICTURE = "similar to a picture that the bundle was trained or validated on, perhaps of another person"
SAME_PATIENT = "the bundle was trained or validated on another image of this patient or group"
#: All of these reasons, the surest first.
SEEN = (SAME_FILE, SAME_PICTURE, SAME_PATIENT, SIMILAR_PICTURE)

_OF_NIH, _OF_ARTICLES = {nih.NAME, rsna.NAME}, {covid_chestxray.NAME, radiography.NAME}
#: Our sources with images of a data set, by its name in lower case; a data set that is not here holds the source of its
#: name alone. RSNA's images are NIH's (Shih et al. 2019, Radiol Artif Intell; 1: e180041), and so are those of Google's
#: labels (Majkowska et al. 2020, Radiology; 294: 421) and SIIM's (Filice et al. 2020, J Digit Imaging; 33: 490).
#: Many COVID-19 images of covid-chestxray and radiography are figures of articles, and the same ones.
_HOLDS = dict.fromkeys(("nih", "rsna", "google", "siim"), _OF_NIH)
_HOLDS |= dict.fromkeys(("pmc-15m", covid_chestxray.NAME, radiography.NAME), _OF_ARTICLES)


@dataclass(frozen=True)
class Met:
    """What weights may have seen of a test set before training, by collection.

    sources   for each test source whose images were among their training data: images and groups in the test set
    complete  whether all their training data are known
    """

    sources: dict[str, tuple[int, int]]
    complete: bool

    @property
    def words(self) -> str:
        """Such as ``nih: 12 images of 9 groups``, ``none`` or ``unknown``."""
        said = [
            f"{source}: {images:,} image{'s' * (images != 1)} of {groups:,} group{'s' * (groups != 1)}"
            for source, (images, groups) in self.sources.items()
        ]
        if not said:
            return "none" if self.complete else "unknown"
        return "; ".join(said if self.complete else [*said, "others unknown"])

    def to_json(self) -> dict[str, Any]:
        """The fields and ``words``."""
        return asdict(self) | {"words": self.words}


def met_before(passport: Passport | None, test: pd.DataFrame) -> Met:
    """The test images that weights may have seen before training: all those of a source whose collection, or one that
    shares its images, is named in their passport or in one before it. None stands for random weights.

    test  columns source, group_id
    """
    chain = passport.chain if passport else []
    known = _sources_with(name for each in chain for name in each.trained_on)
    sources = {
        str(source): (len(rows), rows.group_id.nunique())
        for source, rows in test.groupby("source")
        if str(source).casefold() in known
    }
    return Met(sources, all(each.complete for each in chain))


def _sources_with(data_sets: Iterable[str]) -> set[str]:
    """The sources, in lower case, that hold images of these data sets."""
    names = {name.casefold() for name in data_sets}
    return {source for name in names for source in _HOLDS.get(name, {name})}


def thumbnails_of(records: pd.DataFrame, root: Root, engine: Engine, cache: Path) -> list[bytes | None]:
    """The thumbnail of each record, from the fingerprints in ``cache`` or from the file; None for rows left out and for
    files that cannot be read."""
    kept = records.left_out.isna()
    found = fingerprints(root, records.path[kept].tolist(), engine, cache)
    return [found[path].thumbnail if is_kept else None for path, is_kept in zip(records.path, kept, strict=True)]


def patients_meet(bundle: Bundle, root: Root) -> bool:
    """Whether equal patient ids of the bundle's training images and of the collections in ``root`` are of one person:
    those of drawings, in the layouts of real collections, also occur in these collections."""
    return not bundle.drawn or are_drawn(root.folder)


def leave_out_seen(
    records: pd.DataFrame, thumbnails: Sequence[bytes | None], bundle_folder: Path, by_patient: bool = True
) -> pd.DataFrame:
    """Leave out the images that the bundle was trained or validated on: the same files, the same pictures, other images
    of the same patients, the groups of all these, and similar pictures.

    records     columns of records.py
    thumbnails  of the records, from ``thumbnails_of``
    by_patient  whether equal patient ids are of one person (``patients_meet``)
    Returns the records with ``left_out`` set to one of SEEN. The bundle holds bits of each image, not thumbnails, so
    strongly changed copies are not recognised (docs/repeats.md). If the bundle's ``seen`` is unknown, only the images
    that it lists can be left out.
    """
    seen = read_trained_on(bundle_folder)
    kept = records.left_out.isna()
    same_file = kept & records.content_hash.isin(seen.content_hash.dropna())
    hashes = seen.near_hash.dropna()
    asked = {k: ours for k, ours in enumerate(thumbnails) if ours is not None}
    agreed = np.full(len(records), -1.0)
    agreed[list(asked)] = agreement(list(asked.values()), hashes[hashes.str.len() == DIGITS].tolist())
    same_picture = agreed >= SAME
    patient = by_patient & records.patient_id.map(patient_digest).isin(seen.patient.dropna())
    group = records.group_id.isin(records.group_id[same_file | same_picture | patient])
    out = records.copy()
    out.loc[kept & (agreed >= SIMILAR), "left_out"] = SIMILAR_PICTURE
    out.loc[kept & group, "left_out"] = SAME_PATIENT
    out.loc[kept & same_picture, "left_out"] = SAME_PICTURE
    out.loc[kept & same_file, "left_out"] = SAME_FILE
    out.loc[out.left_out.notna(), "split"] = None
    return out


def seen_before(bundle: Bundle, folder: Path, test: pd.DataFrame, by_patient: bool = True) -> str | None:
    """A warning about test images that the bundle in ``folder`` may have seen, or None.

    test        records (columns of records.py) without the bundle's own training and validation images; any remaining
                overlap is with the pretraining of its weights
    by_patient  as for ``leave_out_seen``
    """
    said = []
    if bundle.seen == "unknown":
        said.append(
            "Unknown: the network comes without a list of all its training images; if test images are among them, the "
            "figures are optimistic."
        )
    known = _sources_with(bundle.pretrained_on)
    if met := [name for name in test.source.unique() if str(name).casefold() in known]:
        same = "collection" if len(met) == 1 else "collections"
        said.append(f"It was pretrained on images of {' and '.join(met)}; the test set has images of the same {same}.")
    seen = read_trained_on(folder)
    if (seen.near_hash.dropna().str.len() != DIGITS).any():
        said.append(
            "The bundle is of an earlier version, by whose list only the same files and patients are recognised, not "
            "the same pictures in other files."
        )
    by_person = by_patient & test.patient_id.map(patient_digest).isin(seen.patient.dropna())
    if count := int((by_person | test.content_hash.isin(seen.content_hash.dropna())).sum()):
        said.append(f"{count} of the {len(test)} test images, or others of their patients, were seen in training.")
    return " ".join(said) or None
