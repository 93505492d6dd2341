"""``predictions.csv``: the images of an evaluation with their probabilities, which later stages read."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrflow.csv_files import to_csv
from cxrflow.dataset import Dataset
from cxrflow.errors import CxrflowError
from cxrflow.files import write_whole
from cxrflow.state import Kind, number, one_of, read_table, text
from cxrflow.task import Task

COLUMNS = ["image_id", "source", "group_id", "label"]
_REMEDY = "run `cxrflow evaluation`"


def write_predictions(dataset: Dataset, probabilities: NDArray[np.floating[Any]], path: Path, **more: Any) -> None:
    """Write image_id, source, group_id and label of each image, the columns ``more``, and its probabilities as CSV.

    probabilities  float (n, classes) in the order of the task; NaN for an image that was not scored. They are written
                   with all their digits: rounded, two that differ may be equal, and a figure of ranks computed from
                   the file differs from the one in the report.
    """
    table = dataset.records[COLUMNS].assign(**more)
    table[list(dataset.task.order)] = probabilities
    write_whole(path, to_csv(table))


def read_predictions(path: Path, task: Task) -> pd.DataFrame:
    """Read a file of ``write_predictions`` for a task: text columns as ``str``, probabilities as float64.

    Raises CxrflowError if it does not exist, is damaged or of another task.
    """
    if not path.exists():
        raise CxrflowError(f"{path}: no predictions there; {_REMEDY}.")
    kinds: dict[str, Kind] = dict.fromkeys(COLUMNS, text(required=True)) | dict.fromkeys(task.order, number(0, 1))
    kinds |= {"label": one_of(*task.order, required=True)}
    table = read_table(path, kinds, _REMEDY, others=text())
    if (again := table.image_id.duplicated()).any():
        raise CxrflowError(f"{path}: damaged, {table.image_id[again].iloc[0]} is in two rows; {_REMEDY}.")
    if "prediction" in table and not table.prediction.isin(task.order).all():
        raise CxrflowError(f"{path}: damaged, a prediction is not one of {', '.join(task.order)}; {_REMEDY}.")
    return table
