"""The figures of each epoch while a training runs, in DVCLive's files, which ``dvc exp show``, ``dvc plots`` and DVC's
extension of Visual Studio Code read."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dvclive.live import Live

from cxrflow.training.callbacks import History

#: The columns of ``history.csv`` that are shown.
SHOWN = ("learning_rate", "train_loss", "val_loss", "val_macro_auroc")


class _Files(Live):
    """DVCLive without a repository: DVC itself records the experiment, and in a git repository without DVC, DVCLive
    would initialise it."""

    def _init_dvc(self) -> None:
        pass


class LiveMetrics:
    """Writes ``metrics.json``, the figures of the last epoch, and ``plots/metrics/<figure>.tsv``, those of each epoch.

    The files are always made from the whole history, which is in the checkpoints: a training that was killed between
    the two goes on without a missing or a repeated epoch. Therefore not Lightning's logger of DVCLive, which counts
    optimiser steps on from what it finds in the folder.

    folder   where these files are replaced
    several  whether there is more than one network; each then has a folder of its own, ``1``, ``2``, ...
    """

    def __init__(self, folder: Path, several: bool) -> None:
        # Read by DVCLive's client of DVC Studio, which otherwise sends each epoch there if the machine has a token.
        os.environ["DVC_STUDIO_OFFLINE"] = "true"
        self._live: Any = _Files(str(folder), save_dvc_exp=False, dvcyaml=False)
        self._several, self._logged = several, 0

    def log(self, histories: Sequence[History]) -> None:
        """Add the epochs that are not there yet, of the histories of all networks so far."""
        epochs = [(number, row) for number, history in enumerate(histories, start=1) for row in history]
        for number, row in epochs[self._logged :]:
            self._live.step = int(row["epoch"])
            for name in SHOWN:
                if math.isfinite(row.get(name, math.nan)):
                    self._live.log_metric(f"{number}/{name}" if self._several else name, row[name])
            self._live.next_step()
        self._logged = len(epochs)

    def end(self) -> None:
        """The training has ended; the files stay."""
        self._live.end()
