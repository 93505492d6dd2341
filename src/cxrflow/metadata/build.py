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

from cxrflow.engines import Engine
from cxrflow.errors import CxrflowError
from cxrflow.files import Root
from cxrflow.metadata import reasons, rules
from cxrflow.metadata.fingerprint import Fingerprint, fingerprints
from cxrflow.metadata.groups import NO_PAIRS, Pairs, joined
from cxrflow.metadata.near import near_pairs
from cxrflow.metadata.remembered import read_sides
from cxrflow.metadata.rows import OF_FILES, Rows, batches_of
from cxrflow.metadata.sides import Sides, keep_sides
from cxrflow.params import Metadata, Sources
from cxrflow.reading.letters import check_installed
from cxrflow.records import COLUMNS, TRUTH, typed
from cxrflow.sources import extra_collections, find_collections, passed_over, read_collections, source_name, tables
from cxrflow.sources.account import Account
from cxrflow.sources.collection import Collection, Options
from cxrflow.sources.files import Files
from cxrflow.sources.words import finding_of
from cxrflow.task import Task
from cxrflow.terminal import console

if TYPE_CHECKING:
    import pyarrow as pa

#: Files in the working folder of ``build_records``.
FINGERPRINTS, SIDES = "fingerprints.sqlite", "sides.csv"
_RULED = ["position", "path", "label", "source", "url", "paediatric", "content_hash", "left_out"]
_KEYS = ("patient_id", "path", "content_hash")


@dataclass(frozen=True)
class Built:
    """The records of a folder of collections: one row per image that a collection lists, kept or not.

    rows          where the records are on disk
    name          of their table there: columns of records.py; position, 0 to n - 1; and group, any number of the group
    near          near repeats: pairs of positions in the records, kept or not, int64 (pairs, 2)
    near_repeats  number of these pairs of which the rules left out neither image (conflicting labels included)
    root          where the paths of the records lead
    listed        number of rows of every table that was read: source -> name of the table -> rows
    sides         sides of the split, and those to remember; None if all images are for testing
    files         files of each collection, by the name of its folder; empty if files are ignored
    accounts      what could be read of users' own tables and what could not, by the name of the folder
    unread        what of the published tables was not read, in sentences
    """

    rows: Rows
    name: str
    near: NDArray[np.int64]
    near_repeats: int
    root: Root
    listed: dict[str, dict[str, int]]
    sides: Sides | None = None
    files: dict[str, Files] = field(default_factory=dict)
    accounts: dict[str, Account] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)

    @property
    def table(self) -> Any:
        """The records as an Ibis table of the engine, in no order."""
        return self.rows.table(self.name)

    @cached_property
    def records(self) -> pd.DataFrame:
        """The whole records in memory, columns of records.py."""
        return pd.concat(self.parts(), ignore_index=True)

    def parts(self) -> Iterator[pd.DataFrame]:
        """The records in parts, in their order; at least one, if empty."""
        return (typed(batch.to_pandas()) for batch in self.rows.read(self.name, list(COLUMNS)))

    def with_records(self, records: pd.DataFrame) -> "Built":
        """The same with other records, such as with further images left out; columns of records.py."""
        import pyarrow as pa

        name = f"{self.name}, changed"
        whole = records.assign(position=np.arange(len(records)), group=pd.factorize(records.group_id)[0])
        schema = next(self.rows.read(self.name, [*COLUMNS, "position", "group"])).schema
        self.rows.write(name, [pa.Table.from_pandas(whole, schema, preserve_index=False)])
        return replace(self, name=name)


