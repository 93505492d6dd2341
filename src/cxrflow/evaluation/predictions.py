"""The table of scored images that evaluations leave behind, and from which later stages reckon."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrflow.files import write_whole
from cxrflow.records import CLASSES


def write_predictions(scored: pd.DataFrame, probabilities: NDArray[np.floating[Any]], path: Path, **more: Any) -> None:
    """Write image_id, source, group_id and label of each image, the columns ``more``, and its probabilities as CSV.

    probabilities  float (n, 3) in the order of CLASSES, or NaN where an image was not scored. They are written to nine
                   significant digits, however small: of a sure network whose probabilities of two classes are both
                   next to nothing, which of them is the greater must not be lost.
    """
    table = scored[["image_id", "source", "group_id", "label"]].assign(**more)
    table[list(CLASSES)] = probabilities
    write_whole(path, table.to_csv(index=False, lineterminator="\n", float_format="%.9g").encode())
