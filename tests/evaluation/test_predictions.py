"""Predictions as they are read again: what the figures were computed from."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cxrflow.dataset import Dataset
from cxrflow.errors import CxrflowError
from cxrflow.evaluation.predictions import read_predictions, write_predictions
from cxrflow.statistics.resampling import Bootstrap
from cxrflow.statistics.scored import Scored
from cxrflow.statistics.within import within_sources
from cxrflow.task import Task


@pytest.fixture
def dataset(tiny: Callable, task: Task) -> Dataset:
    """40 images of the last two classes, in halves."""
    made, _ = tiny(40, task)
    return replace(made, records=made.records.assign(label=[task.order[1]] * 20 + [task.order[2]] * 20, source="x"))


def test_a_very_sure_networks_order_is_not_lost(tmp_path: Path, dataset: Dataset, task: Task) -> None:
    """It takes all images for the first class, to within 1e-7; the second is still scored above the third in images of
    the second."""
    rest = np.random.default_rng(0).uniform(1e-9, 1e-7, (40, 2))
    rest[:20], rest[20:] = -np.sort(-rest[:20], axis=1), np.sort(rest[20:], axis=1)
    probabilities = np.column_stack([1 - rest.sum(axis=1), rest])
    write_predictions(dataset, probabilities, tmp_path / "predictions.csv", fold=np.arange(40) % 2)
    table = read_predictions(tmp_path / "predictions.csv", task)
    assert list(table) == ["image_id", "source", "group_id", "label", "fold", *task.order]
    read = table[list(task.order)].to_numpy()
    assert np.array_equal(read, probabilities)
    bootstrap = Bootstrap(100, 0)
    before = within_sources(Scored(task, dataset.records, probabilities, bootstrap), task.pairs[2])
    assert before.value == 1
    assert within_sources(Scored(task, table, read, bootstrap), task.pairs[2]) == before


def test_an_image_without_a_score_keeps_its_row_and_text_stays_text(tmp_path: Path, dataset: Dataset) -> None:
    two = dataset.where(np.array([0, 1]))
    two = replace(two, records=two.records.assign(group_id=["007", "NA"]))
    write_predictions(two, np.array([[0.2, 0.3, 0.5], [np.nan] * 3]), tmp_path / "p.csv")
    table = read_predictions(tmp_path / "p.csv", dataset.task)
    assert table.flu.isna().tolist() == [False, True]
    assert table.group_id.tolist() == ["007", "NA"]
    with pytest.raises(CxrflowError, match="no predictions there"):
        read_predictions(tmp_path / "none.csv", dataset.task)
