"""Persistent sides: a group stays on its side of the split when images are added or removed.

Only a new group gets its side from the hash of its name. A new member may rename a group, and the new name may hash to
another side. Therefore the side of every image is remembered (remembered.py), and looked up by file content and
patient. The image id counts as well, unless content or patient contradict it: file names are reused for other images.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrflow.files import digest
from cxrflow.metadata.groups import NO_PAIRS, first_rows, joined, split_of
from cxrflow.metadata.remembered import COLUMNS, DIGITS, UNKNOWN, Column, Remembered, Values, digests, values_of
from cxrflow.params import Split
from cxrflow.records import SPLITS
from cxrflow.sources.tables import NO_IMAGE

_TRAIN = SPLITS.index("train")
#: In place of an index in SPLITS.
_NONE = -1


@dataclass(frozen=True)
class Sides:
    """Sides of the rows of a table of records, and the sides to remember.

    side        side of every row's group, categorical of SPLITS, index of the records; NaN for a group that never had a
                kept image
    parts       gives the rows for ``write_sides`` in parts: other splits, these images, and absent images
    moved       kept images that were on another side before, or whose patient was if the image is new: columns
                image_id, group_id, side (the previous one)
    reassigned  True if sides are remembered, but none for this split
    """

    side: pd.Series
    parts: Callable[[], Iterator[pd.DataFrame]]
    moved: pd.DataFrame
    reassigned: bool


def keep_sides(
    frames: Callable[[], Iterator[pd.DataFrame]],
    outline: pd.DataFrame,
    split: Split,
    drawn: bool,
    remembered: Remembered,
    children: pd.Series | None = None,
) -> Sides:
    """The side of every group: the remembered one; train if links join different sides; by hash if the group is new.

    frames      gives the rows in parts: columns image_id, other_id, patient_id, content_hash, group_id and left_out;
                other_id is the id that the image has once another file of its name is added or, if there is one,
                removed
    outline     of all rows: columns group_id (any value, equal in one group, which has all rows of a patient and of a
                content) and left_out
    drawn       whether the images are synthetic (records.TRUTH): patient ids of the demo also occur in real collections
    children    with ``metadata.paediatric: train``, whether a row's group has children, and so goes to train; else None
    """
    key = _key(split, drawn, children)
    ours = remembered.split == bytes.fromhex(key)
    listed = (outline.left_out != NO_IMAGE).to_numpy(bool)
    found = _find(frames, listed, split, key, remembered, ours)
    before = _before(found, remembered.side)
    # Links through absent images count as well, so that a person's images share a side even while some are missing.
    # The remembered row of an image that is present has no sign that the image does not have, and adds no link.
    count, group = len(remembered), first_rows(outline.group_id)
    links = [(np.full(count, UNKNOWN, dtype=np.int32), count + group)]
    links += [(column.first[:count], rows) for column, rows in found.signs.values()]
    component = joined([np.concatenate(link) for link in links], NO_PAIRS)
    sides = _sides_of(component, np.concatenate([remembered.side, before]))
    if children is not None:
        sides[component[count:][children.to_numpy(bool)]] = _TRAIN
    stored, now = sides[component[:count]], sides[component[count:]]
    # A group without a side is linked to no group with one; it gets its side once it has a kept image.
    kept = outline.left_out.isna().to_numpy(bool)
    placed = np.zeros(len(outline), dtype=bool)
    placed[group[kept]] = True
    now = np.where((now == _NONE) & placed[group], found.hashed, now)
    written = listed & (now != _NONE)
    absent = _absent(found, remembered, ours, written)

    def parts() -> Iterator[pd.DataFrame]:
        for _, part in remembered.rows(~ours):
            yield part
        for here, part in _in_place(frames):
            part = _filled(part, found, here, remembered).assign(split=key, side=_texts(now[here]))
            yield part.loc[written[here], list(COLUMNS)]
        for rows, part in remembered.rows(absent):
            yield part.assign(image_id=part.image_id.mask(found.taken[rows], None), side=_texts(stored[rows]))

    moved = kept & (before != _NONE) & (before != now)
    return Sides(
        side=pd.Series(pd.Categorical.from_codes(now, pd.Index(SPLITS)), index=outline.index),
        parts=parts,
        moved=_moved(frames, moved, before),
        reassigned=bool(count) and not ours.any(),
    )


@dataclass(frozen=True)
class _Found:
    """What is remembered of the rows of the records. Remembered rows are given by their positions, UNKNOWN or NEW.

    same    row of the same image, int32 (n,)
    signs   content_hash and patient: to look up the values of this split; and the first row with the value, or with
            that of ``same`` if it is unknown now, int32 (n,)
    taken   whether the id of a remembered row is now that of an image, bool (rows,)
    hashed  side of the group's name by its hash, int8 (n,)
    """

    same: NDArray[np.int32]
    signs: dict[str, tuple[Column, NDArray[np.int32]]]
    taken: NDArray[np.bool_]
    hashed: NDArray[np.int8]


def _find(
    frames: Callable[[], Iterator[pd.DataFrame]],
    listed: NDArray[np.bool_],
    split: Split,
    key: str,
    remembered: Remembered,
    ours: NDArray[np.bool_],
) -> _Found:
    """Look up the rows. The id of a row that names no image (not ``listed``) is its line number, which another row may
    have when the table changes; it is not looked up."""
    columns = {name: remembered.column(getattr(remembered, name), ours) for name in ("content_hash", "patient")}
    same, *rows = (np.full(len(listed), UNKNOWN, dtype=np.int32) for _ in range(3))
    signs = dict(zip(columns, zip(columns.values(), rows, strict=True), strict=True))
    found = _Found(same, signs, np.zeros(len(remembered), dtype=bool), np.empty(len(listed), dtype=np.int8))
    for here, part in _in_place(frames):
        of_group = {group: SPLITS.index(split_of(group, split)) for group in part.group_id.unique()}
        found.hashed[here] = part.group_id.map(of_group)
        if not ours.any():
            continue
        by_id = _by_id(part.image_id, listed[here], key, remembered)
        found.taken[by_id[by_id >= 0]] = True
        image = np.where(by_id >= 0, by_id, _by_id(part.other_id, listed[here] & (by_id < 0), key, remembered))
        part = part.assign(patient=_patients(part))
        now = {name: column.find(values_of(part, name), len(part)) for name, column in columns.items()}
        for name, column in columns.items():
            before = column.first[image]
            image[(now[name] != UNKNOWN) & (before != UNKNOWN) & (now[name] != before)] = UNKNOWN  # another image
        same[here] = image
        for name, (column, first) in signs.items():
            first[here] = np.where(now[name] == UNKNOWN, column.first[image], now[name])
    return found


def _by_id(ids: pd.Series, wanted: NDArray[np.bool_], key: str, remembered: Remembered) -> NDArray[np.int32]:
    """The remembered rows with the wanted ids."""
    rows = np.flatnonzero(wanted & ids.notna().to_numpy()).astype(np.int32)
    return remembered.image_id.find(Values(rows, digests((key, name) for name in ids.iloc[rows])), len(ids))


def _before(found: _Found, side: NDArray[np.int8]) -> NDArray[np.int8]:
    """The remembered side of every row: of its image, else of its content, else of its patient."""
    side = np.append(side, np.full(2, _NONE, dtype=np.int8))  # at UNKNOWN and NEW
    before = side[found.same]
    for _, rows in found.signs.values():
        before = np.where(before == _NONE, side[rows], before)
    return before


def _sides_of(component: NDArray[np.int32], side: NDArray[np.int8]) -> NDArray[np.int8]:
    """The side of every component, int8: that of its rows, train if they are on several."""
    out = np.full(int(component.max(initial=-1)) + 1, _NONE, dtype=np.int8)
    for index in range(len(SPLITS)):
        here = np.zeros(len(out), dtype=bool)
        here[component[side == index]] = True
        out[here] = np.where(out[here] == _NONE, index, _TRAIN)
    return out


def _absent(
    found: _Found, remembered: Remembered, ours: NDArray[np.bool_], written: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """The remembered rows of images that are absent, bool (rows,). A row without an id is needed only for links that no
    other row, written before it, has."""
    absent = ours.copy()
    absent[found.same[found.same >= 0]] = False
    loose = absent & (~remembered.named | found.taken)
    if loose.any():
        there = _both([column.first[:-2] for column, _ in found.signs.values()])
        here = _both([rows[written] for _, rows in found.signs.values()])
        again = there[absent].duplicated() | there[absent].isin(here[here.isin(there[loose])])
        absent[again.index[again & loose[absent]]] = False
    return absent


def _both(signs: list[NDArray[np.int32]]) -> pd.Series:
    """One number for content and patient, int64."""
    content, patient = signs
    return pd.Series((content.astype(np.int64) << 32) + patient)


def _filled(part: pd.DataFrame, found: _Found, here: slice, remembered: Remembered) -> pd.DataFrame:
    """The rows with contents and patients (digests), those remembered of the same image if they are unknown now."""
    part = part.assign(patient=_patients(part))
    for name, (_, first) in found.signs.items():
        cells = part[name].astype(object).where(part[name].notna(), None)
        lacking = np.flatnonzero(cells.isna() & (first[here] >= 0))
        cells.iloc[lacking] = getattr(remembered, name).texts(first[here][lacking])
        part[name] = cells
    return part


def _moved(
    frames: Callable[[], Iterator[pd.DataFrame]], moved: NDArray[np.bool_], before: NDArray[np.int8]
) -> pd.DataFrame:
    """``Sides.moved``."""
    found = [pd.DataFrame(columns=["image_id", "group_id", "side"], dtype=object)]
    for here, part in _in_place(frames) if moved.any() else ():
        rows = part.loc[moved[here], ["image_id", "group_id"]]
        found.append(rows.assign(side=_texts(before[here][moved[here]])))
    return pd.concat(found, ignore_index=True)


def _in_place(frames: Callable[[], Iterator[pd.DataFrame]]) -> Iterator[tuple[slice, pd.DataFrame]]:
    """The parts of the records and their places, with an index of their own."""
    start = 0
    for part in frames():
        yield slice(start, start := start + len(part)), part.reset_index(drop=True)


def _texts(sides: NDArray[np.int8]) -> NDArray[np.object_]:
    return np.array([*SPLITS, None], dtype=object)[sides]


def _key(split: Split, drawn: bool, children: pd.Series | None) -> str:
    """Digest of a split; another one with children in train, because groups that go there for their children stay."""
    whole = digest([split.model_dump(), drawn, *([] if children is None else ["children in train"])])
    return whole[: DIGITS["split"]]


def _patients(part: pd.DataFrame) -> pd.Series:
    """Digests of the patient ids."""
    return part.patient_id.map(
        lambda number: hashlib.sha256(number.encode()).hexdigest()[: DIGITS["patient"]], na_action="ignore"
    )
