"""From the collections' files to one table of records."""

from dataclasses import dataclass
from pathlib import Path

import ibis
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console

from cxrflow.engines import Engine
from cxrflow.findings import find_finding
from cxrflow.metadata import reasons, rules
from cxrflow.metadata.fingerprint import Fingerprint, fingerprints
from cxrflow.metadata.groups import group_ids, with_children
from cxrflow.metadata.near import near_pairs
from cxrflow.metadata.sides import Sides, keep_sides, read_sides
from cxrflow.params import Metadata, Sources
from cxrflow.records import COLUMNS, TRUTH, Record, to_frame, typed
from cxrflow.sources import find_collections, passed_over, read_collections, tables
from cxrflow.sources.collection import Options
from cxrflow.task import Task

#: Files in the working folder of ``build_records``.
FINGERPRINTS, SIDES = "fingerprints.sqlite", "sides.csv"


@dataclass(frozen=True)
class Built:
    """The records of a folder of collections.

    records       one row per image that a collection lists, kept or not (columns of records.py), index 0 to n - 1
    near          near repeats: pairs of positions in the records, kept or not, int64 (pairs, 2)
    near_repeats  number of these pairs of which the rules left out neither image (conflicting labels included)
    root          folder that the paths of the records are relative to
    sides         sides of the split, and those to remember; None if all images are for testing
    """

    records: pd.DataFrame
    near: NDArray[np.int64]
    near_repeats: int
    root: Path
    sides: Sides | None = None


def build_records(
    sources: Sources, metadata: Metadata, task: Task, engine: Engine, work: Path, *, split: bool = True
) -> Built:
    """Read every collection, label its records, and apply the rules.

    work    folder of the fingerprint cache (created if absent) and of the remembered sides of the split (only read
            here; ``stage.run`` writes them)
    split   whether to split the groups; False puts all of them on the test side, as for external validation
    Raises CxrflowError if a folder, a table or a column is missing, or the remembered sides are damaged.
    """
    root, found = find_collections(Path(sources.root), sources.collections)
    if others := passed_over(root, found):
        Console().print(f"Folders ignored, because they are not collections: {', '.join(others)}", markup=False)
    remembered = read_sides(work / SIDES) if split else None
    with_files = metadata.files == "required"

    def finding_named(word: str) -> str | None:
        return task.finding_named(word) or find_finding(word)

    options = Options(with_files, finding_named, sources.follow_links, sources.rsna_without_patients)
    frame = _labelled(list(read_collections(root, found, options)), task)
    listed, by_path = frame.image_id, frame.source + ":" + frame.path
    frame["image_id"] = _unique(frame)
    frame["other_id"] = by_path.where(frame.image_id == listed, listed)
    prints: dict[str, Fingerprint] = {}
    if with_files:
        prints = fingerprints(root, frame.path[frame.left_out.isna()].tolist(), engine, work / FINGERPRINTS)
    frame = _with_fingerprints(frame, prints)
    # Without a split all images are for testing, so images for training only are left out.
    children_out = metadata.paediatric == "leave_out" or (metadata.paediatric == "train" and not split)
    frame = _apply_rules(frame, children_out, engine)
    everywhere = _near_repeats(frame, prints)
    near = everywhere[frame.left_out.isna().to_numpy()[everywhere].all(axis=1)]
    labels = frame.label.to_numpy()
    conflict = np.unique(near[labels[near[:, 0]] != labels[near[:, 1]]])
    frame.loc[frame.index[conflict], "left_out"] = reasons.CONFLICT
    # Rows that name no image all have the same path, which is not a file and must not link them.
    named = frame.path.where(frame.left_out != tables.NO_IMAGE, None)
    frame["group_id"] = group_ids(frame.assign(path=named), near)
    kept = frame.left_out.isna()
    sides = None
    if remembered is None:
        frame["split"] = pd.Series("test", index=frame.index, dtype=object).where(kept, None)
    else:
        children = with_children(frame) if metadata.paediatric == "train" else None
        sides = keep_sides(frame, metadata.split, (root / TRUTH).is_dir(), remembered, children)
        frame["split"] = sides.side.where(kept, None)
    return Built(typed(frame[list(COLUMNS)]), everywhere, len(near), root, sides)


def _labelled(records: list[Record], task: Task) -> pd.DataFrame:
    """Records as a table with the task's labels; a row without a label is left out with the source's reason, or the
    task's if the source has none."""
    answers = {findings: task.label_of(findings) for findings in {record.findings for record in records}}
    frame = to_frame(records)
    labels = [answers[record.findings][0] for record in records]
    left_out = [record.left_out or answers[record.findings][1] for record in records]
    return frame.assign(label=pd.Series(labels, dtype=object), left_out=pd.Series(left_out, dtype=object))


def _unique(frame: pd.DataFrame) -> pd.Series:
    """Unique image ids. If several files share an id, their ids are made from the paths; if several rows list the same
    file, ``#2``, ``#3``, ... is appended from the second row on."""
    files = frame.groupby("image_id").path.transform("nunique")
    ids = frame.image_id.where(files < 2, frame.source + ":" + frame.path)
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
            frame.at[row, "note"] = found.note
            frame.at[row, "left_out"] = found.left_out
    return frame


def _apply_rules(frame: pd.DataFrame, leave_out_children: bool, engine: Engine) -> pd.DataFrame:
    columns = ["path", "label", "source", "url", "paediatric", "content_hash", "left_out"]
    table = frame[columns].assign(position=np.arange(len(frame), dtype=np.int64))
    schema = dict.fromkeys(columns, "string") | {"paediatric": "boolean", "position": "int64"}
    result = rules.leave_out_repeats(ibis.memtable(table, schema=schema), leave_out_children)
    done = engine.backend.to_pandas(result.select("position", "left_out")).sort_values("position")
    return frame.assign(left_out=done.left_out.to_numpy())


def _near_repeats(frame: pd.DataFrame, prints: dict[str, Fingerprint]) -> NDArray[np.int64]:
    """Near repeats: pairs of row positions, int64 (pairs, 2). A file that is listed again is ignored."""
    rows = np.flatnonzero(frame.near_hash.notna() & (frame.left_out != reasons.LISTED_AGAIN))
    chosen = frame.iloc[rows]
    thumbnails = [prints[path].thumbnail or b"" for path in chosen.path]
    return rows[near_pairs(chosen.near_hash.tolist(), thumbnails)]
