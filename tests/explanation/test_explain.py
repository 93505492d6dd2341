"""The stage: which pictures it writes, what it says of them, and what it refuses."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest

from cxrflow.dataset import Dataset
from cxrflow.errors import CxrflowError
from cxrflow.explanation.explain import explain
from cxrflow.params import Params
from cxrflow.state import read_sealed
from cxrflow.task import Task


@pytest.fixture
def explained(tiny: Callable, demo_params: Params, tmp_path: Path) -> Callable[..., dict]:
    """Explains a network that calls every second image of each class the next class; as the stage returns it."""

    def run(
        task: Task, change: Callable[[pd.DataFrame], pd.DataFrame] = lambda table: table, networks: int = 1
    ) -> dict:
        dataset: Dataset
        dataset, images = tiny(48, task)
        dataset = dataset.split("val")
        dataset.records["path"] = dataset.records.image_id.str.replace(":", "/") + ".png"
        k = len(task.order)
        said = (dataset.truth + np.arange(len(dataset)) % 2) % k
        predictions = dataset.records[["image_id", "source", "group_id", "label"]].assign(
            prediction=[task.order[c] for c in said]
        )
        predictions[list(task.order)] = np.where(np.arange(k) == said[:, None], 0.7, 0.3 / (k - 1))
        table = change(predictions.iloc[::-1].reset_index(drop=True))  # in another order than the records
        predictor = SimpleNamespace(
            check_task=lambda task: None,
            bundle=SimpleNamespace(steps=[images]),
            heat_maps=lambda views, label: (
                [np.full(views[0].shape, task.order.index(label) / k, np.float32)] * networks
            ),
            by_view=[(0, None)] * networks,
            networks=[None] * networks,
        )
        explanation = demo_params.explanation.model_copy(update={"per_class": 2})
        return explain(predictor, dataset, table, tmp_path, explanation, tmp_path / "out")  # type: ignore[arg-type]

    return run


@pytest.mark.parametrize("classes", ["two_classes", "task", "four_classes"])
def test_right_and_wrong_examples_of_every_class_are_shown(
    explained: Callable[..., dict], request: pytest.FixtureRequest, classes: str, tmp_path: Path
) -> None:
    task = request.getfixturevalue(classes)
    out = tmp_path / "out"
    out.mkdir()
    (out / "of-an-earlier-run.png").write_bytes(b"")
    found = explained(task)
    assert read_sealed(out / "explanation.json", "run it") == found
    assert {path.name for path in out.glob("*.png")} == {example["picture"] for example in found["examples"]}
    kinds = [(example["label"], example["label"] == example["prediction"]) for example in found["examples"]]
    assert set(kinds) == {(label, right) for label in task.order for right in (True, False)}
    assert max(map(kinds.count, kinds)) == 2
    assert {example["score"] for example in found["examples"]} == {0.7}
    reasons = {each["pointing"]["reason"] for each in found["inside"].values()}
    assert len(reasons) == 3  # none of them is known here
    for example in found["examples"]:
        picture = cv2.imread(str(out / example["picture"]))
        assert picture.shape == (320, 640, 3)
        assert example["picture"].startswith(f"{example['label']}-")


def test_each_example_shows_its_own_picture(explained: Callable[..., dict], task: Task, tmp_path: Path) -> None:
    """The bright part of the picture, from left to right, is the class."""
    for example in explained(task)["examples"]:
        grey = cv2.imread(str(tmp_path / "out" / example["picture"]), cv2.IMREAD_GRAYSCALE)[:, :320]
        thirds = [grey[:, 100 * k : 100 * k + 100].mean() for k in range(3)]
        assert task.order[int(np.argmax(thirds))] == example["label"]


@pytest.mark.parametrize(("networks", "rows", "across"), [(1, 1, 2), (2, 2, 2), (3, 2, 3), (4, 2, 3)])
def test_the_maps_of_many_networks_stand_in_rows(
    explained: Callable[..., dict], task: Task, tmp_path: Path, networks: int, rows: int, across: int
) -> None:
    (first, *_) = explained(task, networks=networks)["examples"]
    picture = cv2.imread(str(tmp_path / "out" / first["picture"]))
    assert picture.shape == (320 * rows, 320 * across, 3)
    empty = [
        bool((picture[320 * row : 320 * row + 320, 320 * at : 320 * at + 320] == 255).all())
        for row in range(rows)
        for at in range(across)
    ]
    shown = networks + (1 if networks == 1 else 2)  # the radiograph, the mean, and of several networks each
    assert empty == [False] * shown + [True] * (rows * across - shown)


def test_predictions_of_other_images_are_refused(explained: Callable[..., dict], task: Task) -> None:
    with pytest.raises(CxrflowError, match="elsewhere:1 is not among the prepared images"):
        explained(task, lambda table: table.assign(image_id=["elsewhere:1", *table.image_id[1:]]))
