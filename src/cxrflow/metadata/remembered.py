"""The remembered sides of the split: ``sides.csv``, read and written in parts, and looked up by the engine."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ibis
import pandas as pd

from cxrflow.csv_files import read_csv_in_parts
from cxrflow.errors import CxrflowError
from cxrflow.files import write_whole
from cxrflow.metadata.rows import Rows
from cxrflow.records import SPLITS, csv_parts
from cxrflow.sources.tables import NO_IMAGE

if TYPE_CHECKING:
    import pyarrow as pa

#: Columns of ``sides.csv``. split: digest of the seed, the shares, whether the collections are synthetic, and whether
#: children are for training only; image_id: unknown if another image has taken the id; patient: digest of the patient
#: id, so that the file does not identify patients removed from the collections.
COLUMNS = ("split", "image_id", "content_hash", "patient", "side")
#: Hexadecimal digits of the columns that are digests.
DIGITS = {"split": 16, "content_hash": 64, "patient": 16}
#: In place of a remembered row: the value is not known; it is known, but no row has it.
UNKNOWN, NEW = -1, -2
_PART = 1 << 16


def read_sides(path: Path, rows: Rows) -> Any:
    """The remembered sides as the table ``remembered`` of the rows, which is written: columns position and COLUMNS.

    Without a file there are none. Raises CxrflowError if the file is damaged.
    """
    table = rows.write("remembered", _batches(path))
    # What a row is of, which no two rows share: the image id, or else content and patient.
    unnamed = table.image_id.isnull()
    signs = {name: ibis.ifelse(unnamed, table[name], ibis.null("string")) for name in ("content_hash", "patient")}
    alike = table.select("position", "split", "image_id", **signs).group_by(["split", "image_id", *signs])
    again = alike.agg(rows=lambda t: t.count(), last=lambda t: t.position.max())
    last = again.filter(again.rows > 1).last.min().to_pandas()
    if pd.notna(last):
        raise _damaged(path, f"row {int(last) + 1} is not valid")
    return table


def write_sides(parts: Iterable[pd.DataFrame], path: Path) -> None:
    """Write the rows to remember, tables of COLUMNS, as CSV (UTF-8), atomically."""
    write_whole(path, csv_parts(parts, COLUMNS))


def first_remembered(remembered: Any, key: str) -> Any:
    """For each remembered row of the split ``key``, the first of them with the same value, UNKNOWN if it is unknown or
    the row is of another split: columns position, content_hash, patient."""
    first = {}
    for name in ("content_hash", "patient"):
        value = ibis.ifelse(remembered.split == key, remembered[name], ibis.null("string"))
        row = remembered.position.min().over(group_by=value)
        first[name] = ibis.ifelse(value.isnull(), UNKNOWN, row)
    return remembered.select("position", **first)


def look_up(table: Any, remembered: Any, key: str) -> Any:
    """What is remembered of rows for the split ``key``: a row for each.

    The id of a row that names no image is its line number, which another row may have when the table changes; it is not
    looked up.

    table       columns position, image_id, other_id, patient_id, content_hash, left_out
    remembered  table of ``read_sides``
    Columns:
    position, image_id
    content_hash, patient         the latter as a digest; those remembered of the image if they are unknown now
    named                         remembered row with the image id
    same                          that row, or the one with other_id, unless content or patient contradict it
    content_row, patient_row      first remembered row with the value
    The last four are positions, UNKNOWN or NEW.
    """
    ours = remembered.filter(remembered.split == key)
    nothing = ibis.null("string")
    listed = table.left_out.isnull() | (table.left_out != NO_IMAGE)
    found = table.select(
        "position",
        "image_id",
        "content_hash",
        patient=table.patient_id.hexdigest("sha256")[: DIGITS["patient"]],
        by_id=ibis.ifelse(listed, table.image_id, nothing),
        by_other=ibis.ifelse(listed, table.other_id, nothing),
    )
    for by in ("by_id", "by_other"):
        names = {"position": "row", "image_id": "image", "content_hash": "content", "patient": "person"}
        there = ours.select(**{f"{by}_{new}": ours[old] for old, new in names.items()})
        if by == "by_other":
            found = found.mutate(by_other=ibis.ifelse(found.by_id_row.isnull(), found.by_other, nothing))
        found = found.left_join(there, [(by, f"{by}_image")])
    row, content, person = (
        ibis.coalesce(found[f"by_id_{name}"], found[f"by_other_{name}"]) for name in ("row", "content", "person")
    )
    # Comparisons with null are null, which counts as false.
    other = (found.content_hash != content).fill_null(False) | (found.patient != person).fill_null(False)
    # Ibis 12 cannot go on joining after a select of a join that computes columns; after mutate it can.
    found = found.mutate(
        content_hash=ibis.coalesce(found.content_hash, ibis.ifelse(other, nothing, content)),
        patient=ibis.coalesce(found.patient, ibis.ifelse(other, nothing, person)),
        named=found.by_id_row.fill_null(NEW),
        same=ibis.ifelse(other, UNKNOWN, row.fill_null(NEW)),
    ).select("position", "image_id", "content_hash", "patient", "named", "same")
    for name, of in (("content_row", "content_hash"), ("patient_row", "patient")):
        there = ours.filter(ours[of].notnull()).group_by(value=of).agg(first=lambda t: t.position.min())
        found = found.left_join(there, [(of, "value")])
        row = ibis.ifelse(found[of].isnull(), UNKNOWN, found["first"].fill_null(NEW))
        found = found.mutate(**{name: row}).drop("value", "first")
    return found


def _batches(path: Path) -> Iterator["pa.RecordBatch"]:
    """The rows of the file in parts, at least one, with their positions. Raises CxrflowError if one is not valid."""
    import pyarrow as pa

    start = 0
    try:
        for part in read_csv_in_parts(path, _PART) if path.exists() else [pd.DataFrame(columns=list(COLUMNS))]:
            if tuple(part.columns) != COLUMNS:
                raise _damaged(path, f"its columns are not {', '.join(COLUMNS)}")
            if (wrong := _wrong(part)).any():
                raise _damaged(path, f"row {start + int(wrong.to_numpy().argmax()) + 1} is not valid")
            columns: dict[str, Any] = {"position": pa.array(range(start, start + len(part)), pa.int64())}
            columns |= {name: pa.array(part[name], pa.string(), from_pandas=True) for name in COLUMNS}
            yield pa.RecordBatch.from_pydict(columns)
            start += len(part)
    except (OSError, ValueError) as error:  # pandas' parsing and decoding errors are ValueErrors
        raise _damaged(path, str(error).splitlines()[0]) from None


def _wrong(part: pd.DataFrame) -> pd.Series:
    """Whether a row has a cell that is not valid, or names nothing."""
    wrong = ~part.side.isin(SPLITS) | (part.image_id.isna() & part.content_hash.isna() & part.patient.isna())
    for column, count in DIGITS.items():
        fits = part[column].astype("string").str.fullmatch(f"[0-9a-f]{{{count}}}")
        wrong |= ~fits.fillna(column != "split").astype(bool)
    return wrong


def _damaged(path: Path, how: str) -> CxrflowError:
    return CxrflowError(
        f"{path}: the remembered sides of the split are damaged ({how}); restore the file with `dvc checkout`, or "
        "delete it to assign every group to a side again."
    )
