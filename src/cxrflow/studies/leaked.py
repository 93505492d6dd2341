"""The leaks of the paper's protocol: their definitions, and the comparison of figures with and without a leak."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from cxrflow.files import digest
from cxrflow.statistics.figure import Figure, missing
from cxrflow.statistics.resampling import LEAST_GROUPS, effective_groups, resamples, too_few_groups
from cxrflow.statistics.scored import Scored
from cxrflow.statistics.within import stratified_auroc
from cxrflow.task import Task

#: Share of the images that the paper trained on, and so the probability that another row of an image is in training.
_TRAINED = 0.8


class Leak(NamedTuple):
    """One way in which test images influence training.

    learned    test data in training: ``patients``, other images of the tested groups; ``rows``, the tested images
               themselves, if their collection lists them in several rows
    choose     the split on which the epoch is chosen: ``val`` or ``test``
    augmented  whether the test images are augmented at random
    seed       added to the training seed
    """

    learned: tuple[str, ...] = ()
    choose: str = "val"
    augmented: bool = False
    seed: int = 0


#: All are compared with the first; the second shows the effect of another training seed alone.
LEAKS = {
    "none": Leak(),
    "none, another seed": Leak(seed=1000),
    "split by image": Leak(learned=("patients",)),
    "rows taken for images": Leak(learned=("rows",)),
    "epoch chosen on test": Leak(choose="test"),
    "test images augmented": Leak(augmented=True),
    "all four": Leak(("patients", "rows"), "test", augmented=True),
}


def given_away(table: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether an image is given away to training, bool (n,): half of each group's images, rounded down, chosen by hash.
    The leak ``patients`` trains on them; no network is tested on them.

    table  columns image_id, group_id
    """
    order = table.image_id.map(digest).groupby(table.group_id).rank()
    return np.asarray(order <= table.groupby("group_id").image_id.transform("size") // 2)


def listed_again(table: pd.DataFrame, rows: pd.Series, seed: int) -> NDArray[np.bool_]:
    """Whether a split by row, not by image, would put another row of an image in training; drawn at random, bool (n,).

    table  column image_id
    rows   number of rows of each image in its collection's table, by image_id; images not listed have one row
    """
    others = table.image_id.map(rows).fillna(1).to_numpy() - 1
    return np.asarray(np.random.default_rng(seed).random(len(table)) < 1 - (1 - _TRAINED) ** others)


def exchanged(learned: pd.DataFrame, leaked: pd.DataFrame) -> pd.DataFrame:
    """``learned`` with the rows ``leaked`` added, and as many rows of the same class removed, first from the same
    source, then from others. Rows are removed group by group, in the order of a hash.

    Both have the columns label, source and group_id. The result has as many rows as ``learned``, provided that
    ``learned`` has at least as many rows of each class as ``leaked``.
    """
    left = learned.assign(order=learned.group_id.map(digest)).reset_index(drop=True)
    for (source, label), rows in leaked.groupby(["source", "label"]):
        of_class = left[left.label == label]
        leaving = of_class.assign(other=of_class.source != source).sort_values(["other", "order"])
        left = left.drop(leaving.index[: len(rows)])
    return pd.concat([left.drop(columns="order"), leaked])


def figure_names(task: Task) -> dict[str, str]:
    """The keys of the figures of ``compared``, and their names for the reader."""
    pairs = {f"{a}_vs_{b}": f"{task.names[a]} vs {task.names[b]} within sources" for a, b in task.pairs}
    return {"macro_auroc": "macro AUROC", "positive_auroc": f"{task.positive_name} AUROC"} | pairs


def compared(honest: Scored, leaky: Scored) -> dict[str, dict[str, Figure]]:
    """``macro_auroc``, ``positive_auroc`` and, for each pair of classes, ``<a>_vs_<b>`` within sources: for each the
    ``figure`` with the leak, and its ``difference`` from the figure without it.

    honest, leaky  the same images in the same order, scored without and with the leak: one row for each image and seed,
                   with the column fold (each seed has its own folds). Images are compared within a fold, since two
                   networks may be calibrated differently, and pairs of classes also within a source; folds and sources
                   are weighted by their number of pairs.

    The 95 % intervals are value +- t times the standard error of a bootstrap over groups, the same resamples for both,
    so that differences are paired (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13), with t
    for the effective number of groups of the rarest class. They hold for these networks, and do not include the
    variation between trainings. A pair is missing if no source has both classes in one fold; all figures are missing
    if a class has fewer than four effective groups.
    """
    task, groups = leaky.task, leaky.groups
    sides = [leaky.labels == name for name in task.order]
    rarest = min(effective_groups(groups[side]) for side in sides)
    if rarest < LEAST_GROUPS:
        none = missing(too_few_groups(int(rarest)))
        return {key: {"figure": none, "difference": none} for key in figure_names(task)}
    every = [np.ones((1, len(leaky)), dtype=np.int64), *resamples(sides, groups, leaky.bootstrap)]
    without, drawn = (np.concatenate([_areas(scored, weights) for weights in every]) for scored in (honest, leaky))
    t = stats.t.ppf(0.975, rarest - 1)
    n, count = leaky.table.image_id.nunique(), leaky.table.group_id.nunique()

    def figure(draws: NDArray[np.float64], lowest: float) -> Figure:
        value = float(draws[0])
        if np.isnan(value):
            return missing("no fold, or no source in one fold, has images of both sides")
        half = float(t * np.nanstd(draws[1:], ddof=1))
        return Figure(value, max(value - half, lowest), min(value + half, 1.0), n, count)

    return {
        key: {"figure": figure(drawn[:, k], 0.0), "difference": figure((drawn - without)[:, k], -1.0)}
        for k, key in enumerate(figure_names(task))
    }


def _areas(scored: Scored, weights: NDArray[Any]) -> NDArray[np.float64]:
    """The figures of ``figure_names`` under each row of weights (b, n): float64 (b, figures)."""
    task, labels, fold = scored.task, scored.labels, scored.table.fold.to_numpy(str)
    p = scored.probabilities
    aurocs = [stratified_auroc(p[:, c], labels == name, fold, weights) for c, name in enumerate(task.order)]
    strata = np.char.add(np.char.add(fold, " "), scored.sources)
    within = []
    for a, b in task.pairs:
        among = scored.among(a, b)
        share = scored.share(a, b)[among]
        within.append(stratified_auroc(share, labels[among] == a, strata[among], weights[:, among]))
    return np.stack([np.mean(aurocs, axis=0), aurocs[task.positive_column], *within], axis=1)
