"""Each source by a network that never saw it, or its people; figures against scikit-learn, gaps with their reasons."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from cxrflow.bundle_files import read_trained_on
from cxrflow.dataset import Dataset
from cxrflow.errors import CxrflowError
from cxrflow.params import Params
from cxrflow.statistics.figure import missing
from cxrflow.studies import leave_one_out as module
from cxrflow.studies.folds import train_or_val
from cxrflow.studies.leave_one_out import leave_one_out, print_leave_one_out
from cxrflow.task import Task


@pytest.fixture(scope="module")
def rare(task: Task) -> tuple[str, str, str]:
    """A class that few sources have, and the two others in their order."""
    others = [name for name in task.order if name != task.positive]
    return task.positive, others[0], others[1]


@pytest.fixture(scope="module")
def sources(drawn_set: Callable[..., Dataset], task: Task, rare: tuple[str, str, str]) -> Dataset:
    """x and y have all classes, z lacks the rare one, and shares its people with y; w has that one alone. x holds most
    of it: of what is left without x, val holds none."""
    first, second, third = rare
    plan = [("x", first, 40), ("x", second, 20), ("x", third, 20), ("y", first, 6), ("y", second, 20),
            ("y", third, 20), ("z", second, 20), ("z", third, 20), ("w", first, 3)]  # fmt: skip
    groups = [f"p{k}" for k in range(sum(count for *_, count in plan))]
    groups[126:136] = groups[86:96]  # the first ten of z are people of y
    return drawn_set(task, plan, group_id=groups)


def test_no_source_is_seen_by_its_own_network(
    sources: Dataset, short: Callable[..., Params], rare: tuple[str, str, str], tmp_path: Path, capsys
) -> None:
    records, task, (first, second, third) = sources.records, sources.task, rare

    def run() -> dict:
        return leave_one_out(sources, short(), tmp_path / "out", tmp_path / "ledger.csv")

    figures = run()
    assert list(figures["sources"]) == ["w", "x", "y", "z"]
    assert not (tmp_path / "out" / "w").exists()  # no figure to be had of one class
    for name in "yz":
        seen = set(read_trained_on(tmp_path / "out" / name / "bundle").content_hash)
        groups = set(records.group_id[records.source == name])
        assert seen == set(records.content_hash[~records.group_id.isin(groups)])
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    z = table[(table.source == "z")]
    pair = f"{second}_vs_{third}"
    area = roc_auc_score(z.label == second, z[second] / (z[second] + z[third]))
    assert figures["sources"]["z"][pair].value == pytest.approx(area)
    assert figures["sources"]["y"]["trained_on"][first] == 43
    with_rare = [f"{a}_vs_{b}" for a, b in task.pairs if first in (a, b)]
    said = {name: task.names[name] for name in task.order}
    assert figures["sources"]["z"][with_rare[0]] == missing(f"z has no {said[first]} image")
    assert figures["sources"]["w"][pair] == missing(f"w has no {said[second]} image")
    for key in with_rare:
        reason = f"without x there is no {said[first]} to choose the epoch on"
        assert figures["sources"]["x"][key] == missing(reason)
        assert figures["all"][key].n == 26  # of y alone
    assert figures["all"][pair].n == 120
    assert len(pd.read_csv(tmp_path / "ledger.csv")) == 1
    before = (tmp_path / "out" / "y" / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    assert run() == figures
    assert (tmp_path / "out" / "y" / "checkpoints" / "last.ckpt").stat().st_mtime_ns == before
    assert len(pd.read_csv(tmp_path / "ledger.csv")) == 1
    print_leave_one_out(figures, task)
    printed = capsys.readouterr().out
    assert "never saw it" in printed
    assert f"{said[second]} vs {said[third]}" in printed


def test_a_class_that_only_the_source_left_out_has_does_not_take_the_others_away(
    sources: Dataset, short: Callable[..., Params], rare: tuple[str, str, str], tmp_path: Path
) -> None:
    """Without x nothing of the rare class is left: the others are told apart all the same, by a network that has seen
    nothing of it, and as well as any of these plain pictures."""
    records, task, (first, second, third) = sources.records, sources.task, rare
    only_x = sources.where(((records.label != first) & (records.source != "z")) | (records.source == "x"))
    params = short(epochs=4, learning_rate=0.005)
    figures = leave_one_out(only_x, params, tmp_path, tmp_path / "ledger.csv")
    x, pair = figures["sources"]["x"], f"{second}_vs_{third}"
    assert x[pair].n == 40
    for key in (f"{a}_vs_{b}" for a, b in task.pairs if first in (a, b)):
        assert x[key] == missing(f"without x there is no {task.names[first]} to train on")
    assert x["trained_on"] == {first: 0, second: 20, third: 20}
    assert figures["all"][pair].n == 80
    table = pd.read_csv(tmp_path / "predictions.csv")
    val_auroc = pd.read_csv(tmp_path / "x" / "history.csv").val_macro_auroc
    assert val_auroc.max() > 2 / 3  # the mean of the two classes, which an AUROC of 0 for the third would bound
    assert table.loc[table.source == "x", first].mean() < 1 / 3


def test_a_class_of_too_few_people_is_trained_on_and_not_asked(
    sources: Dataset,
    short: Callable[..., Params],
    rare: tuple[str, str, str],
    untrained: Callable[[ModuleType], list[Dataset]],
    tmp_path: Path,
) -> None:
    records, task, (first, second, third) = sources.records, sources.task, rare
    in_val = next(f"v{k}" for k in range(100) if train_or_val(np.array([f"v{k}"]))[0] == "val")
    moved = records.index[(records.source == "y") & (records.label == first)][0]
    groups = records.group_id.where(records.index != moved, in_val)
    untrained(module)
    dataset = Dataset.join(records.assign(group_id=groups), sources.store, task)
    x = leave_one_out(dataset, short(), tmp_path, tmp_path / "ledger.csv")["sources"]["x"]
    key = next(f"{a}_vs_{b}" for a, b in task.pairs if first in (a, b))
    assert x[key].reason == f"without x only 8 groups of {task.names[first]}; at least 10 are needed to train on"
    assert x["trained_on"][first] == 9
    assert x[f"{second}_vs_{third}"].n == 40


@pytest.mark.parametrize("name", ["two_classes", "four_classes"])
def test_two_classes_and_four_have_a_figure_for_each_pair(
    name: str,
    drawn_set: Callable[..., Dataset],
    short: Callable[..., Params],
    untrained: Callable[[ModuleType], list[Dataset]],
    request: pytest.FixtureRequest,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of a source with one class nothing is asked; where two sources have all, each pair is told apart in both."""
    task = request.getfixturevalue(name)
    plan = [(source, label, 20) for source in "xy" for label in task.order] + [("z", task.positive, 5)]
    dataset = drawn_set(task, plan)
    assert len(untrained(module)) == 0
    found = leave_one_out(dataset, short(task), tmp_path, tmp_path / "ledger.csv")
    keys = [f"{a}_vs_{b}" for a, b in task.pairs]
    assert list(found["all"]) == keys
    table = pd.read_csv(tmp_path / "predictions.csv")
    for (a, b), key in zip(task.pairs, keys, strict=True):
        assert found["all"][key].n == 80
        x = table[(table.source == "x") & table.label.isin((a, b))]
        assert found["sources"]["x"][key].value == pytest.approx(roc_auc_score(x.label == a, x[a] / (x[a] + x[b])))
        assert "has no" in found["sources"]["z"][key].reason
    print_leave_one_out(found, task)
    assert capsys.readouterr().out.count(" vs ") == 4 * len(task.pairs)


def test_where_no_network_has_learned_a_pair_the_reason_is_given(
    drawn_set: Callable[..., Dataset], short: Callable[..., Params], two_classes: Task, tmp_path: Path
) -> None:
    plan = [(source, label, 20) for source, label in zip("xy", two_classes.order, strict=True)]
    found = leave_one_out(drawn_set(two_classes, plan), short(two_classes), tmp_path, tmp_path / "ledger.csv")
    (figure,) = found["all"].values()
    said = [two_classes.names[name] for name in two_classes.order]
    assert figure.reason == f"no network has learned both {said[0]} and {said[1]}"
    assert not (tmp_path / "ledger.csv").exists()


def test_one_source_alone_cannot_be_left_out(sources: Dataset, short: Callable[..., Params], tmp_path: Path) -> None:
    alone = sources.where(sources.records.source == "x")
    with pytest.raises(CxrflowError, match="two sources or more"):
        leave_one_out(alone, short(), tmp_path, tmp_path / "ledger.csv")
