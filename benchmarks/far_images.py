"""Images for benchmarks/far.py: those of the collections, as they are and changed."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd
from numpy.random import Generator
from numpy.typing import NDArray
from tables import track

from cxrflow.engines import LocalEngine, Lost
from cxrflow.errors import LeftOut
from cxrflow.far import describe
from cxrflow.files import Root
from cxrflow.images.registry import prepare_image
from cxrflow.metadata.build import Built, build_records
from cxrflow.metadata.groups import split_of
from cxrflow.params import Images, Params, Sources
from cxrflow.reading import decode, to_uint8
from cxrflow.reading.frontal import turn

_SHOWS = {
    "": "kept",
    "finding is not one of covid, normal, pneumonia": "other findings",
    "child, left out by metadata.paediatric": "children",
    "modality is CT, not X-ray": "CT slices",
    "view is L, not frontal": "lateral views",
}
_LONGEST = 1024  # pixels of a changed image


class Seen(NamedTuple):
    """An image: its description by each of the image steps, its pixels by the first, and the frontal score."""

    described: tuple[NDArray[np.float64], ...]
    image: NDArray[np.uint8]
    frontal: float


def changes(grey: NDArray[Any], rng: Generator) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """The radiograph unchanged and under each change: name of the change, and image, uint8."""
    scale = min(1.0, _LONGEST / max(grey.shape))
    grey = to_uint8(cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else grey)
    height, width = grey.shape
    yield "", grey
    yield "mirrored", np.ascontiguousarray(grey[:, ::-1])
    yield "inverted", 255 - grey
    yield "on its side", np.ascontiguousarray(np.rot90(grey))
    yield "upside down", np.ascontiguousarray(grey[::-1, ::-1])
    tilt = cv2.getRotationMatrix2D((width / 2, height / 2), 15, 1)
    yield "rotated by 15 degrees", cv2.warpAffine(grey, tilt, (width, height))
    yield "middle half of each side", np.ascontiguousarray(grey[height // 4 : -height // 4, width // 4 : -width // 4])
    for share in (0.01, 0.03):
        yield f"blurred, {100 * share:.0f} % of the side", cv2.GaussianBlur(grey, (0, 0), share * max(grey.shape))
    small = cv2.resize(grey, (256, 256 * height // width), interpolation=cv2.INTER_AREA)
    for share in (0.1, 0.3):
        noise = rng.normal(size=small.shape) * share * 255
        yield f"noise of {100 * share:.0f} % of the grey range", (small + noise).clip(0, 255).astype(np.uint8)
    yield "a fifth of the contrast", (128 + (grey.astype(float) - 128) / 5).astype(np.uint8)
    yield "gamma 3", (255 * (grey / 255.0) ** 3).astype(np.uint8)
    yield "overexposed", (grey * 2.5 - 100).clip(0, 255).astype(np.uint8)
    yield (
        "black border of a third",
        cv2.copyMakeBorder(grey, *[height // 3] * 2, *[width // 3] * 2, cv2.BORDER_CONSTANT),
    )
    hidden = grey.copy()
    hidden[height // 4 : -height // 4, width // 4 : -width // 4] = 0
    yield "middle half black", hidden


def seen(grey: NDArray[Any], steps: tuple[Images, ...]) -> Seen:
    """An image as `predict` sees it."""
    upright, frontal, _ = turn(grey)
    images = [prepare_image(upright, each).image for each in steps]
    return Seen(tuple(describe(image) for image in images), images[0], frontal)


def _read(root: Root, steps: tuple[Images, ...], asked: tuple[str, bool]) -> dict[str, Seen]:
    """An image, and its changes if they are asked for, by name; empty if it cannot be read."""
    path, changed = asked
    try:
        grey = decode(root.file(path))
        made = changes(grey, np.random.default_rng(len(path))) if changed else [("", grey)]
        return {name: seen(each, steps) for name, each in made}
    except LeftOut:
        return {}


def rows(folder: Path, params: Params, steps: tuple[Images, ...], work: Path) -> tuple[pd.DataFrame, Built]:
    """One row per readable image: source, group_id, label, side, shows, seen (by change); and the built records."""
    metadata = params.metadata.model_copy(update={"files": "required", "paediatric": "leave_out"})
    built = build_records(Sources(root=str(folder), collections=None), metadata, params.task, LocalEngine(), work)
    records = built.records.assign(shows=built.records.left_out.fillna("").map(_SHOWS))
    records = records[records.shows.notna()]
    by_hash = [split_of(group, metadata.split) for group in records.group_id]
    records = records.assign(side=records.split.where(records.split.notna(), by_hash))
    changed = (records.shows == "kept") & (records.side != "train")
    asked = list(zip(records.path, changed, strict=True))
    found = LocalEngine(limits=None).map(partial(_read, built.root, steps), asked)
    images = [{} if isinstance(each, Lost) else each for each in track(found, "reading", len(records))]
    return records.assign(seen=images)[[bool(each) for each in images]].reset_index(drop=True), built
