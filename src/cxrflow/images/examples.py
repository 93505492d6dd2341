"""A figure that shows the effect of the image steps on one radiograph of each class."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from cxrflow.errors import CxrflowError, LeftOut
from cxrflow.files import Root, write_whole
from cxrflow.images.registry import steps_in_force, views
from cxrflow.params import Images
from cxrflow.reading import read_radiograph
from cxrflow.task import Task

_SIDE = 256
_GAP = 6


def write_examples(records: pd.DataFrame, root: Root, images: Images, task: Task, out: Path) -> None:
    """Write the figure as PNG: one row per class, in the order of the task; one column per step (``step_names``).

    records  kept rows; of each class, the first readable training image is shown, never a test image
    root     where their paths lead
    Raises CxrflowError if no training image can be read.
    """
    readable = (_first_readable(records, root, label) for label in task.order)
    rows = [_row(grey, images) for grey in readable if grey is not None]
    if not rows:
        raise CxrflowError("images: no training image could be read for the figure of the image steps.")
    write_whole(out, cv2.imencode(".png", _stacked(rows, axis=0))[1].tobytes())


def examples_file(number: int) -> str:
    """Name of the figure of a set of image steps, from 0."""
    return f"examples-{number + 1}.png" if number else "examples.png"


def step_names(images: Images) -> list[str]:
    """Titles of the figure's columns, left to right."""
    parameters = images.model_dump()
    return ["as read", *(step.name.format(**parameters).replace("%", " %") for step in steps_in_force(images))]


def _row(grey: np.ndarray, images: Images) -> np.ndarray:
    shown = [view.image if step is None else step.show(view) for step, view in views(grey, images)]
    return _stacked([_boxed(picture) for picture in shown], axis=1)


def _first_readable(records: pd.DataFrame, root: Root, label: str) -> np.ndarray | None:
    for path in records.path[(records.label == label) & (records.split == "train")]:
        try:
            return read_radiograph(root.file(path))
        except LeftOut:
            continue
    return None


def _boxed(picture: np.ndarray) -> np.ndarray:
    """The image scaled to fit a white square of side _SIDE."""
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
