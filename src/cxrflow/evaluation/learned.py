"""Whether a test set shows that a network has learned anything, and whether it calls nearly everything one class."""

from collections.abc import Sequence

import numpy as np

from cxrflow.statistics.figure import Figure, in_words
from cxrflow.task import Task

CHANCE = 0.5
#: A class is named that at least this share of the images is called, if ``_MORE`` of them more than are of the class.
_NEARLY_ALL, _MORE = 0.8, 0.1


def not_learned(network: Figure, gain: Figure) -> str | None:
    """Why a test set does not show that a network tells the classes by the pictures, as a clause; None if it does, with
    the whole interval of both figures.

    network  its macro AUROC
    gain     its macro AUROC minus that of the table without a pixel, paired; ignored if it is missing
    """
    if not network.known:
        return f"its macro AUROC cannot be measured ({network.reason})"
    of = f"its macro AUROC, {in_words(network)}, is"
    if network.high < CHANCE:
        return f"{of} below chance, {CHANCE:.2f}: it ranks the classes the wrong way round"
    if network.low <= CHANCE:
        return f"{of} not above chance, {CHANCE:.2f}, with the whole interval"
    if gain.known and gain.low <= 0:
        return f"{of} not above that of a table without a pixel: the difference is {in_words(gain)}"
    return None


def called_one_class(counts: Sequence[Sequence[int]], task: Task) -> str | None:
    """Whether every image, or nearly every image, is called one class, which fewer images are of, as a clause such as
    ``it calls every image normal``; else None.

    counts  confusion matrix, true class on rows, in the order of the task
    """
    table = np.asarray(counts)
    called, are = table.sum(axis=0) / table.sum(), table.sum(axis=1) / table.sum()
    most = int(called.argmax())
    name = task.names[task.order[most]]
    if called[most] == 1 and are[most] < 1:
        return f"it calls every image {name}"
    if called[most] >= _NEARLY_ALL and called[most] >= are[most] + _MORE:
        return f"it calls {100 * called[most]:.0f} % of the images {name} ({100 * are[most]:.0f} % are)"
    return None
