"""The rows of a run on disk, so that memory does not grow with them: Parquet files that the engine reads, too.

The tables of a run, in the order in which build.py writes them:
remembered  rows of sides.csv (remembered.py)
listed      what the collections list; read: the same with what the image files say
ids, ruled  unique image ids; reasons for leaving out repeats and children (rules.py)
first       first row of the same patient, path and content
grouped     columns of records.py but group_id and split; other_id (rules.unique_ids); and group, the position of the
            group's first row
named       group_id, and whether the group has a child's image that is kept
found, first_remembered  what is remembered of each row, and of each remembered row (sides.py)
records     the result: grouped with group_id and split
"""

import glob
import os
import platform
import re
import shutil
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
from numpy.typing import NDArray

from cxrflow.engines import Engine
from cxrflow.records import FINDINGS_JOINT, Record, boxes_text
from cxrflow.task import Task

if TYPE_CHECKING:
    import pyarrow as pa

#: Before a path for Spark, whose paths are else in the cluster's default file system, such as HDFS on YARN; when it
#: reads, Ibis removes the first of two.
_LOCAL = "file://"
#: Rows of a file and of a batch.
_BATCH = 1 << 16
_TEXTS = (
    *("image_id", "source", "path", "patient_id", "findings", "uncertain", "finding", "view", "sex", "url", "boxes"),
    *("label", "left_out"),
)
#: Columns that need the image files; null until these were read.
OF_FILES = ("content_hash", "near_hash", "note", "frontal", "turned", "text_places", "text_boxes")


class Rows:
    """Tables of the rows in a temporary folder below ``work``, which goes with this object.

    Every table has ``position``, the place of a row in the order of the collections, and is in this order. Spark's
    executors need the folder at the same path.
    """

    def __init__(self, engine: Engine, work: Path) -> None:
        work.mkdir(parents=True, exist_ok=True)
        self._backend = engine.backend
        here = f".rows.{platform.node()}."
        for left in work.glob(f"{glob.escape(here)}*"):
            if not _runs(left.name.removeprefix(here).partition(".")[0]):  # of a run that was killed
                shutil.rmtree(left, ignore_errors=True)
        self._temporary = TemporaryDirectory(prefix=f"{here}{os.getpid()}.", dir=work)
        self._folder = Path(self._temporary.name).absolute()
        self._tables: dict[str, Any] = {}

    def write(self, name: str, parts: Iterable["pa.RecordBatch | pa.Table"]) -> Any:
        """Write a table that comes in parts, at least one; returns it as ``table``."""
        from pyarrow import parquet

        folder = self._folder / name
        folder.mkdir()
        for number, part in enumerate(parts):
            with parquet.ParquetWriter(folder / f"part-{number:06}.parquet", part.schema) as file:
                file.write(part)
        return self.table(name)

    def save(self, name: str, table: Any) -> Any:
        """Let the engine compute and write a table; returns it as ``table``."""
        folder, ordered = self._folder / name, table.order_by("position")
        if self._backend.name == "duckdb":
            folder.mkdir()
            self._backend.to_parquet(ordered, folder / "part-0.parquet")
        else:
            self._backend.to_parquet(ordered, f"{_LOCAL}{folder}")
        return self.table(name)

    def table(self, name: str) -> Any:
        """A written or saved table as an Ibis table of the engine."""
        if name not in self._tables:
            folder = str(self._folder / name)  # both engines read a pattern, of the shell's or of Hadoop's syntax
            files = (
                f"{glob.escape(folder)}/*.parquet" if self._backend.name == "duckdb" else 2 * _LOCAL + _escaped(folder)
            )
            self._tables[name] = self._backend.read_parquet(files)
        return self._tables[name]

    def count(self, name: str) -> int:
        """Number of rows of a table."""
        from pyarrow import parquet

        return sum(parquet.read_metadata(path).num_rows for path in (self._folder / name).glob("*.parquet"))

    def read(self, name: str, columns: list[str] | None = None) -> Iterator["pa.RecordBatch"]:
        """A written or saved table, batch by batch, in order; at least one batch, if empty."""
        import pyarrow as pa
        from pyarrow import parquet

        for path in sorted((self._folder / name).glob("*.parquet")):
            with parquet.ParquetFile(path) as file:
                if not file.metadata.num_rows:
                    schema = file.schema_arrow
                    yield pa.RecordBatch.from_pylist([], pa.schema([schema.field(c) for c in columns or schema.names]))
                yield from file.iter_batches(_BATCH, columns=columns)

    def together(self, *wanted: tuple[str, list[str]]) -> Iterator["pa.Table"]:
        """Columns of several tables side by side, in parts of equal length; at least one part, if empty."""
        import pyarrow as pa

        for parts in zip(*(_exactly(self.read(name, columns)) for name, columns in wanted), strict=True):
            arrays = [column for part in parts for column in part.columns]
            yield pa.table(arrays, names=[name for part in parts for name in part.column_names])

    def integers(self, name: str, column: str) -> NDArray[np.int32]:
        """A column of whole numbers, int32 (rows,), -1 for null."""
        out, start = np.empty(self.count(name), dtype=np.int32), 0
        for batch in self.read(name, [column]):
            out[start : start + len(batch)] = batch.column(0).fill_null(-1).to_numpy(zero_copy_only=False)
            start += len(batch)
        return out


