"""Persistent sides: a group stays on its side of the split when images are added or removed.

Only a new group gets its side from the hash of its name. A new member may rename a group, and the new name may hash to
another side. Therefore the side of every image is remembered in ``sides.csv``, and looked up by file content and
patient. The image id counts as well, unless content or patient contradict it: file names are reused for other images.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cxrflow.csv_files import read_csv
from cxrflow.errors import CxrflowError
from cxrflow.files import digest, write_whole
from cxrflow.metadata.groups import NO_PAIRS, components, split_of
from cxrflow.params import Split
from cxrflow.records import SPLITS, csv_parts
from cxrflow.sources.tables import NO_IMAGE

#: Columns of ``sides.csv``. split: digest of the seed, the shares, whether the collections are synthetic, and whether
#: children are for training only; image_id: unknown if another image has taken the id; patient: digest of the patient
#: id, so that the file does not identify patients removed from the collections.
COLUMNS = ("split", "image_id", "content_hash", "patient", "side")
_DIGITS = 16


@dataclass(frozen=True)
class Sides:
    """Sides of the rows of a table of records, and the sides to remember.

    side        side of every row's group, index of the records; None for a group that never had a kept image
    parts       gives the rows for ``sides.csv`` in parts: these images, absent images, and other splits
    moved       kept images that were on another side before, or whose patient was if the image is new: columns
                image_id, group_id, side (the previous one)
    reassigned  True if sides are remembered, but none for this split
    """

    side: pd.Series
    parts: Callable[[], Iterable[pd.DataFrame]]
    moved: pd.DataFrame
    reassigned: bool

    @property
    def remembered(self) -> pd.DataFrame:
        """The rows for ``sides.csv`` as one table of COLUMNS."""
        return pd.concat(self.parts(), ignore_index=True).astype(object)


def keep_sides(
    frame: pd.DataFrame, split: Split, drawn: bool, remembered: pd.DataFrame, children: pd.Series | None = None
) -> Sides:
    """The side of every group: the remembered one; train if links join different sides; by hash if the group is new.

    frame       columns image_id, other_id, patient_id, content_hash, group_id, left_out; other_id is the id that the
                image has once another file of its name is added or, if there is one, removed
    drawn       whether the images are synthetic (records.TRUTH): patient ids of the demo also occur in real collections
    remembered  from ``read_sides``
    children    with ``metadata.paediatric: train``, whether a row's group has children, and so goes to train; else None
    """
    key = _key(split, drawn, children)
    before = remembered[remembered.split == key].drop(columns="split")
    by_id = before.dropna(subset=["image_id"]).set_index("image_id")
    # The id of a row that names no image is its line number, which another row may have when the table changes.
    ids = frame.image_id.where(frame.left_out != NO_IMAGE, None)
    patients = frame.patient_id.map(_patient, na_action="ignore")
    same = ids.where(ids.isin(by_id.index), frame.other_id.where(ids.notna(), None))
    other_image = _differ(frame.content_hash, same.map(by_id.content_hash)) | _differ(patients, same.map(by_id.patient))
    same = same.where(~other_image, None)
    here = pd.DataFrame(
        {
            "image_id": ids,
            "content_hash": _known(frame.content_hash, same.map(by_id.content_hash)),
            "patient": _known(patients, same.map(by_id.patient)),
            "side": same.map(by_id.side).astype(object),
            "group_id": frame.group_id,
        }
    )
    for sign in ("content_hash", "patient"):
        found = before.dropna(subset=[sign]).drop_duplicates(sign).set_index(sign).side
        here["side"] = _known(here.side, here[sign].map(found))
    absent = before[~before.image_id.isin(same.dropna())]
    absent = absent.assign(image_id=absent.image_id.where(~absent.image_id.isin(ids.dropna()), None))
    # Links through absent images count as well, so that a person's images share a side even while some are missing.
    rows = pd.concat([here, absent], ignore_index=True).astype(object)
    component = components(rows, ("group_id", "content_hash", "patient"), NO_PAIRS)
    joined = rows.groupby(component).side
    side = joined.transform("first").where(joined.transform("nunique") < 2, "train")
    if children is not None:
        side = side.where(~np.isin(component, component[: len(frame)][children.to_numpy(bool)]), "train")
    # A group without a side is linked to no group with one; it gets its side once it has a kept image.
    kept = frame.left_out.isna()
    new = side[: len(frame)].isna().to_numpy() & frame.group_id.isin(frame.group_id[kept]).to_numpy()
    hashed = {group: split_of(group, split) for group in frame.group_id[new].unique()}
    side[: len(frame)] = side[: len(frame)].where(~new, frame.group_id.map(hashed).to_numpy())
    named = np.append(ids.notna().to_numpy(bool), np.ones(len(absent), dtype=bool))
    ours = rows.assign(split=key, side=side)[named].dropna(subset=["side"])[list(COLUMNS)]
    # A row without an id is needed only for links that no other row has.
    ours = ours[ours.image_id.notna() | ~ours.duplicated(["content_hash", "patient"])]
    table = pd.concat([remembered[remembered.split != key], ours], ignore_index=True)
    table = table.where(table.notna(), None)
    now = pd.Series(side.to_numpy()[: len(frame)], index=frame.index, dtype=object)
    moved = kept & here.side.notna() & (here.side != now)
    return Sides(
        side=now.where(now.notna(), None),
        parts=lambda: [table],
        moved=here.loc[moved, ["image_id", "group_id", "side"]].reset_index(drop=True),
        reassigned=before.empty and not remembered.empty,
    )


def first_sides(
    frames: Callable[[], Iterator[pd.DataFrame]],
    outline: pd.DataFrame,
    split: Split,
    drawn: bool,
    remembered: pd.DataFrame,
    children: pd.Series | None = None,
) -> Sides | None:
    """The same as ``keep_sides`` if no side of this split is remembered, from rows that come in parts; else None.

    frames   gives columns image_id, patient_id, content_hash, group_id and left_out in parts
    outline  of all rows: columns group_id (any value, equal in one group) and left_out
    """
    key = _key(split, drawn, children)
    if (remembered.split == key).any():
        return None
    placed = outline.group_id.isin(outline.group_id[outline.left_out.isna()]).to_numpy()
    to_train = np.zeros(len(outline), dtype=bool) if children is None else children.to_numpy(bool)
    codes, start = np.full(len(outline), -1, dtype=np.int8), 0
    for part in frames():
        here = slice(start, start := start + len(part))
        hashed = {group: SPLITS.index(split_of(group, split)) for group in part.group_id.unique()}
        sides = np.where(to_train[here], SPLITS.index("train"), part.group_id.map(hashed).to_numpy(dtype=np.int8))
        codes[here] = np.where(placed[here], sides, -1)
    side = pd.Series(pd.Categorical.from_codes(codes, pd.Index(SPLITS)), index=outline.index)

    def parts() -> Iterator[pd.DataFrame]:
        yield remembered
        start = 0
        for part in frames():
            given = side.iloc[start : (start := start + len(part))].astype(object).set_axis(part.index)
            rows = part.assign(split=key, side=given, patient=part.patient_id.map(_patient, na_action="ignore"))
            rows = rows.loc[(part.left_out != NO_IMAGE) & given.notna(), list(COLUMNS)].astype(object)
            yield rows.where(rows.notna(), None)

    moved = pd.DataFrame(columns=["image_id", "group_id", "side"], dtype=object)
    return Sides(side, parts, moved, reassigned=not remembered.empty)


def read_sides(path: Path) -> pd.DataFrame:
    """The remembered sides, a table of COLUMNS; empty if there is no file. Raises CxrflowError if it is damaged."""
    if not path.exists():
        return pd.DataFrame(columns=list(COLUMNS), dtype=object)
    try:
        table = read_csv(path).astype(object)
    except (OSError, ValueError) as error:  # pandas' parsing and decoding errors are ValueErrors
        raise _damaged(path, str(error).splitlines()[0]) from None
    if tuple(table.columns) != COLUMNS:
        raise _damaged(path, f"its columns are not {', '.join(COLUMNS)}")
    digits = {"split": (_DIGITS, False), "patient": (_DIGITS, True), "content_hash": (64, True)}
    named = table.image_id.notna()
    wrong = ~table.side.isin(SPLITS) | ~(named | table.content_hash.notna() | table.patient.notna())
    wrong |= named & table.duplicated(["split", "image_id"], keep=False)
    wrong |= table.duplicated(["split", "image_id", "content_hash", "patient"], keep=False)
    for column, (count, optional) in digits.items():
        wrong |= ~table[column].astype("string").str.fullmatch(f"[0-9a-f]{{{count}}}").fillna(optional).astype(bool)
    if wrong.any():
        raise _damaged(path, f"row {int(wrong.to_numpy().argmax()) + 1} is not valid")
    return table.where(table.notna(), None)


def write_sides(remembered: pd.DataFrame | Iterable[pd.DataFrame], path: Path) -> None:
    """Write the remembered sides, whole or in parts, as CSV (UTF-8), atomically."""
    parts = [remembered] if isinstance(remembered, pd.DataFrame) else remembered
    write_whole(path, csv_parts(parts, COLUMNS))


def _key(split: Split, drawn: bool, children: pd.Series | None) -> str:
    """Digest of a split; another one with children in train, because groups that go there for their children stay."""
    return digest([split.model_dump(), drawn, *([] if children is None else ["children in train"])])[:_DIGITS]


def _known(now: pd.Series, before: pd.Series) -> pd.Series:
    """The current value, or the previous one if unknown."""
    return now.astype(object).where(now.notna(), before.astype(object))


def _differ(now: pd.Series, before: pd.Series) -> pd.Series:
    """Whether both values are known and differ."""
    return now.notna() & before.notna() & (now != before)


def _patient(number: str) -> str:
    return hashlib.sha256(number.encode()).hexdigest()[:_DIGITS]


def _damaged(path: Path, how: str) -> CxrflowError:
    return CxrflowError(
        f"{path}: the remembered sides of the split are damaged ({how}); restore the file with `dvc checkout`, or "
        "delete it to assign every group to a side again."
    )
