"""Folds by a hash of the group; several networks are entered in the ledger once."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxrflow.dataset import Dataset
from cxrflow.errors import CxrflowError
from cxrflow.metadata.groups import folds_of
from cxrflow.params import Params
from cxrflow.studies.folds import enter_together, one_process, only_trained
from cxrflow.task import Task


def test_groups_stay_together_and_adding_rows_moves_nobody() -> None:
    groups = np.array([f"g{k // 3}" for k in range(900)])
    fold = folds_of(groups, 5, "fold")
    assert pd.Series(fold).groupby(groups).nunique().eq(1).all()
    assert np.bincount(fold, minlength=5).min() > 120
    assert np.array_equal(folds_of(groups[::-1], 5, "fold"), fold[::-1])


def test_children_and_their_groups_are_only_trained_on_where_the_parameters_say_so(
    drawn_set: Callable[..., Dataset], demo_params: Params, task: Task
) -> None:
    groups = ["a", "a", "b", "c", "c"]
    dataset = drawn_set(task, [("x", task.positive, 5)], group_id=groups, paediatric=[False, True, False, False, False])
    train = demo_params.metadata.model_copy(update={"paediatric": "train"})
    asked = demo_params.model_copy(update={"metadata": train})
    assert only_trained(dataset, asked).tolist() == [True, True, False, False, False]
    assert not only_trained(dataset, demo_params).any()


def test_several_networks_are_entered_as_one_and_once_with_the_test_split_apart(tmp_path: Path) -> None:
    scored = pd.DataFrame({"image_id": list("abc"), "label": "x", "split": ["train", "test", "test"]})
    metrics, ledger = tmp_path / "metrics.json", tmp_path / "ledger.csv"
    together = enter_together(["1", "2"], scored, metrics, ledger)
    entered = pd.read_csv(ledger)
    assert entered.bundle.tolist() == [together, together]
    assert entered.test_set_hash.nunique() == 2
    metrics.write_text(f'{{"test_set": {{"bundle": "{together}"}}}}')
    assert enter_together(["1", "2"], scored, metrics, ledger) == together
    assert len(pd.read_csv(ledger)) == 2
    assert enter_together(["2", "1"], scored, metrics, ledger) != together
    assert len(pd.read_csv(ledger)) == 4


def test_torchrun_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    one_process("leaks")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(CxrflowError, match="leaks: runs as one process"):
        one_process("leaks")
