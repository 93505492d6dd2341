"""A picture of what the image steps do, one radiograph of each class, for people to look at."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from cxrflow.errors import CxrflowError, LeftOut
from cxrflow.files import below, write_whole
from cxrflow.images.steps import centre_square, cut, equalise_as_the_paper, harmonise, prepare_image, render, shrink
from cxrflow.params import Images
from cxrflow.reading import read_radiograph, to_uint8
from cxrflow.records import CLASSES

_SIDE = 256
_GAP = 6


def write_examples(records: pd.DataFrame, root: Path, steps: Images, out: Path) -> None:
    """Write a PNG: a row per class (CLASSES), a column per step as ``step_names``.

    records  kept rows; the first training image of each class that can be read is shown, never a test image
    Raises CxrflowError where no training image can be read.
    """
    rows = [_row(grey, steps) for label in CLASSES if (grey := _first_readable(records, root, label)) is not None]
    if not rows:
        raise CxrflowError("images: no training image could be read for the picture of the steps.")
    write_whole(out, cv2.imencode(".png", _stacked(rows, axis=0))[1].tobytes())


def step_names(steps: Images) -> list[str]:
    """The columns of the picture, left to right."""
    square = f"top {steps.crop_top:.0%} off, centre square"
    stretched = [] if steps.harmonise == "none" else ["stretched"]
    changed = stretched + {"none": [], "clahe": ["CLAHE"], "global": ["equalised"]}[steps.equalise]
    equalised = [", ".join(changed)] if changed else []
    names = ["as read", *([*equalised, square] if steps.order == "equalise_first" else [square, *equalised])]
    if steps.lungs != "none":
        names.append("lungs found")
        used = {"mask": "lungs alone", "crop": "cropped to the lungs", "both": "cropped to the lungs, lungs alone"}
        names += [used[steps.lungs_use]] if steps.lungs_use in used else []
    return names


def _row(grey: np.ndarray, steps: Images) -> np.ndarray:
    picture = to_uint8(grey)
    window = centre_square(picture.shape, steps.crop_top)
    pictures = [picture]
    if (steps.equalise, steps.harmonise) != ("none", "none"):
        if steps.order == "equalise_first":
            pictures.append(equalise_as_the_paper(harmonise(picture, steps), steps))
        else:
            pictures.append(shrink(cut(picture, window), steps.size))
    pictures.append(render(picture, window, steps))
    if steps.lungs != "none":
        found = prepare_image(grey, steps.model_copy(update={"lungs_use": "store"}))
        if found.lungs is not None:
            pictures.append(outlined(found.image, found.lungs))
        if steps.lungs_use != "store":
            pictures.append(prepare_image(grey, steps).image)
    return _stacked([_boxed(each) for each in pictures], axis=1)


def outlined(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A uint8 picture with the border of a bool mask of its shape drawn white."""
    border = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    return np.where(border > 0, 255, image).astype(np.uint8)


def _first_readable(records: pd.DataFrame, root: Path, label: str) -> np.ndarray | None:
    for path in records.path[(records.label == label) & (records.split == "train")]:
        folder, _, rest = path.partition("/")
        try:
            return read_radiograph(below(root / folder, rest))
        except LeftOut:
            continue
    return None


def _boxed(picture: np.ndarray) -> np.ndarray:
    """Fit a picture into a square of _SIDE, the rest white."""
    scale = _SIDE / max(picture.shape)
    height, width = (max(1, round(side * scale)) for side in picture.shape)
    small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    box = np.full((_SIDE, _SIDE), 255, dtype=np.uint8)
    top, left = (_SIDE - height) // 2, (_SIDE - width) // 2
    box[top : top + height, left : left + width] = small
    return box


def _stacked(pictures: list[np.ndarray], axis: int) -> np.ndarray:
    gap = list(pictures[0].shape)
    gap[axis] = _GAP
    between = np.full(gap, 255, dtype=np.uint8)
    return np.concatenate([part for p in pictures for part in (between, p)][1:], axis=axis)
