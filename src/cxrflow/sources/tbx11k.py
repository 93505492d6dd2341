"""TBX11K (Liu et al. 2020, CVPR: 2643-2652): healthy, sick but without tuberculosis, and tuberculosis, with boxes.

Of its test images the labels are withheld, and the images in ``extra`` are those of other collections (Montgomery,
Shenzhen, DA and DB): neither is listed here.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cxrflow.errors import CxrflowError, one_line
from cxrflow.findings import most_specific
from cxrflow.records import Record
from cxrflow.sources import tables
from cxrflow.sources.boxes import Boxes
from cxrflow.sources.collection import Collection, Options

NAME = "tbx11k"
ANNOTATIONS = "annotations/json"
TABLES = ("TBX11K_train.json", "TBX11K_val.json")
#: Folder of an image -> finding. One image in ``tb`` (tb1199.png) has no box that says which tuberculosis it is.
FOLDERS = {"health": "no finding", "sick": "abnormal without tuberculosis", "tb": "tuberculosis"}
#: Category of a box -> finding.
PUBLISHED = {
    "ActiveTuberculosis": "tuberculosis/active",
    "ObsoletePulmonaryTuberculosis": "tuberculosis/latent",
    "PulmonaryTuberculosis": "tuberculosis",
}
#: Upper limit of a table, in bytes; the annotations of 8,400 images have a few MB.
_LARGEST = 64 << 20


def findings_of(folder: str, categories: set[str]) -> tuple[tuple[str, ...], str | None]:
    """The findings of an image from its folder and the categories of its boxes, and the reason for leaving it out if
    the folder is not known or contradicts the boxes."""
    finding = FOLDERS.get(folder)
    if finding is None or (categories and folder != "tb") or not categories <= PUBLISHED.keys():
        return (), tables.UNKNOWN_LABEL
    return most_specific((finding, *(PUBLISHED[name] for name in sorted(categories)))), None


def read(folder: Path, name: str, options: Options) -> Iterator[Record]:
    """One record per image of TABLES (6,600 and 1,800). The people are not known."""
    place = tables.inner(folder, "annotations", "imgs")
    for table in TABLES:
        path = folder / place / ANNOTATIONS / table
        content = _read(path)
        boxes = Boxes(path)
        try:
            categories = {entry["id"]: str(entry["name"]) for entry in content["categories"]}
            sizes = {entry["id"]: (float(entry["width"]), float(entry["height"])) for entry in content["images"]}
            marked: dict[Any, set[str]] = {}
            for number, box in enumerate(content["annotations"], 1):
                image, category = box["image_id"], categories[box["category_id"]]
                marked.setdefault(image, set()).add(category)
                finding = PUBLISHED.get(category)
                cells = [str(value) for value in box["bbox"]]
                boxes.add(str(image), (finding,) if finding else (), cells, number, sizes.get(image))
            entries = [(entry["id"], str(entry["file_name"])) for entry in content["images"]]
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise _damaged(path, error) from None
        for key, file in entries:
            findings, reason = findings_of(file.partition("/")[0], marked.get(key, set()))
            yield Record(
                image_id=f"{NAME}:{file or f'image {key}'}",
                source=NAME,
                path="/".join(filter(None, (name, place, "imgs", file))),
                findings=findings,
                finding=", ".join((file.partition("/")[0], *sorted(marked.get(key, ())))) or None,
                boxes=boxes.of(str(key)),
                left_out=reason if file else tables.NO_IMAGE,
            )
        options.unread.extend(boxes.sentences())


def _read(path: Path) -> Any:
    try:
        if path.stat().st_size > _LARGEST or not path.is_file():  # a FIFO would wait for ever
            raise ValueError("too large, or not a file")
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        found = sorted(file.name for file in path.parent.glob("*.json")) if path.parent.is_dir() else []
        raise tables.OtherTable(path, (), one_line(", ".join(found), 300)) from None
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> CxrflowError:
    return CxrflowError(
        f"{path}: not the annotations that TBX11K publishes ({one_line(str(error))}); put them there again."
    )


COLLECTION = Collection(
    NAME,
    ("TBX11K",),
    read,
    f"{' and '.join(TABLES)} in {ANNOTATIONS}/",
    findings=(*FOLDERS.values(), *PUBLISHED.values()),
)
