"""Persistent sides: a group stays on its side of the split when images are added or removed.

Only a new group gets its side from the hash of its name. A new member may rename a group, and the new name may hash to
another side. Therefore the side of every image is remembered (remembered.py), and looked up by file content and
patient. The image id counts as well, unless content or patient contradict it: file names are reused for other images.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrflow.files import digest
from cxrflow.metadata.groups import joined, split_of
from cxrflow.metadata.remembered import COLUMNS, DIGITS, NEW, first_remembered, look_up
from cxrflow.metadata.rows import Rows
from cxrflow.params import Split
from cxrflow.records import SPLITS
from cxrflow.sources.tables import NO_IMAGE

_TRAIN = SPLITS.index("train")
#: In place of an index in SPLITS.
_NONE = -1
_SIGNS = ("content_row", "patient_row")


@dataclass(frozen=True)
class Sides:
    """Sides of the rows of a table of records, and the sides to remember.

    side        side of every row's group, categorical of SPLITS, index 0 to n - 1; NaN for a group that never had a
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


def keep_sides(rows: Rows, split: Split, drawn: bool, children: bool) -> Sides:
    """The side of every group: the remembered one; train if links join different sides; by hash if the group is new.

    rows      has the tables ``remembered``, ``grouped`` and ``named``
    drawn     whether the images are synthetic (records.TRUTH): patient ids of the demo also occur in real collections
    children  with ``metadata.paediatric: train``: groups with children go to train

    In memory are about 30 bytes of each row and of each remembered row.
    """
    key = _key(split, drawn, children)
    remembered = _read_remembered(rows, key)
    rows.save("first_remembered", first_remembered(rows.table("remembered"), key))
    rows.save("found", look_up(rows.table("grouped"), rows.table("remembered"), key))
    found = _read_found(rows, split, remembered)
    # Links through absent images count as well, so that a person's images share a side even while some are missing.
    # The remembered row of an image that is present has no sign that the image does not have, and adds no link.
    count, group = len(remembered.side), rows.integers("grouped", "group")
    group += count  # the nodes are the remembered rows, then the groups by their first rows
    before_group = np.arange(count, dtype=np.int32)
    first = [rows.integers("first_remembered", name) for name in ("content_hash", "patient")]
    links = [*((before_group, other) for other in first), *((group, other) for other in found.signs)]
    component = joined(count + len(group), links)
    of_row = component[group]
    sides = _sides_of([(component[:count], remembered.side), (of_row, found.before)], len(component))
    if children:
        sides[of_row[found.children]] = _TRAIN
    stored, now = sides[component[:count]], sides[of_row]
    # A group without a side is linked to no group with one; it gets its side once it has a kept image.
    placed = np.zeros(len(component), dtype=bool)
    placed[group[found.kept]] = True
    new = (now == _NONE) & placed[group]
    now[new] = found.hashed[new]
    written = found.listed & (now != _NONE)
    absent = _absent(found, remembered, first, written)

    def parts() -> Iterator[pd.DataFrame]:
        for _, part in _remembered_rows(rows, ~remembered.ours):
            yield part
        for here, part in _in_place(rows, ("found", ["image_id", "content_hash", "patient"])):
            yield part.assign(split=key, side=_texts(now[here])).loc[written[here], list(COLUMNS)]
        for at, part in _remembered_rows(rows, absent):
            yield part.assign(image_id=part.image_id.mask(remembered.taken[at], None), side=_texts(stored[at]))

    moved = found.kept & (found.before != _NONE) & (found.before != now)
    return Sides(
        side=pd.Series(pd.Categorical.from_codes(now, pd.Index(SPLITS))),
        parts=parts,
        moved=_moved(rows, moved, found.before),
        reassigned=bool(count) and not remembered.ours.any(),
    )


@dataclass(frozen=True)
class _Remembered:
    """The remembered rows, arrays (rows,).

    side     index in SPLITS, int8
    ours     whether the row is of this split, bool
    named    whether the image id is known, bool
    present  whether the image is among the records, bool
    taken    whether the image id is now that of an image, bool
    """

    side: NDArray[np.int8]
    ours: NDArray[np.bool_]
    named: NDArray[np.bool_]
    present: NDArray[np.bool_]
    taken: NDArray[np.bool_]


@dataclass(frozen=True)
class _Found:
    """The rows of the records, arrays (n,).

    signs     first remembered rows of the same content, and of the same patient; UNKNOWN or NEW, int32
    before    the remembered side: of its image, else of its content, else of its patient, int8
    hashed    side of the group's name by its hash, int8
    listed    whether the row names an image, bool
    kept      whether the row is not left out, bool
    children  whether its group has children, bool
    """

    signs: list[NDArray[np.int32]]
    before: NDArray[np.int8]
    hashed: NDArray[np.int8]
    listed: NDArray[np.bool_]
    kept: NDArray[np.bool_]
    children: NDArray[np.bool_]


