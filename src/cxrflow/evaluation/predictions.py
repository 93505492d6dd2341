"""``predictions.csv``: the images of an evaluation with their probabilities, which later stages read."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrflow.csv_files import read_csv, to_csv
from cxrflow.dataset import Dataset
from cxrflow.errors import CxrflowError
from cxrflow.files import write_whole

COLUMNS = ["image_id", "source", "group_id", "label"]


def write_predictions(dataset: Dataset, probabilities: NDArray[np.floating[Any]], path: Path, **more: Any) -> None:
    """Write image_id, source, group_id and label of each image, the columns ``more``, and its probabilities as CSV.

    probabilities  float (n, classes) in the order of the task; NaN for an image that was not scored. They are written
                   with nine significant digits even if tiny, because within sources the order of two probabilities near
                   0 matters.
    """
    table = dataset.records[COLUMNS].assign(**more)
    table[list(dataset.task.order)] = probabilities
    write_whole(path, to_csv(table, float_format="%.9g"))


def read_predictions(path: Path) -> pd.DataFrame:
    """Read a file of ``write_predictions``, text columns as ``str``. Raises CxrflowError if it does not exist."""
    try:
        return read_csv(path, dict.fromkeys(COLUMNS, str))
    except OSError:
        raise CxrflowError(f"{path}: no predictions there; run `cxrflow evaluation`.") from None
