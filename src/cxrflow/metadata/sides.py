"""Sides that stay: a group that was on a side of the split before stays there, whatever is added or taken out.

The hash of a group's name gives the side of a new group only. A new member may rename a group, and the hash of another
name is another side; so the side of every image is remembered in ``sides.csv``, and found again by the image's id, by
the bytes of its file, and by its patient.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cxrflow.errors import CxrflowError
from cxrflow.files import digest, write_whole
from cxrflow.metadata.groups import NO_PAIRS, components, split_of
from cxrflow.params import Split
from cxrflow.records import SPLITS
from cxrflow.sources.tables import NO_IMAGE

#: Columns of ``sides.csv``. split: digest of the seed and the shares, and of whether the collections are drawn;
#: patient: digest of the patient's number, so that somebody taken out of the collections is not named here.
COLUMNS = ("split", "image_id", "content_hash", "patient", "side")
_DIGITS = 16


@dataclass(frozen=True)
class Sides:
    """Sides of one table of records, and what to remember of them.

    side        of every row's group, index of the records; None for a group of which no image was ever kept
    remembered  the rows of ``sides.csv``: these, those of absent images, and those of other splits
    moved       kept images whose group was on another side before: columns image_id, group_id, side (the earlier one)
    anew        whether sides are remembered, but none for this split
    """

    side: pd.Series
    remembered: pd.DataFrame
    moved: pd.DataFrame
    anew: bool


def keep_sides(frame: pd.DataFrame, split: Split, drawn: bool, remembered: pd.DataFrame) -> Sides:
    """The side of every group: the remembered one; train where links join different sides; by its hash where new.

    frame       columns image_id, patient_id, content_hash, group_id, left_out
    drawn       whether the images are drawn (records.TRUTH): people of the demo share numbers with real ones
    remembered  as ``read_sides`` gives it
    """
    key = digest([split.model_dump(), drawn])[:_DIGITS]
    before = remembered[remembered.split == key].drop(columns="split").set_index("image_id")
    # The id of a row that names no image is its line in the table: another row's after the next addition.
    ids = frame.image_id.where(frame.left_out != NO_IMAGE, None)
    here = pd.DataFrame(
        {
            "image_id": ids,
            "content_hash": _known(frame.content_hash, ids.map(before.content_hash)),
            "patient": _known(frame.patient_id.map(_patient, na_action="ignore"), ids.map(before.patient)),
            "side": ids.map(before.side).astype(object),
            "group_id": frame.group_id,
        }
    )
    absent = before[~before.index.isin(ids)].reset_index()
    # Links through absent images count, too: one person's sides stay together while some of the images are away.
    rows = pd.concat([here, absent], ignore_index=True).astype(object)
    joined = rows.groupby(components(rows, ("group_id", "content_hash", "patient"), NO_PAIRS)).side
    side = joined.transform("first").where(joined.transform("nunique") < 2, "train")
    # A group that has no side yet is in no other's component, and gets one as soon as it has a kept image.
    kept = frame.left_out.isna()
    new = side[: len(frame)].isna().to_numpy() & frame.group_id.isin(frame.group_id[kept]).to_numpy()
    hashed = {group: split_of(group, split) for group in frame.group_id[new].unique()}
    side[: len(frame)] = side[: len(frame)].where(~new, frame.group_id.map(hashed).to_numpy())
    ours = rows.assign(split=key, side=side).dropna(subset=["image_id", "side"])[list(COLUMNS)]
    table = pd.concat([remembered[remembered.split != key], ours], ignore_index=True)
    now = pd.Series(side.to_numpy()[: len(frame)], index=frame.index, dtype=object)
    moved = kept & here.side.notna() & (here.side != now)
    return Sides(
        side=now.where(now.notna(), None),
        remembered=table.where(table.notna(), None),
        moved=here.loc[moved, ["image_id", "group_id", "side"]].reset_index(drop=True),
        anew=before.empty and not remembered.empty,
    )


def read_sides(path: Path) -> pd.DataFrame:
    """The remembered sides, a table of COLUMNS, empty without a file. Raises CxrflowError where it is damaged."""
    if not path.exists():
        return pd.DataFrame(columns=list(COLUMNS), dtype=object)
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""], lineterminator="\n").astype(object)
    except (OSError, ValueError) as error:  # pandas' errors of parsing and decoding are ValueErrors
        raise _damaged(path, str(error).splitlines()[0]) from None
    if tuple(table.columns) != COLUMNS:
        raise _damaged(path, f"its columns are not {', '.join(COLUMNS)}")
    digits = {"split": (_DIGITS, False), "patient": (_DIGITS, True), "content_hash": (64, True)}
    wrong = ~table.side.isin(SPLITS) | table.image_id.isna() | table.duplicated(["split", "image_id"], keep=False)
    for column, (count, optional) in digits.items():
        wrong |= ~table[column].astype("string").str.fullmatch(f"[0-9a-f]{{{count}}}").fillna(optional).astype(bool)
    if wrong.any():
        raise _damaged(path, f"row {int(wrong.to_numpy().argmax()) + 1} is not valid")
    return table.where(table.notna(), None)


def write_sides(remembered: pd.DataFrame, path: Path) -> None:
    """Write the remembered sides as CSV (UTF-8), whole or not at all."""
    write_whole(path, remembered[list(COLUMNS)].to_csv(index=False, lineterminator="\n").encode())


def _known(now: pd.Series, before: pd.Series) -> pd.Series:
    """What is known now, else what was known before."""
    return now.astype(object).where(now.notna(), before.astype(object))


def _patient(number: str) -> str:
    return hashlib.sha256(number.encode()).hexdigest()[:_DIGITS]


def _damaged(path: Path, how: str) -> CxrflowError:
    return CxrflowError(
        f"{path}: the remembered sides of the split are damaged ({how}); restore the file with `dvc checkout`, or "
        "delete it to give every group its side anew."
    )