def build_records(
    sources: Sources, metadata: Metadata, task: Task, engine: Engine, work: Path, *, split: bool = True
) -> Built:
    """Read every collection, label its records, and apply the rules.

    work    folder of the fingerprint cache (created if absent) and of the remembered sides of the split (only read
            here; ``stage.run`` writes them)
    split   whether to split the groups; False puts all of them on the test side, as for external validation
    The rows are on disk, below ``work``; in memory are numbers of each, as ``joined`` and ``keep_sides`` say, and the
    fingerprints of image files.
    Raises CxrflowError if a folder, a table or a column is missing, the remembered sides are damaged, or text is to be
    looked for and the extra ``text`` is not installed.
    """
    if metadata.burned_in_text:
        check_installed("metadata.burned_in_text: true")
    extra = extra_collections(sources.extra)
    home, found = find_collections(Path(sources.root), sources.collections, sources.columns, extra)
    root = Root(home, sources.follow_links)
    if home == Path(sources.root) and (others := passed_over(home, found)):
        console().print(
            f"Folders ignored, because they are not collections: {', '.join(others)} (`cxrflow sources {home}` shows "
            "what is in them)",
            markup=False,
        )
    if unused := sorted(set(sources.columns) - {folder for _, folder in found}):
        console().print(f"sources.columns is not used for {', '.join(unused)}: no such collection.", markup=False)
    rows, name = Rows(engine, work), "listed"
    if split:
        read_sides(work / SIDES, rows)
    with_files = metadata.files == "required"

    @lru_cache(maxsize=10_000)
    def finding_named(word: str) -> str | None:
        return task.finding_named(word) or finding_of(word)

    options = Options(
        with_files, finding_named, sources.follow_links, sources.rsna_without_patients, columns=sources.columns
    )
    files: dict[str, Files] = {}
    with tables.counted_rows() as counted:
        table = rows.write(name, batches_of(read_collections(home, found, options, files), task))
    listed = _listed(home, found, counted, table)
    rows.save("ids", rules.unique_ids(table))
    prints: dict[str, Fingerprint] = {}
    if with_files:
        paths = [path for batch in rows.read(name, ["path", "left_out"]) for path in _to_read(batch)]
        prints = fingerprints(root, paths, engine, work / FINGERPRINTS, metadata.burned_in_text)
        name = "read"
        table = rows.write(name, (_with_fingerprints(batch, prints) for batch in rows.read("listed")))
    # Without a split all images are for testing, so images for training only are left out.
    children_out = metadata.paediatric == "leave_out" or (metadata.paediatric == "train" and not split)
    ruled = rules.leave_out_repeats(table.select(*_RULED), children_out)
    rows.save("ruled", ruled.select("position", "left_out"))
    # Rows that name no image all have the same path, which is not a file and must not link them.
    path = ibis.ifelse(table.left_out == tables.NO_IMAGE, ibis.null("string"), table.path)
    rows.save("first", rules.first_rows(table.mutate(path=path), _KEYS))
    everywhere, near, conflict = _near_repeats(rows, name, prints)
    rows.write("grouped", _grouped(rows, name, near, conflict))
    rows.save("named", rules.named_groups(rows.table("grouped")))
    sides = None
    if split:
        sides = keep_sides(rows, metadata.split, (home / TRUTH).is_dir(), metadata.paediatric == "train")
    rows.write("records", _with_sides(rows, sides))
    return Built(
        rows,
        "records",
        everywhere,
        len(near),
        root,
        listed,
        sides=sides,
        files=files,
        accounts=options.accounts,
        unread=options.unread,
    )


def _listed(
    home: Path, found: list[tuple[Collection, str]], counted: Counter[Path], table: Any
) -> dict[str, dict[str, int]]:
    """``Built.listed``. Raises CxrflowError if a collection does not give a record for every row of its tables."""
    listed: dict[str, dict[str, int]] = {}
    records = table.source.value_counts(name="rows").to_pandas().set_index("source")["rows"]
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


def _near_repeats(rows: Rows, name: str, prints: dict[str, Fingerprint]) -> tuple[Pairs, Pairs, NDArray[np.int64]]:
    """Near repeats: pairs of positions, int64 (pairs, 2); those of which neither image is left out; and the positions
    of those among these whose labels differ, int64 (n,). A file that is listed again is ignored."""
    if not prints:
        return NO_PAIRS, NO_PAIRS, np.empty(0, dtype=np.int64)
    parts = rows.together((name, ["path", "near_hash", "label"]), ("ruled", ["left_out"]))
    frame = typed(pd.concat([part.to_pandas() for part in parts], ignore_index=True))
    chosen = frame[frame.near_hash.notna() & (frame.left_out != reasons.LISTED_AGAIN)]
    everywhere = chosen.index.to_numpy()[near_pairs([prints[path].thumbnail or b"" for path in chosen.path])]
    near = everywhere[frame.left_out.isna().to_numpy()[everywhere].all(axis=1)]
    labels = frame.label.to_numpy()
    return everywhere, near, np.unique(near[labels[near[:, 0]] != labels[near[:, 1]]])


def _grouped(rows: Rows, name: str, near: Pairs, conflict: NDArray[np.int64]) -> Iterator["pa.Table"]:
    """The table ``grouped``, in parts.

    conflict  positions of images that are left out because near repeats of them have other labels
    """
    import pyarrow as pa

    order = np.arange(rows.count(name), dtype=np.int32)
    links = [(order, rows.integers("first", key)) for key in _KEYS]
    group = joined(len(order), [*links, (near[:, 0], near[:, 1])])
    del links
    columns = [column for column in COLUMNS if column not in ("image_id", "left_out", "group_id", "split")]
    start = 0
    ids = ("ids", ["image_id", "other_id"])
    for part in rows.together((name, ["position", *columns]), ids, ("ruled", ["left_out"])):
        here = slice(start, start := start + len(part))
        clash = pa.array(np.isin(order[here], conflict))
        left_out = pa.compute.if_else(clash, reasons.CONFLICT, part["left_out"])
        part = part.set_column(part.schema.get_field_index("left_out"), "left_out", left_out)
        yield part.append_column("group", pa.array(group[here]))


def _with_sides(rows: Rows, sides: Sides | None) -> Iterator["pa.Table"]:
    """The table ``records``, in parts. Without sides, all images are for testing."""
    import pyarrow as pa

    columns = [column for column in COLUMNS if column not in ("group_id", "split")]
    start = 0
    for part in rows.together(("grouped", ["position", "group", *columns]), ("named", ["group_id"])):
        here = slice(start, start := start + len(part))
        side = pa.array(["test"] * len(part) if sides is None else sides.side.iloc[here].astype(object), pa.string())
        kept = pa.compute.is_null(part["left_out"])
        yield part.append_column("split", pa.compute.if_else(kept, side, None))
