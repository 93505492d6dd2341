"""What each leak of the paper's protocol is worth: one at a time, on the same test images, by as many to learn from."""

from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import stats

from cxrflow.evaluation.ledger import test_set_hash
from cxrflow.evaluation.tables import as_text
from cxrflow.files import digest, write_json
from cxrflow.images.prepare import Store
from cxrflow.params import Augmentation, Evaluation, Images, Training
from cxrflow.predictor import Predictor
from cxrflow.records import CLASSES
from cxrflow.statistics.intervals import Figure
from cxrflow.statistics.resampling import effective_groups, resamples
from cxrflow.statistics.within import stratified_auroc
from cxrflow.studies.cross_validate import enter_together, folds_of, train_or_val
from cxrflow.training.augmentation import augment
from cxrflow.training.train import train

#: Share of the images that the paper trained on: of a row's other boxes each is among them with this chance.
_TRAINED = 0.8


class Leak(NamedTuple):
    """learned: what is learned from that should not be, other images of the patients tested or the rows of other boxes
    of the images tested; choose: the side that chooses the epoch; augmented: test images changed at random; seed: added
    to the training's."""

    learned: tuple[str, ...] = ()
    choose: str = "val"
    augmented: bool = False
    seed: int = 0


#: The first is what the others are compared with; the second shows what training again alone changes.
LEAKS = {
    "none": Leak(),
    "none, another seed": Leak(seed=1000),
    "split by image": Leak(learned=("patients",)),
    "rows taken for images": Leak(learned=("rows",)),
    "epoch chosen on test": Leak(choose="test"),
    "test images augmented": Leak(augmented=True),
    "all four": Leak(("patients", "rows"), "test", augmented=True),
}
_FIGURES = ("macro_auroc", "covid_auroc", "within_sources")


