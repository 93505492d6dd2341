"""What the report reads from the folders of the earlier stages; a missing or damaged file is named, with the command
that writes it."""

import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from jinja2 import UndefinedError
from markupsafe import Markup

from cxrflow.errors import CxrflowError, one_line
from cxrflow.metadata.overlap import COLUMNS
from cxrflow.records import SPLITS
from cxrflow.state import Kind, number, one_of, read_bytes, read_sealed, read_table, text
from cxrflow.statistics.figure import Figure
from cxrflow.task import Task

_STAGES = ("metadata", "images", "training", "evaluation", "explanation", "audit")
COUNT = number(0, whole=True)
_NAMED = text(required=True)
_QUALITY = 90  # of WebP, of 100
SHARES = {"split": one_of(*SPLITS), "source": _NAMED, "label": _NAMED, "images": COUNT, "groups": COUNT}
FATES = {"source": _NAMED, "fate": _NAMED, "rows": COUNT}
OVERLAP = dict.fromkeys(COLUMNS, COUNT) | {"collection": _NAMED, "other": _NAMED}


def read_json(path: Path) -> Any:
    """The contents of a sealed JSON file."""
    return read_sealed(path, remedy(path))


def read_csv(path: Path, kinds: Mapping[str, Kind], others: Kind | None = None) -> pd.DataFrame:
    """A table with the given columns, each checked."""
    return read_table(path, kinds, remedy(path), others)


def read_text(path: Path) -> str:
    """The text of a UTF-8 file."""
    try:
        return read_bytes(path, remedy(path)).decode()
    except UnicodeDecodeError:
        raise damaged(path) from None


def read_svg(path: Path) -> Markup:
    """A plot as SVG, whole."""
    if not (text := read_text(path)).rstrip().endswith("</svg>"):
        raise damaged(path)
    return Markup(text)  # noqa: S704  drawn by an earlier stage


def read_picture(path: Path) -> str:
    """A PNG, whole, as a ``data:`` URL of a WebP, with which a page of radiographs is a tenth as large."""
    content = read_bytes(path, remedy(path))
    picture = None
    if content.startswith(b"\x89PNG\r\n\x1a\n") and content[-8:-4] == b"IEND":
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise damaged(path)
    smaller = cv2.imencode(".webp", picture, [cv2.IMWRITE_WEBP_QUALITY, _QUALITY])[1]
    return "data:image/webp;base64," + base64.b64encode(smaller.tobytes()).decode()


def damaged(path: Path) -> CxrflowError:
    """The error for a file that an earlier stage cannot have written."""
    return CxrflowError(f"{path}: damaged; {remedy(path)}.")


def remedy(path: Path) -> str:
    """The command that writes a file, in words."""
    stage = next((folder.name for folder in path.parents if folder.name in _STAGES), None)
    return f"run `cxrflow {stage}`" if stage else "run the command that wrote it"


def with_figures(value: Any) -> Any:
    """``metrics.json`` with a Figure in place of each dict that ``Figure.to_dict`` wrote."""
    if isinstance(value, list):
        return [with_figures(each) for each in value]
    if not isinstance(value, dict):
        return value
    if "value" in value:
        return Figure.from_dict(value)
    return {key: with_figures(each) for key, each in value.items()}


def fates_of(table: pd.DataFrame, task: Task) -> list[dict[str, Any]]:
    """For each collection: how many rows it has, how many were kept by class, and how many left out by reason."""
    out = []
    for source, rows in table.groupby("source", sort=False):
        by_fate = dict(zip(rows.fate, (int(n) for n in rows.rows), strict=True))
        kept = {name: by_fate.pop(f"kept: {name}", 0) for name in task.order}
        out.append({"source": source, "rows": int(rows.rows.sum()), "kept": kept, "left_out": by_fate})
    return out


def sides_of(shares: pd.DataFrame, task: Task) -> dict[str, dict[str, int]]:
    """Number of images of each class in each split."""
    counted = shares.groupby(["split", "label"]).images.sum()
    return {side: {name: int(counted.get((side, name), 0)) for name in task.order} for side in SPLITS}


@contextmanager
def of_this_version() -> Iterator[None]:
    """What is missing in files that are as they were written, by their seals and columns, is of another version."""
    try:
        yield
    except (UndefinedError, LookupError, TypeError, ValueError) as error:
        raise CxrflowError(
            f"report: the results are of another version of cxrflow ({one_line(str(error))}); run `dvc repro`."
        ) from error
