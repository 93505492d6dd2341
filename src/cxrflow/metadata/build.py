"""From the collections' files to one table of records."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ibis
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console

from cxrflow.engines import Engine
from cxrflow.errors import CxrflowError
from cxrflow.files import Root
from cxrflow.metadata import reasons, rules
from cxrflow.metadata.fingerprint import Fingerprint, fingerprints
from cxrflow.metadata.groups import NO_PAIRS, Groups, Pairs, joined, with_children
from cxrflow.metadata.near import near_pairs
from cxrflow.metadata.remembered import read_sides
from cxrflow.metadata.rows import OF_FILES, Categories, Rows, batches_of
from cxrflow.metadata.sides import Sides, keep_sides
from cxrflow.params import Metadata, Sources
from cxrflow.records import COLUMNS, TRUTH, typed
from cxrflow.sources import find_collections, passed_over, read_collections, source_name, tables
from cxrflow.sources.account import Account
from cxrflow.sources.collection import Collection, Options
from cxrflow.sources.files import Files
from cxrflow.sources.words import finding_of
from cxrflow.task import Task

if TYPE_CHECKING:
    import pyarrow as pa

#: Files in the working folder of ``build_records``.
FINGERPRINTS, SIDES = "fingerprints.sqlite", "sides.csv"
_RULED = ["position", "path", "label", "source", "url", "paediatric", "content_hash", "left_out"]
_KEYS = ("patient_id", "path", "content_hash")


@dataclass(frozen=True)
class Built:
    """The records of a folder of collections.

    outline       one row per image that a collection lists, kept or not: all columns of records.py, or, if the rows are
                  on disk, those that are counted: source, label, left_out, url and split as categories; age, frontal,
                  turned, paediatric; patient_id, content_hash and group_id as numbers. Index 0 to n - 1
    near          near repeats: pairs of positions in the records, kept or not, int64 (pairs, 2)
    near_repeats  number of these pairs of which the rules left out neither image (conflicting labels included)
    root          where the paths of the records lead
    listed        number of rows of every table that was read: source -> name of the table -> rows
    sides         sides of the split, and those to remember; None if all images are for testing
    files         files of each collection, by the name of its folder; empty if files are ignored
    accounts      what could be read of users' own tables and what could not, by the name of the folder
    unread        what of the published tables was not read, in sentences
    on_disk       the rows as the tables of ``_Written``; None if ``outline`` has them
    """

    outline: pd.DataFrame
    near: NDArray[np.int64]
    near_repeats: int
    root: Root
    listed: dict[str, dict[str, int]]
    sides: Sides | None = None
    files: dict[str, Files] = field(default_factory=dict)
    accounts: dict[str, Account] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)
    on_disk: "_Written | None" = None

    @cached_property
    def records(self) -> pd.DataFrame:
        """The whole records in memory, columns of records.py."""
        if self.on_disk is None:
            return self.outline
        return typed(pd.concat([part[list(COLUMNS)] for part in self.parts()], ignore_index=True))

    def parts(self) -> Iterator[pd.DataFrame]:
        """The records in parts, in their order; at least one, if empty."""
        if self.on_disk is None:
            yield self.outline
        else:
            yield from self.on_disk.parts(self.outline)

    def texts(self, column: str, positions: NDArray[np.int64]) -> list[str]:
        """The texts of a column at ascending positions, such as image ids."""
        if self.on_disk is None:
            return self.outline[column].iloc[positions].tolist()
        return [text for part in self.on_disk.parts(self.outline, positions) for text in part[column]]


@dataclass(frozen=True)
class _Written:
    """Rows on disk: the table ``name`` (as ``batches_of`` gives it) and ``ids`` (as ``rules.unique_ids``), and their
    groups."""

    rows: Rows
    name: str
    groups: Groups

    def parts(self, outline: pd.DataFrame, positions: NDArray[np.int64] | None = None) -> Iterator[pd.DataFrame]:
        """The records in parts, columns of records.py and other_id; if positions are given, only these rows."""
        columns = [name for name in COLUMNS if name not in ("image_id", "left_out", "group_id", "split")]
        start, empty = 0, True
        for table in self.rows.together((self.name, columns), ("ids", ["image_id", "other_id"])):
            at = np.arange(start, start + len(table))
            start += len(table)
            if positions is not None:
                at = positions[(positions >= at[0]) & (positions <= at[-1])]
                table = table.take(at - (start - len(table)))
            if len(at):
                empty = False
                frame = table.to_pandas()
                names = self.groups.names(at, *_names(table))
                given = {name: outline[name].iloc[at].astype(object).to_numpy() for name in ("left_out", "split")}
                yield typed(frame.assign(group_id=np.array(names, dtype=object), **given))
        if empty:
            yield typed(pd.DataFrame(columns=list(COLUMNS)))


def build_records(
    sources: Sources, metadata: Metadata, task: Task, engine: Engine, work: Path, *, split: bool = True
) -> Built:
    """Read every collection, label its records, and apply the rules.

    work    folder of the fingerprint cache (created if absent) and of the remembered sides of the split (only read
            here; ``stage.run`` writes them)
    split   whether to split the groups; False puts all of them on the test side, as for external validation
    The rows are on disk, below ``work``; in memory are about 60 bytes of each, less than 100 of each remembered row,
    and the fingerprints of image files.
    Raises CxrflowError if a folder, a table or a column is missing, or the remembered sides are damaged.
    """
    home, found = find_collections(Path(sources.root), sources.collections, sources.columns)
    root = Root(home, sources.follow_links)
    if home == Path(sources.root) and (others := passed_over(home, found)):
        Console().print(
            f"Folders ignored, because they are not collections: {', '.join(others)} (`cxrflow sources {home}` shows "
            "what is in them)",
            markup=False,
        )
    if unused := sorted(set(sources.columns) - {folder for _, folder in found}):
        Console().print(f"sources.columns is not used for {', '.join(unused)}: no such collection.", markup=False)
    remembered = read_sides(work / SIDES) if split else None
    with_files = metadata.files == "required"

    @lru_cache(maxsize=10_000)
    def finding_named(word: str) -> str | None:
        return task.finding_named(word) or finding_of(word)

    options = Options(
        with_files, finding_named, sources.follow_links, sources.rsna_without_patients, columns=sources.columns
    )
    rows, name = Rows(engine, work), "listed"
    files: dict[str, Files] = {}
    with tables.counted_rows() as counted:
        table = rows.write(name, batches_of(read_collections(home, found, options, files), task))
    rows.save("ids", rules.unique_ids(table))
    prints: dict[str, Fingerprint] = {}
    if with_files:
        paths = [path for batch in rows.read(name, ["path", "left_out"]) for path in _to_read(batch)]
        prints, name = fingerprints(root, paths, engine, work / FINGERPRINTS), "read"
        table = rows.write(name, (_with_fingerprints(batch, prints) for batch in rows.read("listed")))
    # Without a split all images are for testing, so images for training only are left out.
    children_out = metadata.paediatric == "leave_out" or (metadata.paediatric == "train" and not split)
    ruled = rules.leave_out_repeats(table.select(*_RULED), children_out)
    rows.save("ruled", ruled.select("position", "left_out"))
    # Rows that name no image all have the same path, which is not a file and must not link them.
    path = ibis.ifelse(table.left_out == tables.NO_IMAGE, ibis.null("string"), table.path)
    rows.save("first", rules.first_rows(table.mutate(path=path), _KEYS))
    outline = _outline(rows, name)
    listed = _listed(home, found, counted, outline.source.value_counts())
    everywhere, conflict = NO_PAIRS, np.empty(0, dtype=np.int64)
    if prints:
        everywhere = _near_repeats(_hashed(rows, name, outline), prints)
        near = everywhere[outline.left_out.isna().to_numpy()[everywhere].all(axis=1)]
        labels = outline.label.cat.codes.to_numpy()
        conflict = np.unique(near[labels[near[:, 0]] != labels[near[:, 1]]])
    else:
        near = NO_PAIRS
    outline["left_out"] = _with_reason(outline.left_out, conflict, reasons.CONFLICT)
    first = [rows.integers("first", key, len(outline)) for key in _KEYS]
    groups = Groups(joined(first, near), first[0])
    for table in rows.together((name, ["patient_id"]), ("ids", ["image_id"])):
        groups.learn(*_names(table))
    outline["group_id"] = groups.component
    for key, positions in zip(_KEYS, first, strict=True):
        if key != "path":
            outline[key] = pd.arrays.IntegerArray(positions, positions < 0)
    built = Built(
        outline,
        everywhere,
        len(near),
        root,
        listed,
        files=files,
        accounts=options.accounts,
        unread=options.unread,
        on_disk=_Written(rows, name, groups),
    )
    kept = outline.left_out.isna()
    if remembered is None:
        outline["split"] = pd.Categorical.from_codes(np.where(kept, 0, -1), pd.Index(["test"]))
        return built
    children = with_children(outline) if metadata.paediatric == "train" else None
    drawn = (home / TRUTH).is_dir()
    outline["split"] = None  # until it is known
    sides = keep_sides(built.parts, outline, metadata.split, drawn, remembered, children)
    outline["split"] = sides.side.where(kept)
    return replace(built, sides=sides)


def _listed(
    home: Path, found: list[tuple[Collection, str]], counted: Counter[Path], records: pd.Series
) -> dict[str, dict[str, int]]:
    """``Built.listed``. Raises CxrflowError if a collection does not give a record for every row of its tables."""
    listed: dict[str, dict[str, int]] = {}
    for collection, folder in found:
        name = source_name(collection, folder)
        read = {path: rows for path, rows in counted.items() if path.is_relative_to(home / folder)}
        listed[name] = {path.relative_to(home / folder).as_posix(): rows for path, rows in read.items()}
        rows, images = sum(read.values()), int(records.get(name, 0))
        if read and not collection.merges and rows != images:
            raise CxrflowError(
                f"{home / folder}: {rows:,} rows in {', '.join(listed[name])}, but {images:,} records; the source "
                f"{collection.name} must give one record for every row, left out or not."
            )
    return listed


def _to_read(batch: "pa.RecordBatch") -> list[str]:
    """Paths of the rows that are not left out."""
    return batch.filter(batch["left_out"].is_null())["path"].to_pylist()  # type: ignore[no-any-return]


def _with_fingerprints(batch: "pa.RecordBatch", prints: dict[str, Fingerprint]) -> "pa.RecordBatch":
    """The rows with what their files say; a file that cannot be read leaves its row out."""
    import pyarrow as pa

    rows = list(zip(batch["path"].to_pylist(), batch["left_out"].to_pylist(), strict=True))
    found = [prints.get(path) if out is None else None for path, out in rows]
    for name in (*OF_FILES, "left_out"):
        values = [getattr(one, name) if one else None for one in found]
        if name == "left_out":
            values = [out or value for value, (_, out) in zip(values, rows, strict=True)]
        place = batch.schema.get_field_index(name)
        batch = batch.set_column(place, name, pa.array(values, batch.schema.field(name).type))
    return batch


def _outline(rows: Rows, name: str) -> pd.DataFrame:
    """The outline of ``Built`` so far: everything but patients, contents, groups and sides."""
    categories = {column: Categories() for column in ("source", "label", "url", "left_out")}
    types: dict[str, Any] = {"age": np.float32, "frontal": np.float64, "paediatric": bool, "turned": bool}
    plain: dict[str, list[NDArray[Any]]] = {column: [] for column in types}
    for table in rows.together((name, ["source", "label", "url", *types]), ("ruled", ["left_out"])):
        for column, codes in categories.items():
            codes.add(table[column].combine_chunks())
        for column, parts in plain.items():
            values = table[column].fill_null(False if types[column] is bool else np.nan)
            parts.append(values.to_numpy().astype(types[column]))
    outline = pd.DataFrame({column: codes.series() for column, codes in categories.items()})
    for column, parts in plain.items():
        outline[column] = np.concatenate(parts) if parts else np.empty(0, dtype=types[column])
    return outline.assign(image_id=np.arange(len(outline), dtype=np.int32))


def _with_reason(left_out: pd.Series, rows: NDArray[np.int64], reason: str) -> pd.Series:
    out = left_out.copy()
    if len(rows):
        out = out if reason in out.cat.categories else out.cat.add_categories([reason])
        out.iloc[rows] = reason  # type: ignore[call-overload]
    return out


def _names(table: "pa.Table") -> tuple[list[str | None], list[str]]:
    return table["patient_id"].to_pylist(), table["image_id"].to_pylist()


def _hashed(rows: Rows, name: str, outline: pd.DataFrame) -> pd.DataFrame:
    """The rows of pictures that were read: columns path, near_hash and left_out, index of positions."""
    frames = [table.to_pandas() for table in rows.together((name, ["path", "near_hash"]))]
    frame = typed(pd.concat(frames, ignore_index=True)).assign(left_out=outline.left_out.astype(object))
    return frame[frame.near_hash.notna()]


def _near_repeats(frame: pd.DataFrame, prints: dict[str, Fingerprint]) -> Pairs:
    """Near repeats: pairs of row positions, int64 (pairs, 2). A file that is listed again is ignored."""
    chosen = frame[frame.left_out != reasons.LISTED_AGAIN]
    thumbnails = [prints[path].thumbnail or b"" for path in chosen.path]
    return chosen.index.to_numpy()[near_pairs(thumbnails)]