def given_away(table: pd.DataFrame) -> NDArray[np.bool_]:
    """Half of the images of each group that has several (rounded down, by a hash of the image), bool (n,): what a
    network that leaks patients may learn from, and no network is tested on.

    table  columns image_id, group_id
    """
    order = table.image_id.map(digest).groupby(table.group_id).rank()
    return (order <= table.groupby("group_id").image_id.transform("size") // 2).to_numpy()


def listed_again(table: pd.DataFrame, rows: pd.Series, seed: int) -> NDArray[np.bool_]:
    """Images of which a split of rows in place of images would train on another row, drawn at random, bool (n,).

    table  column image_id; rows  how many rows each image has in its collection's table, by image_id, one where unsaid
    """
    others = table.image_id.map(rows).fillna(1).to_numpy() - 1
    return np.random.default_rng(seed).random(len(table)) < 1 - (1 - _TRAINED) ** others


def exchanged(learned: pd.DataFrame, leaked: pd.DataFrame) -> pd.DataFrame:
    """``learned`` with the rows ``leaked`` in place of as many others: of the same class, and of the same source as
    long as there are any; whole groups leave one after the other, in the order of a hash.

    Both have the columns label, source and group_id; as many rows as ``learned`` are returned, as long as it holds as
    many of each class as ``leaked``.
    """
    left = learned.assign(order=learned.group_id.map(digest)).reset_index(drop=True)
    for (source, label), rows in leaked.groupby(["source", "label"]):
        of_class = left[left.label == label]
        leaving = of_class.assign(other=of_class.source != source).sort_values(["other", "order"])
        left = left.drop(leaving.index[: len(rows)])
    return pd.concat([left.drop(columns="order"), leaked])


def leaks(
    records: pd.DataFrame,
    only_training: NDArray[np.bool_],
    rows: pd.Series,
    store: Store,
    images: Images,
    training: Training,
    evaluation: Evaluation,
    count: int,
    seeds: int,
    out: Path,
) -> dict[str, Any]:
    """Train and test under each of LEAKS over ``count`` folds of the groups, each with ``seeds`` seeds.

    records  kept rows (columns of records.py); their own split is not used
    only_training  bool (n,): rows that every network learns from and none is tested on; groups whole
    rows     how many rows an image has in its collection's table, by image_id, where it is more than one
    out      ``fold0``, ``fold1``, ...: in each a training for what a leak changes of it, which goes on where it was
             interrupted; a file for each leak, the hashes of its networks and test set; a ledger of looks;
             ``metrics.json``, written after each leak
    Of the groups of a fold the images that ``given_away`` leaves are tested, the same under every leak. Returns
    ``tested``, ``groups`` and ``seeds``; ``by_leak``, for each its ``figures`` (``compared``, a fold of each seed for
    itself) and ``trained_on`` and ``shared``: images over the folds, and how many of those tested have another image of
    their group, or themselves, in training.
    Raises CxrflowError as ``train``.
    """
    usable = records.assign(alone=only_training)
    usable = usable[usable.image_id.isin(store.index.image_id[store.index.left_out.isna()])]
    children, adults = usable[usable.alone].assign(split="train"), usable[~usable.alone].reset_index(drop=True)
    fold, given = folds_of(adults.group_id, count), given_away(adults)
    divided = adults.assign(split=train_or_val(adults.group_id))
    tested = adults.assign(fold=fold)[~given].sort_values("fold", kind="stable")
    each_seed = pd.concat([tested.assign(fold=tested.fold + count * seed) for seed in range(seeds)])
    scores: dict[str, NDArray[np.float64]] = {}
    found: dict[str, Any] = {"tested": len(tested), "groups": int(tested.group_id.nunique()), "seeds": seeds}
    found["by_leak"] = {}
    for name, leak in LEAKS.items():
        Console().print(f"[bold]Leak {len(scores) + 1} of {len(LEAKS)}:[/bold] {name}")
        parts, weights, trained_on, shared = [], [], 0, 0
        for seed, number in product(range(seeds), range(count)):
            outside, test = pd.concat([divided[fold != number], children]), tested[tested.fold == number]
            again = test[listed_again(test, rows, number)]
            leaked = {"patients": divided[(fold == number) & given], "rows": again}
            learned = outside[outside.split == "train"]
            if leak.learned:
                learned = exchanged(learned, pd.concat([leaked[what] for what in leak.learned]).assign(split="train"))
            chosen_on = outside[outside.split == "val"] if leak.choose == "val" else test.assign(split="val")
            place = out / f"fold{number}" / "-".join([*leak.learned, leak.choose, str(leak.seed + seed)])
            recipe = training.model_copy(update={"seed": training.seed + leak.seed + seed})
            train(pd.concat([learned, chosen_on]), store, images, recipe, place)
            predictor = Predictor(place / "bundle")
            parts.append(_scores(predictor, store, test, training.augmentation if leak.augmented else None, number))
            weights.append(predictor.bundle.digests["weights"])
            trained_on += len(learned)
            shared += int(test.group_id.isin(learned.group_id).sum())
        scores[name] = np.concatenate(parts)
        about = out / f"{name.replace(' ', '-').replace(',', '')}.json"
        bundles = enter_together(weights, tested, about, out / "ledger.csv")
        write_json(about, {"test_set": {"hash": test_set_hash(tested), "bundle": bundles}})
        found["by_leak"][name] = {"trained_on": trained_on // seeds, "shared": shared // seeds}
        for each, figures in compared(each_seed, scores, evaluation.bootstrap, evaluation.seed).items():
            found["by_leak"][each]["figures"] = figures
        write_json(out / "metrics.json", found)
    return found


def compared(
    table: pd.DataFrame, scores: dict[str, NDArray[np.float64]], bootstrap: int, seed: int
) -> dict[str, dict[str, dict[str, Figure]]]:
    """For each entry of ``scores`` (float (n, 3), in the order of CLASSES) ``macro_auroc``, ``covid_auroc`` and
    ``within_sources`` (normal against pneumonia), each a ``figure`` and its ``difference`` from the first entry's.

    table  one row per image and seed: label, source, group_id, fold (of each seed its own). Images are compared within
           a fold, and for the last figure within a source too, weighted by their pairs: two networks need not agree on
           how sure they are.
    The 95 % intervals are value +- t times the standard error of a bootstrap over groups, the same resamples for all
    entries, so that differences are paired (Efron and Tibshirani 1993, chapter 13), with t for the effective number of
    groups of the rarest class. They hold for these networks: what another training changes is not in them.
    """
    sides, groups = [(table.label == name).to_numpy() for name in CLASSES], table.group_id.to_numpy(str)
    every = [np.ones((1, len(table)), dtype=np.int64), *resamples(sides, groups, bootstrap, seed)]
    drawn = {name: np.concatenate([_figures(table, p, weights) for weights in every]) for name, p in scores.items()}
    t = stats.t.ppf(0.975, min(effective_groups(groups[side]) for side in sides) - 1)
    first = next(iter(drawn.values()))

    def figure(draws: NDArray[np.float64], lowest: float) -> Figure:
        value, half = float(draws[0]), float(t * np.nanstd(draws[1:], ddof=1))
        return {"value": value, "low": max(value - half, lowest), "high": min(value + half, 1.0)}

    return {
        name: {
            which: {"figure": figure(draws[:, k], 0.0), "difference": figure((draws - first)[:, k], -1.0)}
            for k, which in enumerate(_FIGURES)
        }
        for name, draws in drawn.items()
    }


def print_leaks(found: dict[str, Any]) -> None:
    """Print what ``leaks`` gave: each figure without a leak, and what each leak adds to it."""
    table = Table("leak", "tested images shared", "macro AUROC", "COVID-19 AUROC", "normal vs pneumonia within sources")
    table.title = f"{found['tested']:,} test images of {found['groups']:,} groups, 95 % intervals by group"
    for number, (name, of_leak) in enumerate(found["by_leak"].items()):
        which = "difference" if number else "figure"
        shown = (as_text(of_leak["figures"][figure][which]) for figure in _FIGURES)
        table.add_row(name, str(of_leak["shared"]), *shown)
    Console().print(table)


def _figures(table: pd.DataFrame, p: NDArray[np.float64], weights: NDArray[Any]) -> NDArray[np.float64]:
    """The three figures under each row of weights (b, n), float64 (b, 3)."""
    labels, fold = table.label.to_numpy(str), table.fold.to_numpy(str)
    aurocs = [stratified_auroc(p[:, c], labels == name, fold, weights) for c, name in enumerate(CLASSES)]
    pair = labels != "covid"
    normal, pneumonia = (p[pair, CLASSES.index(name)] for name in ("normal", "pneumonia"))
    strata = np.char.add(np.char.add(fold, " "), table.source.to_numpy(str))[pair]
    share = normal / np.maximum(normal + pneumonia, np.finfo(float).tiny)
    within = stratified_auroc(share, labels[pair] == "normal", strata, weights[:, pair])
    return np.stack([np.mean(aurocs, axis=0), aurocs[CLASSES.index("covid")], within], axis=1)


def _scores(
    predictor: Predictor, store: Store, test: pd.DataFrame, changes: Augmentation | None, seed: int
) -> NDArray[np.float64]:
    """Softmax of the logits, float64 (n, 3), the temperature taken back: it is fitted on the side that chooses."""
    pixels = store.images[store.rows_of(test.image_id)]
    if changes:
        changed = augment(torch.tensor(pixels)[:, None].float() / 255, changes, torch.Generator().manual_seed(seed))
        pixels = (changed[:, 0] * 255).round().byte().numpy()
    raised = predictor.scores(pixels) ** predictor.bundle.temperature
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))
