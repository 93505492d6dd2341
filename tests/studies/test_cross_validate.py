"""Out of fold: each image once, by a network that has seen nobody of its group."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from cxrflow.bundle_files import read_trained_on
from cxrflow.dataset import Dataset
from cxrflow.params import Params
from cxrflow.studies import cross_validate as module
from cxrflow.studies.cross_validate import cross_validate
from cxrflow.task import Task


def expected_error(sure: np.ndarray, right: np.ndarray, classes: int) -> float:
    """The expected calibration error over ten bins of [1 / classes, 1], bin by bin."""
    place = np.minimum(((sure - 1 / classes) / (1 - 1 / classes) * 10).astype(int), 9)
    here = [place == b for b in set(place)]
    return sum(abs(right[bin].mean() - sure[bin].mean()) * bin.mean() for bin in here)


def within_folds(table: pd.DataFrame, a: str, b: str) -> float:
    """The share of pairs of images of classes a and b of one fold that are in the right order, counted one by one."""
    won = pairs = 0.0
    share = (table[a] / (table[a] + table[b])).to_numpy()
    for fold in (0, 1):
        yes, no = (share[(table.fold == fold) & (table.label == name)] for name in (a, b))
        won += (yes[:, None] > no).sum() + (yes[:, None] == no).sum() / 2
        pairs += len(yes) * len(no)
    return won / pairs


def test_every_image_is_scored_by_a_network_without_its_group(
    drawn_set: Callable[..., Dataset], short: Callable[..., Params], task: Task, tmp_path: Path
) -> None:
    count = 150
    labels = np.random.default_rng(0).integers(0, 3, count)
    dataset = drawn_set(
        task, [("x", task.order[label], 1) for label in labels], group_id=[f"p{k // 2}" for k in range(count)]
    )
    params, records = short(epochs=2, batch_size=8, learning_rate=0.005), dataset.records

    def run() -> dict:
        return cross_validate(dataset, params, 2, tmp_path / "out", tmp_path / "ledger.csv")

    figures = run()
    assert figures["n"] == count
    assert figures["test"]["macro_auroc"].value > 0.8
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert table[list(task.order)].sum(axis=1).to_numpy() == pytest.approx(np.ones(count), abs=1e-4)
    for fold in (0, 1):
        seen = set(read_trained_on(tmp_path / "out" / f"fold{fold}" / "bundle").content_hash)
        held_out = set(records.content_hash[table.fold.to_numpy() == fold])
        assert seen | held_out == set(records.content_hash)
        assert not seen & held_out
    assert table.groupby("group_id").fold.nunique().eq(1).all()
    assert len(pd.read_csv(tmp_path / "ledger.csv")) == 1
    for a, b in task.pairs:
        assert figures["within_folds"]["x"][f"{a}_vs_{b}"].value == pytest.approx(within_folds(table, a, b))
    at = figures["at_specificity"]
    scores, positive = table[task.positive], table.label == task.positive
    others = np.sort(scores[~positive])[::-1]
    assert at["wanted"] == 0.98
    assert at["roc"].value == pytest.approx((scores[positive] > others[int(0.02 * len(others))]).mean(), abs=0.05)
    assert at["specificity"].value > 0.9
    assert at["sensitivity"].low <= at["sensitivity"].value <= at["sensitivity"].high
    before = (tmp_path / "out" / "fold0" / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    assert run() == figures
    assert (tmp_path / "out" / "fold0" / "checkpoints" / "last.ckpt").stat().st_mtime_ns == before
    assert len(pd.read_csv(tmp_path / "ledger.csv")) == 1


@pytest.mark.parametrize("name", ["two_classes", "four_classes"])
def test_two_classes_and_four_have_their_own_figures(
    name: str,
    drawn_set: Callable[..., Dataset],
    short: Callable[..., Params],
    untrained: Callable[[ModuleType], list[Dataset]],
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    task = request.getfixturevalue(name)
    dataset = drawn_set(task, [("x", label, 30) for label in task.order])
    given = untrained(module)
    figures = cross_validate(dataset, short(task), 2, tmp_path / "out", tmp_path / "ledger.csv")
    assert len(given) == 2
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    one_against_rest = [roc_auc_score(table.label == label, table[label]) for label in task.order]
    assert figures["test"]["macro_auroc"].value == pytest.approx(np.mean(one_against_rest))
    assert list(figures["within_folds"]["x"]) == [f"{a}_vs_{b}" for a, b in task.pairs]
    for a, b in task.pairs:
        assert figures["within_folds"]["x"][f"{a}_vs_{b}"].value == pytest.approx(within_folds(table, a, b))
    assert figures["at_specificity"]["sensitivity"].n == 30
    assert figures["at_specificity"]["specificity"].n == 30 * (len(task.order) - 1)
    blind, difference = (figures["baseline"][key] for key in ("macro_auroc", "difference"))
    assert difference.value == pytest.approx(figures["test"]["macro_auroc"].value - blind.value)
    sure = table[list(task.order)].to_numpy()
    answered = sure.argmax(axis=1) == task.numbers(table.label)
    assert figures["calibration"]["ece"] == pytest.approx(expected_error(sure.max(axis=1), answered, len(task.order)))


def test_children_are_learned_from_in_every_fold_and_scored_in_none(
    drawn_set: Callable[..., Dataset],
    short: Callable[..., Params],
    untrained: Callable[[ModuleType], list[Dataset]],
    task: Task,
    tmp_path: Path,
) -> None:
    dataset = drawn_set(task, [("x", label, 40) for label in task.order] * 2, paediatric=np.arange(240) < 20)
    given, params = untrained(module), short()
    with_children = params.metadata.model_copy(update={"paediatric": "train"})
    params = params.model_copy(update={"metadata": with_children})
    cross_validate(dataset, params, 2, tmp_path, tmp_path / "ledger.csv")
    children = dataset.records.image_id[:20]
    assert set(pd.read_csv(tmp_path / "predictions.csv").image_id) == set(dataset.records.image_id[20:])
    for learned in given:
        assert set(learned.records.split[learned.records.image_id.isin(children)]) == {"train"}
        assert set(children) <= set(learned.records.image_id)
        assert set(learned.records.split) == {"train", "val"}


def test_the_sharpness_that_fits_is_found_outside_the_test_split(drawn_set: Callable[..., Dataset], task: Task) -> None:
    """Labels drawn with probabilities whose square roots, normalised, are the means: a sharpness of 2 calibrates them.
    The images of the split test, all labelled wrongly, have no part in it."""
    random, count = np.random.default_rng(0), 6000
    right = random.dirichlet(np.ones(3), count)
    labels = [task.order[random.choice(3, p=row)] for row in right[:-1000]]
    labels += [task.order[int(row.argmin())] for row in right[-1000:]]
    means = np.sqrt(right)
    means /= means.sum(axis=1, keepdims=True)
    split = ["train"] * (count - 1000) + ["test"] * 1000
    dataset = drawn_set(task, [("x", label, 1) for label in labels], split=split)
    found = module._sharpness(dataset, means, 1.5)
    assert found["in_use"] == 1.5
    assert found["fits"] == pytest.approx(2, abs=0.1)
    alone = dataset.where(dataset.records.split == "test")
    assert module._sharpness(alone, means[-1000:], 1.5)["fits"] is None
