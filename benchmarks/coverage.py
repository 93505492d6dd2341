"""Coverage of prediction sets, and specificity, by simulation of the whole procedure:

    python benchmarks/coverage.py [--draws 200]

Drawn patients of three classes with 1 to 4 similar images each; a softmax regression learns by gradient descent, and
its epochs stand for those of a network. Three procedures:

    val, chosen  one network; val (3 of 16 groups) chooses the epoch, fits the temperature and calibrates
    val, last    the same without the choice of an epoch
    4 folds      four networks, each leaves out a fold (training.folds: 4) and takes its last epoch; CV+

Printed are, on new patients: the share of images whose set holds the true class (wanted: 0.90), a mean over classes and
draws with its standard error; the mean size of the sets; and specificity and sensitivity at the threshold chosen for a
specificity of 0.95.
"""

import argparse
import itertools
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.random import Generator
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from tables import table, track

from cxrflow.bundle import PredictionSets
from cxrflow.evaluation.conformal import fit_cross_sets, fit_sets
from cxrflow.evaluation.operating import threshold_for_specificity
from cxrflow.statistics.resampling import Bootstrap
from cxrflow.statistics.scored import Scored
from cxrflow.task import Task
from cxrflow.training.fit import fit_temperature

TASK = Task(classes={"a": ("mass",), "b": ("nodule",), "c": ("no finding",)}, positive="a")
GROUPS = (20, 50, 100, 200)  # of each class, in train and val
COVERAGE, SPECIFICITY, FOLDS, EPOCHS, NEW = 0.9, 0.95, 4, 14, 1000
_FEATURES, _SIGNAL = 12, 0.8


class Study(NamedTuple):
    """Images: features float (n, k), class int (n,), group int (n,)."""

    features: NDArray[np.float64]
    truth: NDArray[np.int64]
    group: NDArray[np.int64]

    def where(self, chosen: NDArray[np.bool_]) -> "Study":
        """The chosen images."""
        return Study(*(column[chosen] for column in self))


class Answer(NamedTuple):
    """Of new images: the classes in their sets, bool (n, 3), and whether they are called positive, bool (n,)."""

    held: NDArray[np.bool_]
    called: NDArray[np.bool_]


def draw(groups: int, rng: Generator, most: int = 4) -> Study:
    """``groups`` patients of each class."""
    truth = np.repeat(np.arange(3), groups)
    own = rng.normal(size=(len(truth), _FEATURES)) + _SIGNAL * np.eye(3, _FEATURES)[truth]
    index = np.repeat(np.arange(len(truth)), rng.integers(1, most + 1, len(truth)))
    return Study(own[index] + 0.4 * rng.normal(size=(len(index), _FEATURES)), truth[index], index)


def learn(train: Study) -> list[NDArray[np.float64]]:
    """The weights after each epoch, float (features, 3)."""
    weights, epochs = np.zeros((_FEATURES, 3)), []
    for _ in range(EPOCHS):
        for _ in range(5):
            gap = softmax(train.features @ weights) - np.eye(3)[train.truth]
            weights = weights - 1.5 * train.features.T @ gap / len(gap)
        epochs.append(weights)
    return epochs


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities, float (n, 3)."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def scored(study: Study, probabilities: NDArray[np.float64]) -> Scored:
    """A study's images with probabilities."""
    labels = np.array(TASK.order)[study.truth]
    table = pd.DataFrame({"label": labels, "group_id": study.group.astype(str), "source": "drawn"})
    return Scored(TASK, table, probabilities, Bootstrap(100, 1))


def temperature_of(weights: NDArray[np.float64], left_out: Study) -> float:
    """The temperature of weights on images that were left out."""
    return fit_temperature(left_out.features @ weights, left_out.truth)


def answer(sets: PredictionSets, known: Scored, by_fold: NDArray[np.float64]) -> Answer:
    """Sets, and calls at the threshold for SPECIFICITY on ``known``."""
    threshold = threshold_for_specificity(known.positive_scores, known.positive, SPECIFICITY)
    return Answer(sets.held(by_fold, TASK.order), by_fold.mean(axis=0)[:, 0] >= threshold)


def by_val(study: Study, new: Study, rng: Generator, choose: bool) -> Answer:
    """What is said of new images by one network, calibrated on val."""
    groups = (study.group.max() + 1) // 3  # of each class, one class after the other
    in_val = np.concatenate([rng.permutation(groups) * 16 < 3 * groups for _ in TASK.order])
    val = study.where(in_val[study.group])
    epochs = learn(study.where(~in_val[study.group]))
    areas = [roc_auc_score(val.truth, softmax(val.features @ w), multi_class="ovr", average="macro") for w in epochs]
    weights = epochs[int(np.argmax(areas)) if choose else -1]
    heat = temperature_of(weights, val)
    known = scored(val, softmax(val.features @ weights / heat))
    asked = softmax(new.features @ weights / heat)[None]
    return answer(fit_sets(known, COVERAGE), known, asked)


def by_folds(study: Study, new: Study, rng: Generator) -> Answer:
    """What is said of new images by four networks, calibrated by what each left out."""
    fold = rng.integers(0, FOLDS, study.group.max() + 1)[study.group]
    left_out, asked = np.empty((len(fold), 3)), []
    for k in range(FOLDS):
        inside = study.where(fold == k)
        weights = learn(study.where(fold != k))[-1]
        heat = temperature_of(weights, inside)
        left_out[fold == k] = softmax(inside.features @ weights / heat)
        asked.append(softmax(new.features @ weights / heat))
    known = scored(study, left_out)
    return answer(fit_cross_sets(known, fold, FOLDS, COVERAGE), known, np.stack(asked))


PROCEDURES: dict[str, Callable[[Study, Study, Generator], Answer]] = {
    "val, chosen": partial(by_val, choose=True),
    "val, last": partial(by_val, choose=False),
    "4 folds": by_folds,
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=200)
    asked = parser.parse_args()
    shown = []
    for groups, name in track(list(itertools.product(GROUPS, PROCEDURES)), "coverage"):
        rows = []
        for number in range(asked.draws):
            rng = np.random.default_rng([groups, number])
            study, new = draw(groups, rng), draw(NEW, rng, most=1)
            said = PROCEDURES[name](study, new, rng)
            covered, ill = said.held[np.arange(len(new.truth)), new.truth], new.truth == 0
            size = said.held.sum(axis=1).mean()
            rows.append((covered.mean(), size, 1 - said.called[~ill].mean(), said.called[ill].mean()))
        mean, error = np.mean(rows, axis=0), np.std(rows, axis=0, ddof=1) / np.sqrt(asked.draws)
        covered_in, size, *called = (f"{m:.3f} ({e:.3f})" for m, e in zip(mean, error, strict=True))
        shown.append((groups, name, covered_in, size[:4], *called))
    first = "groups of each class in train and val", "procedure"
    table((*first, "coverage", "classes in a set", "specificity", "sensitivity"), shown)


if __name__ == "__main__":
    main()
