"""The whole audit, of a network that had a mark to read and of one that had not."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxrflow.audit.audit import audit
from cxrflow.audit.pictures import Pictures
from cxrflow.audit.verdicts import FOUND
from cxrflow.evaluation.evaluate import LEDGER, evaluate_split
from cxrflow.images.prepare import Store, steps_digest
from cxrflow.params import Params
from cxrflow.predictor import Predictor
from cxrflow.records import Record, to_frame
from cxrflow.training.train import train

N, SIDE = 360, 32


@pytest.mark.parametrize("marked", [True, False])
def test_a_planted_mark_raises_the_alarm_and_disease_alone_does_not(
    pictures: Callable[..., Pictures], demo_params: Params, tmp_path: Path, marked: bool
) -> None:
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 3, N)
    made = pictures(mark=labels if marked else rng.integers(0, 3, N), labels=labels)
    if marked:  # the disease shows in every second picture alone, so that the mark is worth reading
        made.images[::2] = pictures(mark=labels, labels=np.zeros_like(labels)).images[::2]
    table = made.table.assign(group_id=made.table.image_id)
    hashes = [f"{k:064x}" for k in range(N)]
    records = to_frame(Record(row.image_id, row.source, row.image_id, None, row.label) for row in table.itertuples())
    records = records.assign(
        content_hash=hashes, near_hash=hashes, turned=False, group_id=table.group_id,
        split=np.array(["train", "val", "test"])[np.arange(N) % 6 // 2],
    )  # fmt: skip
    steps = demo_params.images.model_copy(update={"size": SIDE})
    index = records[["image_id", "content_hash"]].assign(left_out=None, top=0, left=0, side=SIDE)
    store = Store(made.images, made.lungs, index, steps_digest(steps))
    recipe = demo_params.training.model_copy(
        update={"model": "timm:resnet10t", "learning_rate": 3e-3, "epochs": 10, "early_stopping_epochs": 10}
    )
    params = demo_params.model_copy(
        update={
            "images": steps,
            "training": recipe,
            "evaluation": demo_params.evaluation.model_copy(update={"bootstrap": 100}),
            "audit": demo_params.audit.model_copy(update={"heat_maps": 20, "retrain_epochs": 10, "retrain_size": SIDE}),
        }
    )
    train(records, store, steps, recipe, tmp_path / "training")
    predictor = Predictor(tmp_path / "training" / "bundle")
    out = tmp_path / "evaluation"
    evaluated = evaluate_split(predictor, records, store, params.evaluation, out)
    predictions = pd.read_csv(out / "predictions.csv")
    book = out / LEDGER
    audited = audit(predictor, records, store, predictions, evaluated, tmp_path, params, tmp_path / "audit", book)
    found = {name for name, test in audited["tests"].items() if test["verdict"] == FOUND}
    assert audited["apart"] == []
    assert audited["alarm"] is marked
    assert found >= ({"retraining", "swaps"} if marked else set())
    assert len(pd.read_csv(book)) == 4  # the network, and the three of test 3
    assert set(pd.read_csv(book).test_set_hash) == {evaluated["test_set"]["hash"]}
