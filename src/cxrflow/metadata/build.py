"""From the collections' files to one table of records."""

from dataclasses import dataclass
from pathlib import Path

import ibis
import numpy as np
import pandas as pd
from rich.console import Console

from cxrflow.engines import Engine
from cxrflow.metadata import rules
from cxrflow.metadata.fingerprint import Fingerprint, fingerprints
from cxrflow.metadata.groups import group_ids, split_of, with_children
from cxrflow.metadata.near import near_pairs
from cxrflow.params import Metadata
from cxrflow.records import COLUMNS, to_frame, typed
from cxrflow.sources import find_collections, passed_over, read_collections, tables


@dataclass(frozen=True)
class Built:
    """records: one row per image that a collection lists (columns of records.py); near: (pairs, 2) positions of near
    repeats among all that was read, left out or not; near_repeats: how many of them the rules left to the groups;
    root: the folder that their paths start at."""

    records: pd.DataFrame
    near: np.ndarray
    near_repeats: int
    root: Path


def build_records(
    root: Path, collections: list[str] | None, params: Metadata, engine: Engine, cache: Path, *, split: bool = True
) -> Built:
    """Read every collection below ``root`` and apply the rules.

    cache   file of fingerprints, made where absent
    split   whether to divide the groups; False puts all of them on the test side, as for an external evaluation
    Raises CxrflowError where a folder, a table or a column is missing.
    """
    root, found = find_collections(root, collections)
    if others := passed_over(root, found):
        Console().print(f"Folders that are no collection, passed over: {', '.join(others)}", markup=False)
    with_files = params.files == "required"
    frame = to_frame(read_collections(root, found, with_files))
    frame["image_id"] = _unique(frame.image_id)
    prints: dict[str, Fingerprint] = {}
    if with_files:
        prints = fingerprints(root, frame.path[frame.left_out.isna()].tolist(), engine, cache)
    frame = _with_fingerprints(frame, prints)
    # What is for training alone is of no use where all is tested.
    children_out = params.paediatric == "leave_out" or (params.paediatric == "train" and not split)
    frame = _apply_rules(frame, children_out, engine)
    everywhere = _near_repeats(frame, prints)
    near = everywhere[frame.left_out.isna().to_numpy()[everywhere].all(axis=1)]
    labels = frame.label.to_numpy()
    conflict = np.unique(near[labels[near[:, 0]] != labels[near[:, 1]]])
    frame.loc[frame.index[conflict], "left_out"] = rules.CONFLICT
    # Rows that name no image share a path that is none.
    named = frame.path.where(frame.left_out != tables.NO_IMAGE, None)
    frame["group_id"] = group_ids(frame.assign(path=named), near)
    kept = frame.left_out.isna()
    frame["split"] = None
    frame.loc[kept, "split"] = [split_of(group, params.split) if split else "test" for group in frame.group_id[kept]]
    if params.paediatric == "train":
        frame.loc[kept & with_children(frame), "split"] = "train"
    return Built(typed(frame[list(COLUMNS)]), everywhere, len(near), root)


def _unique(ids: pd.Series) -> pd.Series:
    """A row that repeats an id (a file listed twice) gets ``#2``, ``#3``, ...: every row stays countable."""
    again = ids.groupby(ids).cumcount()
    return ids.where(again == 0, ids + "#" + (again + 1).astype(str))


def _with_fingerprints(frame: pd.DataFrame, prints: dict[str, Fingerprint]) -> pd.DataFrame:
    frame = frame.copy()
    for row, path in zip(frame.index, frame.path, strict=True):
        found = prints.get(path)
        if found is not None and frame.at[row, "left_out"] is None:
            frame.at[row, "content_hash"] = found.content_hash
            frame.at[row, "near_hash"] = found.near_hash
            frame.at[row, "frontal"] = found.frontal
            frame.at[row, "turned"] = bool(found.turned)
            frame.at[row, "left_out"] = found.left_out
    return frame


def _apply_rules(frame: pd.DataFrame, leave_out_children: bool, engine: Engine) -> pd.DataFrame:
    columns = ["path", "label", "source", "url", "paediatric", "content_hash", "left_out"]
    table = frame[columns].assign(position=np.arange(len(frame), dtype=np.int64))
    schema = dict.fromkeys(columns, "string") | {"paediatric": "boolean", "position": "int64"}
    result = rules.leave_out_repeats(ibis.memtable(table, schema=schema), leave_out_children)
    done = engine.backend.to_pandas(result.select("position", "left_out")).sort_values("position")
    return frame.assign(left_out=done.left_out.to_numpy())


def _near_repeats(frame: pd.DataFrame, prints: dict[str, Fingerprint]) -> np.ndarray:
    """Pairs of positions of rows that show nearly the same picture; of rows that name one file, the first alone."""
    rows = np.flatnonzero(frame.near_hash.notna() & (frame.left_out != rules.LISTED_AGAIN))
    chosen = frame.iloc[rows]
    thumbnails = [prints[path].thumbnail or b"" for path in chosen.path]
    return rows[near_pairs(chosen.near_hash.tolist(), thumbnails)]