def _read_remembered(rows: Rows, key: str) -> _Remembered:
    count = rows.count("remembered")
    flags = (np.zeros(count, dtype=bool) for _ in range(4))
    out = _Remembered(np.empty(count, dtype=np.int8), *flags)
    for here, part in _in_place(rows, ("remembered", ["side", "split", "image_id"])):
        out.side[here] = pd.Index(SPLITS).get_indexer(pd.Index(part.side))
        out.ours[here] = part.split == key
        out.named[here] = part.image_id.notna()
    return out


def _read_found(rows: Rows, split: Split, remembered: _Remembered) -> _Found:
    """The rows of the table ``found``. ``present`` and ``taken`` of the remembered rows are filled."""
    count = rows.count("found")
    signs = [np.empty(count, dtype=np.int32) for _ in _SIGNS]
    before, hashed = (np.empty(count, dtype=np.int8) for _ in range(2))
    flags = (np.empty(count, dtype=bool) for _ in range(3))
    out = _Found(signs, before, hashed, *flags)
    side = np.append(remembered.side, np.full(-NEW, _NONE, dtype=np.int8))  # none at UNKNOWN and NEW
    tables = (("found", ["named", "same", *_SIGNS]), ("named", ["group_id", "children"]), ("grouped", ["left_out"]))
    for here, part in _in_place(rows, *tables):
        for name, of in (("named", remembered.taken), ("same", remembered.present)):
            of[part[name][part[name] >= 0]] = True
        out.before[here] = side[part.same]
        for name, first in zip(_SIGNS, signs, strict=True):
            first[here] = part[name]
            out.before[here] = np.where(out.before[here] == _NONE, side[part[name]], out.before[here])
        of_group = {group: SPLITS.index(split_of(group, split)) for group in part.group_id.unique()}
        out.hashed[here] = part.group_id.map(of_group)
        out.listed[here] = part.left_out != NO_IMAGE
        out.kept[here] = part.left_out.isna()
        out.children[here] = part.children
    return out


def _sides_of(nodes: list[tuple[NDArray[np.int32], NDArray[np.int8]]], count: int) -> NDArray[np.int8]:
    """The side of each of ``count`` components, int8: that of its nodes, train if they are on several.

    nodes  components of nodes and their sides
    """
    out = np.full(count, _NONE, dtype=np.int8)
    for index in range(len(SPLITS)):
        here = np.zeros(count, dtype=bool)
        for component, side in nodes:
            here[component[side == index]] = True
        out[here] = np.where(out[here] == _NONE, index, _TRAIN)
    return out


def _absent(
    found: _Found, remembered: _Remembered, first: list[NDArray[np.int32]], written: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """The remembered rows of images that are absent, bool (rows,). A row without an id is needed only for links that no
    other row, written before it, has."""
    absent = remembered.ours & ~remembered.present
    loose = np.flatnonzero(absent & (~remembered.named | remembered.taken))
    if len(loose):
        there, wanted = np.flatnonzero(absent), _both([rows[loose] for rows in first])
        signs = _both([rows[there] for rows in first])
        there, signs = there[signs.isin(wanted)], signs[signs.isin(wanted)]
        here = _both([rows[written] for rows in found.signs])
        again = there[signs.duplicated() | signs.isin(here[here.isin(wanted)])]
        absent[np.intersect1d(again, loose)] = False
    return absent


def _both(signs: list[NDArray[np.int32]]) -> pd.Series:
    """One number for content and patient, int64."""
    content, patient = signs
    return pd.Series((content.astype(np.int64) << 32) + patient)


def _moved(rows: Rows, moved: NDArray[np.bool_], before: NDArray[np.int8]) -> pd.DataFrame:
    """``Sides.moved``."""
    found = [pd.DataFrame(columns=["image_id", "group_id", "side"], dtype=object)]
    tables = (("grouped", ["image_id"]), ("named", ["group_id"]))
    for here, part in _in_place(rows, *tables) if moved.any() else ():
        found.append(part[moved[here]].assign(side=_texts(before[here][moved[here]])))
    return pd.concat(found, ignore_index=True)


def _in_place(rows: Rows, *tables: tuple[str, list[str]]) -> Iterator[tuple[slice, pd.DataFrame]]:
    """Columns of tables in parts, and the places of the parts."""
    start = 0
    for part in rows.together(*tables):
        yield slice(start, start := start + len(part)), part.to_pandas()


def _remembered_rows(rows: Rows, wanted: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.int64], pd.DataFrame]]:
    """The wanted remembered rows, bool (rows,), as their file has them, in parts: positions, and a table of COLUMNS."""
    for here, part in _in_place(rows, ("remembered", list(COLUMNS))) if wanted.any() else ():
        at = np.flatnonzero(wanted[here])
        yield at + here.start, part.iloc[at]


def _texts(sides: NDArray[np.int8]) -> NDArray[np.object_]:
    return np.array([*SPLITS, None], dtype=object)[sides]


def _key(split: Split, drawn: bool, children: bool) -> str:
    """Digest of a split; another one with children in train, because groups that go there for their children stay."""
    whole = digest([split.model_dump(), drawn, *(["children in train"] if children else [])])
    return whole[: DIGITS["split"]]
