"""The record: one row per image that a collection lists, kept or not."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from cxrflow.csv_files import to_csv
from cxrflow.errors import CxrflowError, one_line
from cxrflow.files import write_whole
from cxrflow.state import Kind, flag, number, one_of, read_table, text

SPLITS = ("train", "val", "test")
#: Folder beside synthetic collections with the ground-truth masks: ``truth/lungs`` and ``truth/opacity``, each mask at
#: the path of its image with the extension ``.png``. Real collections have none.
TRUTH = "truth"


def are_drawn(root: Path) -> bool:
    """Whether the collections in the folder ``root``, or the one collection that ``root`` is, are synthetic."""
    return any((folder / TRUTH / "opacity").is_dir() for folder in (root, root.absolute().parent))


class Box(NamedTuple):
    """A rectangle that a radiologist drew round a finding.

    finding                   in the vocabulary of findings.py
    left, top, width, height  shares of the width and height of the radiograph as published, in [0, 1]
    """

    finding: str
    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Record:
    """One image as listed by one collection.

    image_id      unique over all collections: ``<source>:<name>``
    source        name of the collection
    path          of the image file, relative to the root that holds the collections, "/" between parts
    patient_id    the real person, prefixed with the collection that issued the number; None if unknown
    findings      findings in the vocabulary of findings.py; empty if the collection gives none that is known
    uncertain     findings that may be there, in the same vocabulary: the collection gives them as uncertain
    finding       the finding as published
    view          PA, AP, AP Supine, ... as a collection publishes it, or None; of a user's own table PA, AP or frontal
    age           years, or None
    sex           "M", "F" or None
    day           days after onset or admission, as the collection publishes it, or None
    url           where the collection took the image from, or None
    paediatric    True if the image is known to come from a paediatric subset of the collection
    boxes         what radiologists marked in it; a box that marks several findings is there once for each
    left_out      reason for not using the image, or None
    """

    image_id: str
    source: str
    path: str
    patient_id: str | None = None
    findings: tuple[str, ...] = ()
    uncertain: tuple[str, ...] = ()
    finding: str | None = None
    view: str | None = None
    age: float | None = None
    sex: str | None = None
    day: float | None = None
    url: str | None = None
    paediatric: bool = False
    boxes: tuple[Box, ...] = ()
    left_out: str | None = None


#: Columns of ``records.csv``: the fields of Record (findings, and uncertain ones, joined by FINDINGS_JOINT, boxes as
#: ``boxes_text`` writes them), then those that the metadata stage adds:
#: label         class of the task, or None if the findings give none
#: content_hash  SHA-256 of the file's bytes, hexadecimal
#: near_hash     bits by which near repeats of the image are recognised (metadata/near_hash.py), hexadecimal
#: frontal       score in [0, 1] for a frontal chest radiograph (reading/frontal.py); NaN if no file was read
#: turned        True if the file stores the image inverted, with bright air; reading corrects this
#: note          what the file's header declares and reading did not apply, or None
#: text_places   number of places with text burned in (reading/letters.py); NaN if it was not looked for
#: text_boxes    these places: ``left,top,width,height`` in shares of the image, joined by ``;``; None if there are none
#: group_id      name of the group: one patient's images, their duplicates, and the patients that these link
#: split         side of the split, one of SPLITS; None if the row is left out
ADDED = (
    "label",
    "content_hash",
    "near_hash",
    "frontal",
    "turned",
    "note",
    "text_places",
    "text_boxes",
    "group_id",
    "split",
)
COLUMNS = (*(f.name for f in fields(Record)), *ADDED)
FINDINGS_JOINT = ";"
_PLACE = r"(?:[01]\.\d{5},){3}[01]\.\d{5}"
_BOX = rf"[^:;\0]+:{_PLACE}"
_GIVEN = ("image_id", "source", "path")
_NUMBERS = ("age", "day", "frontal", "text_places")
_FLAGS = ("paediatric", "turned")
_REMEDY = "run `cxrflow metadata`"


def boxes_text(boxes: Iterable[Box]) -> str | None:
    """Boxes as the cell of a table: ``finding:left,top,width,height``, joined by ``;``; None if there are none."""
    return ";".join(f"{box.finding}:{','.join(f'{share:.5f}' for share in box[1:])}" for box in boxes) or None


def boxes_of(cell: str | None) -> list[Box]:
    """The boxes in a cell that ``boxes_text`` wrote."""
    parts = [part.split(":") for part in (cell or "").split(";") if part]
    return [Box(finding, *map(float, shares.split(","))) for finding, shares in parts]


def places_of(cell: str | None) -> list[tuple[float, float, float, float]]:
    """The places in a cell of ``text_boxes``: left, top, width and height, shares of the image."""
    return [tuple(map(float, place.split(","))) for place in (cell or "").split(";") if place]  # type: ignore[misc]


def to_frame(records: Iterable[Record]) -> pd.DataFrame:
    """Records as a table of COLUMNS; text has dtype ``object``, None if unknown."""
    records = list(records)
    texts = (
        {name: FINDINGS_JOINT.join(getattr(record, name)) or None for name in ("findings", "uncertain")}
        | {"boxes": boxes_text(record.boxes)}
        for record in records
    )
    rows = [asdict(record) | text for record, text in zip(records, texts, strict=True)]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return typed(frame)


def write_records(records: pd.DataFrame | Iterable[pd.DataFrame], path: Path) -> None:
    """Write a table of records, whole or in parts, as CSV (UTF-8), atomically."""
    parts = [records] if isinstance(records, pd.DataFrame) else records
    write_whole(path, csv_parts(parts, COLUMNS))


def csv_parts(frames: Iterable[pd.DataFrame], columns: tuple[str, ...]) -> Iterator[bytes]:
    """The CSV (UTF-8) of a table that comes in parts: its header once, then their rows."""
    yield (",".join(columns) + "\n").encode()
    for frame in frames:
        yield to_csv(frame[list(columns)], header=False)


def read_records(path: Path) -> pd.DataFrame:
    """Read a table that ``write_records`` wrote. Raises CxrflowError if there is none, or a damaged one."""
    if not path.exists():
        raise CxrflowError(f"{path}: no table of records found; run `cxrflow metadata`.")
    kinds: dict[str, Kind] = dict.fromkeys(COLUMNS, text()) | {name: text(required=True) for name in _GIVEN}
    kinds |= dict.fromkeys(_NUMBERS, number()) | dict.fromkeys(_FLAGS, flag)
    kinds |= {"sex": one_of("M", "F"), "split": one_of(*SPLITS), "boxes": text(f"{_BOX}(?:;{_BOX})*")}
    kinds["text_boxes"] = text(f"{_PLACE}(?:;{_PLACE})*")
    kinds |= {"content_hash": text("[0-9a-f]{64}"), "near_hash": text("[0-9a-f]{81}")}
    records = read_table(path, kinds, _REMEDY)
    if (again := records.image_id.duplicated()).any():
        raise _damaged(path, f"{records.image_id[again].iloc[0]} is the image_id of two rows")
    return records


def read_kept(path: Path) -> pd.DataFrame:
    """The rows of a table of records that are not left out. Raises CxrflowError as ``read_records``, and if one of them
    has no label, group or side, or if a group is on two sides of the split."""
    records = read_records(path)
    kept = records[records.left_out.isna()].reset_index(drop=True)
    for name in ("label", "group_id", "split"):
        if (absent := kept[name].isna()).any():
            raise _damaged(path, f"{kept.image_id[absent].iloc[0]} is kept, but has no {name}")
    sides = kept.groupby("group_id").split.nunique()
    if (sides > 1).any():
        raise _damaged(path, f"the group {sides.index[sides > 1][0]} is on two sides of the split")
    return kept


def _damaged(path: Path, how: str) -> CxrflowError:
    return CxrflowError(f"{path}: damaged, {one_line(how)}; {_REMEDY}.")


def typed(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with the dtypes of ``to_frame``: numbers, booleans, and text as ``object`` with None for unknown."""
    out = frame.copy()
    for name in out.columns:
        if name in _NUMBERS:
            out[name] = pd.to_numeric(out[name])
        elif name in _FLAGS:
            out[name] = out[name].map(lambda value: value in (True, "True"))
        else:
            out[name] = out[name].astype(object).where(out[name].notna(), None)
    return out
