"""Records and pixels joined once: which rows stay, what left the others out, and that pixels follow their rows."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from cxrflow.dataset import NOT_PREPARED, Dataset
from cxrflow.errors import CxrflowError
from cxrflow.images.prepare import Store
from cxrflow.task import Task

TASK = Task(classes={"sick": ("pneumonia",), "well": ("no finding",)}, positive="sick")


@pytest.fixture
def joined() -> Callable[..., Dataset]:
    """A store of five pictures, picture k of grey k; the last could not be prepared. Records come in another order, and
    one of them is not in the store."""

    def join(labels: tuple[str, ...] = ("sick", "well", "sick", "well", "sick")) -> Dataset:
        index = pd.DataFrame({"image_id": [f"t:{k}" for k in range(5)], "left_out": [None] * 4 + ["file is empty"]})
        store = Store(np.arange(5, dtype=np.uint8)[:, None, None].repeat(4, 1).repeat(4, 2), None, index, "steps")
        records = pd.DataFrame(
            {
                "image_id": ["t:3", "t:0", "t:9", "t:4", "t:2"],
                "label": labels,
                "group_id": ["g3", "g0", "g9", "g4", "g2"],
                "split": ["train", "test", "train", "val", "test"],
            }
        )
        return Dataset.join(records, store, TASK)

    return join


def test_rows_without_pixels_are_left_out_with_their_reason(joined: Callable[..., Dataset]) -> None:
    dataset = joined()
    assert dataset.records.image_id.tolist() == ["t:3", "t:0", "t:2"]
    assert dataset.records.index.tolist() == [0, 1, 2]
    assert dataset.left_out.to_numpy().tolist() == [["t:9", NOT_PREPARED], ["t:4", "file is empty"]]


def test_pixels_follow_their_rows(joined: Callable[..., Dataset]) -> None:
    dataset = joined()
    assert dataset.pixels()[:, 0, 0].tolist() == [3, 0, 2]
    assert [int(dataset.image(k)[0, 0]) for k in range(3)] == [3, 0, 2]
    assert np.concatenate(list(dataset.batches()))[:, 0, 0].tolist() == [3, 0, 2]
    test = dataset.split("test")
    assert test.pixels()[:, 0, 0].tolist() == [0, 2]
    assert test.groups.tolist() == ["g0", "g2"]
    assert dataset.where([2, 0]).pixels()[:, 0, 0].tolist() == [2, 3]
    assert dataset.where(dataset.labels == "well").pixels()[:, 0, 0].tolist() == [0]
    assert dataset.size == 4


def test_labels_are_numbered_in_the_order_of_the_task(joined: Callable[..., Dataset]) -> None:
    dataset = joined()
    assert dataset.labels.tolist() == ["sick", "well", "sick"]
    assert dataset.truth.tolist() == [0, 1, 0]


def test_other_sides_leave_the_first_data_set_as_it_was(joined: Callable[..., Dataset]) -> None:
    dataset = joined()
    other = dataset.divided(np.array(["val", None, "train"], dtype=object))
    assert other.split("train").pixels()[:, 0, 0].tolist() == [2]
    assert dataset.split("train").pixels()[:, 0, 0].tolist() == [3]


def test_labels_of_another_task_are_refused(joined: Callable[..., Dataset]) -> None:
    with pytest.raises(CxrflowError, match="label bacterial is not one of the task's classes sick, well"):
        joined(("sick", "bacterial", "sick", "well", "sick"))


def test_another_file_by_the_same_name_is_not_taken_for_the_prepared_one() -> None:
    index = pd.DataFrame({"image_id": ["t:0", "t:1"], "content_hash": ["aa", "bb"], "left_out": [None, None]})
    store = Store(np.zeros((2, 4, 4), np.uint8), None, index, "steps")
    records = pd.DataFrame({"image_id": ["t:1", "t:0"], "content_hash": ["bb", "cc"], "label": "sick"})
    dataset = Dataset.join(records, store, TASK)
    assert dataset.records.image_id.tolist() == ["t:1"]
    assert dataset.left_out.to_numpy().tolist() == [["t:0", NOT_PREPARED]]
