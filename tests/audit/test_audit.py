"""The whole audit, of a network that had a mark to read and of one that had not."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from cxrflow.audit.audit import audit
from cxrflow.audit.context import Audited
from cxrflow.audit.words import FOUND
from cxrflow.errors import CxrflowError
from cxrflow.evaluation.evaluate import evaluate_split
from cxrflow.evaluation.metrics import macro_auroc
from cxrflow.evaluation.predictions import read_predictions
from cxrflow.predictor import Predictor
from cxrflow.task import Task
from cxrflow.training.train import train

N, EPOCHS = 360, 10


@pytest.fixture
def trained(hospital: Callable[..., Audited]) -> Callable[..., Audited]:
    """Makes the context of a network trained on the hospital, where the mark follows the class or nothing; or on
    hospitals with marks of their own, which differ in their shares of the classes or do not."""

    def make(marked: bool, task: Task, hospitals: bool = False) -> Audited:
        rng, classes = np.random.default_rng(4), len(task.order)
        labels = rng.integers(0, classes, N)
        mark = labels if marked else rng.integers(0, classes, N)
        if hospitals:
            mark = np.where(rng.random(N) < 0.8, mark, rng.integers(0, classes, N))
        split = np.array(["train", "val", "test"])[np.arange(N) % 6 // 2]
        context = hospital(labels, mark, task=task, split=split, epochs=EPOCHS, early_stopping_epochs=EPOCHS)
        if marked:  # the disease shows in every second picture alone, so that the mark is worth reading
            context.dataset.store.images[::2] = hospital(labels * 0, mark, task=task).dataset.store.images[::2]
        if hospitals:
            context.dataset.records["source"] = [f"h{place}" for place in mark]
        context.dataset.records["group_id"] = context.dataset.records.image_id
        params, out = context.params, context.root
        context.params = params.model_copy(
            update={"audit": params.audit.model_copy(update={"heat_maps": 20, "retrain_epochs": EPOCHS})}
        )
        train(context.dataset, params.images, params.training, out / "training")
        context.predictor = Predictor(out / "training" / "bundle")
        evaluate_split(context.predictor, context.dataset, params.evaluation, out / "evaluation")
        context.predictions = read_predictions(out / "evaluation" / "predictions.csv", context.task)
        context.ledger = out / "evaluation" / "ledger.csv"
        return context

    return make


@pytest.mark.parametrize(
    ("marked", "classes", "hospitals"),
    [
        *((True, "task", False), (False, "four_classes", False)),
        *((True, "four_classes", True), (False, "task", True)),
    ],
)
def test_a_planted_mark_raises_the_alarm_and_disease_alone_does_not(
    trained: Callable[..., Audited], request: pytest.FixtureRequest, marked: bool, classes: str, hospitals: bool
) -> None:
    context = trained(marked, request.getfixturevalue(classes), hospitals)
    summary = audit(context)
    found = {name for name, result in summary.results.items() if result.verdict == FOUND}
    assert macro_auroc(context.scored).low > 0.75  # else calm would mean little
    assert summary.alarm is marked
    assert found >= ({"swaps"} if marked else set())
    if not hospitals:  # most classes are in one hospital each
        assert summary.apart == []
        assert found >= ({"retraining"} if marked else set())
    looks = pd.read_csv(context.ledger)
    assert len(looks) == 6  # the network, and the five of the test that trains again
    assert len(set(looks.test_set_hash)) == 1


def test_predictions_of_other_images_are_refused(hospital: Callable[..., Audited], untrained: Callable) -> None:
    context = hospital(np.arange(12) % 3)
    context.predictor = untrained(context.task)
    context.predictions = context.predictions.assign(image_id="elsewhere:1")
    with pytest.raises(CxrflowError, match="elsewhere:1 is not among the prepared images"):
        audit(context)


def test_a_bundle_of_another_task_is_refused(
    hospital: Callable[..., Audited], untrained: Callable, two_classes: Task
) -> None:
    context = hospital(np.arange(12) % 3)
    context.predictor = untrained(two_classes)
    with pytest.raises(CxrflowError, match="pneumothorax"):
        audit(context)


def test_a_bundle_of_another_order_is_read_in_the_data_sets(
    hospital: Callable[..., Audited], untrained: Callable, task: Task
) -> None:
    turned = task.model_copy(update={"classes": dict(reversed(task.classes.items()))})
    context = hospital(np.arange(12) % 3)
    context.predictor = untrained(Task.model_validate(turned.model_dump()))
    images = context.dataset.pixels()
    assert np.array_equal(context.scores(images), context.predictor.scores(images)[:, ::-1])