def _escaped(path: str) -> str:
    """A pattern of Hadoop that fits the path alone."""
    return re.sub(r"[][{}*?\\]", r"\\\g<0>", path)


def _runs(process: str) -> bool:
    return process.isdecimal() and psutil.pid_exists(int(process))


def _exactly(batches: Iterable["pa.RecordBatch"]) -> Iterator["pa.Table"]:
    """The same rows in parts of _BATCH rows, the last one shorter."""
    import pyarrow as pa

    held: list[pa.RecordBatch] = []
    space, empty = _BATCH, True
    for batch in batches:
        while len(batch) or empty:
            part, batch, empty = batch.slice(0, space), batch.slice(space), False
            held.append(part)
            space -= len(part)
            if not space:
                yield pa.Table.from_batches(held)
                held, space = [], _BATCH
    if held:
        yield pa.Table.from_batches(held)


def batches_of(records: Iterable[Record], task: Task) -> Iterator["pa.RecordBatch"]:
    """Records with the task's labels; a row without a label is left out with the source's reason, or the task's if the
    source has none. At least one batch, if empty."""
    import pyarrow as pa

    answers: dict[tuple[tuple[str, ...], tuple[str, ...]], tuple[str | None, str | None]] = {}
    left, start = iter(records), 0
    while True:
        part = list(islice(left, _BATCH))
        if start and not part:
            return
        columns: dict[str, Any] = {"position": pa.array(range(start, start + len(part)), pa.int64())}
        labels, left_out = [], []
        for record in part:
            said = record.findings, record.uncertain
            if (answer := answers.get(said)) is None:
                answer = answers[said] = task.label_of(*said)
            labels.append(answer[0])
            left_out.append(record.left_out or answer[1])
        for name in _TEXTS:
            if name == "label":
                values: list[str | None] = labels
            elif name == "left_out":
                values = left_out
            elif name in ("findings", "uncertain"):
                values = [FINDINGS_JOINT.join(getattr(record, name)) or None for record in part]
            elif name == "boxes":
                values = [boxes_text(record.boxes) for record in part]
            else:
                values = [getattr(record, name) for record in part]
            columns[name] = pa.array(values, pa.string())
        for name in ("age", "day"):
            columns[name] = pa.array([getattr(record, name) for record in part], pa.float64())
        columns["paediatric"] = pa.array([record.paediatric for record in part], pa.bool_())
        of_files = {"frontal": pa.float64(), "turned": pa.bool_(), "text_places": pa.float64()}
        columns |= {name: pa.nulls(len(part), of_files.get(name, pa.string())) for name in OF_FILES}
        yield pa.RecordBatch.from_pydict(columns)
        if len(part) < _BATCH:
            return
        start += len(part)
