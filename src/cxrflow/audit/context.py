"""The input that all tests of the audit share."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrflow.audit.heat import Heat, heat_of
from cxrflow.audit.marks import Marks, find_marks
from cxrflow.audit.pictures import Pictures, evenly, take
from cxrflow.dataset import Dataset
from cxrflow.evaluation.baseline import baseline_probabilities, fit_baseline
from cxrflow.evaluation.differences import differences
from cxrflow.explanation.explain import predicted_images
from cxrflow.explanation.heat import HeatMaps
from cxrflow.explanation.masks import Masks
from cxrflow.params import Params
from cxrflow.predictor import Predictor, Views
from cxrflow.statistics.figure import Figure
from cxrflow.statistics.resampling import Bootstrap
from cxrflow.statistics.scored import Scored
from cxrflow.task import Task

#: At most this many pictures of a split, evenly spaced, are probed and changed.
_MOST = 2000


@dataclass
class Audited:
    """A network and its data. What several tests need is computed on first use and cached.

    dataset      images of all splits; figures are of test, probes and networks are fitted on train and val
    predictions  the table that evaluation wrote (evaluation/predictions.py)
    root         folder of the collections, with the true opacities of demo data
    out          folder for the audit's files
    ledger       file that counts looks at test sets; networks that a test trains are scored on test, too
    claims       number of figures whose intervals hold together with 95 % (``verdicts.simultaneous``); the audit sets
                 it to that of all its tests that apply
    """

    predictor: Predictor
    dataset: Dataset
    predictions: pd.DataFrame
    params: Params
    root: Path
    out: Path
    ledger: Path
    claims: int = 1

    def check(self) -> None:
        """Raise CxrflowError if the data set's task is not the bundle's, if the images were prepared by other steps
        than the bundle's, or if the predictions are of other images."""
        self.predictor.check_task(self.task)
        HeatMaps.of(self.predictor, self.dataset)
        predicted_images(self.dataset, self.predictions)

    @property
    def task(self) -> Task:
        """The classes of the data set's labels."""
        return self.dataset.task

    @property
    def seed(self) -> int:
        """Seed of every random choice except in training."""
        return self.params.evaluation.seed

    @property
    def bootstrap(self) -> Bootstrap:
        """Resamples of groups for intervals."""
        return Bootstrap(self.params.evaluation.bootstrap, self.seed)

    @cached_property
    def train(self) -> Dataset:
        """Images of split train, at most _MOST."""
        train = self.dataset.split("train")
        return train.where(evenly(len(train), _MOST))

    @cached_property
    def test(self) -> Dataset:
        """Images of split test, at most _MOST."""
        test = self.dataset.split("test")
        return test.where(evenly(len(test), _MOST))

    @cached_property
    def views(self) -> list[Pictures]:
        """The pictures of ``test`` for each of the bundle's image steps."""
        return [take(view, view.size) for view in self._maps.views]

    @cached_property
    def shown(self) -> Pictures:
        """Some pictures of ``test`` as heat maps show them (``HeatMaps.canvas``)."""
        at = evenly(len(self.test), self.params.audit.heat_maps)
        return take(self._maps.where(at).canvas, self._maps.canvas.size)

    @cached_property
    def heat(self) -> Heat:
        """Heat maps of ``shown``."""
        return heat_of(self._maps.where(evenly(len(self.test), self.params.audit.heat_maps)), self.seed)

    @cached_property
    def marks(self) -> Marks:
        """Pictures of ``test`` in which it is known where the disease shows, a third as many as ``shown`` at most:
        occlusion maps take long."""
        return find_marks(self._maps, self._masks, -(-self.params.audit.heat_maps // 3))

    @property
    def marked_by(self) -> str:
        """What ``marks`` holds, in words."""
        return "the true opacity" if self._masks.drawn else "a radiologist's box"

    @cached_property
    def _maps(self) -> HeatMaps:
        return HeatMaps.of(self.predictor, self.test)

    @property
    def _masks(self) -> Masks:
        return Masks(self._maps.canvas, self.root)

    @cached_property
    def predicted(self) -> Dataset:
        """The images of ``predictions``, in its order."""
        return predicted_images(self.dataset, self.predictions)

    @cached_property
    def scored(self) -> Scored:
        """The predictions, with their labels, sources and groups."""
        probabilities = self.predictions[list(self.task.order)].to_numpy(np.float64)
        return Scored(self.task, self.predictions, probabilities, self.bootstrap)

    @cached_property
    def table(self) -> Scored:
        """The same images, scored by the baseline without a pixel (evaluation/baseline.py), learned from train."""
        fitted = fit_baseline(self.dataset.split("train").records)
        blind = baseline_probabilities(fitted, self.predicted.records, self.task)
        return Scored(self.task, self.predictions, np.asarray(blind), self.bootstrap)

    @cached_property
    def compared(self) -> dict[str, Figure]:
        """The macro AUROC of the table (``a``) and of the network (``b``), and the ``difference``, b - a."""
        return differences(self.table, self.scored, (None, None))["macro_auroc"]

    def scores(self, views: Views) -> NDArray[np.float64]:
        """Probabilities of prepared pictures, for each of ``views`` uint8 (n, size, size): float64 (n, classes) in the
        order of ``task``."""
        columns = [self.predictor.bundle.task.order.index(name) for name in self.task.order]
        return np.asarray(self.predictor.scores(views)[:, columns])
