"""Trained again without the lungs: what is taken away, and what remains to be learned."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from cxrflow.audit.context import Audited
from cxrflow.audit.pictures import Pictures
from cxrflow.audit.retraining import LIMIT, VARIANTS, _short, over_seeds, run, score_variant, without
from cxrflow.audit.words import FOUND, MOOT, UNTOLD
from cxrflow.evaluation.ledger import test_set_hash, times_looked_at
from cxrflow.images.prepare import steps_digest
from cxrflow.params import Params
from cxrflow.statistics.figure import Figure, missing

LABELS = np.tile(np.arange(3), 40)
SPLIT = np.array(["train", "train", "val", "test"])[np.arange(120) // 3 % 4]


@pytest.fixture
def make(hospital: Callable[..., Audited]) -> Callable[..., Audited]:
    """Makes the hospital's context, so many epochs of retraining, and images and training changed."""

    def made(epochs: int = 3, images: dict | None = None, **training: object) -> Audited:
        context = hospital(LABELS, split=SPLIT, **training)
        audit = context.params.audit.model_copy(update={"retrain_epochs": epochs})
        steps = context.params.images.model_copy(update=images or {})
        context.params = context.params.model_copy(update={"audit": audit, "images": steps})
        return context

    return made


def test_the_box_round_the_lungs_is_black_or_all_else(hospital: Callable[..., Audited]) -> None:
    context = hospital(LABELS[:4])
    context.dataset.store.lungs[3] = False  # none found: the mean box of the others stands in
    made = context.views[0]
    removed, alone = without(made, "without lungs"), without(made, "lungs alone")
    box = np.zeros(made.lungs.shape[1:], bool)
    box[7:25, 5:27] = True  # the lungs' box and a pixel round it
    for k in range(4):
        assert not removed[k][box].any()
        assert np.array_equal(removed[k][~box], made.images[k][~box])
        assert not alone[k][~box].any()
        assert np.array_equal(alone[k][made.lungs[k]], made.images[k][made.lungs[k]])
    assert not alone[0][12, 16]  # between the lungs
    assert alone[3][12, 16]
    assert np.array_equal(without(made, "whole pictures"), made.images)


def test_a_mark_outside_the_lungs_remains_and_is_learned(make: Callable[..., Audited]) -> None:
    context = make(14)
    pictures = Pictures(context.dataset, context.dataset.pixels(), context.dataset.store.lungs)
    figure = score_variant(context, pictures, "without lungs")
    assert LIMIT.judge(figure) == FOUND
    assert figure.value > 0.8
    looked_at = test_set_hash(context.dataset.split("test").records)
    assert times_looked_at(context.ledger, looked_at) == VARIANTS["without lungs"] == 3
    folder = context.out / "retraining" / "without-lungs" / "2"
    written = (folder / "history.csv").stat().st_mtime_ns
    assert score_variant(context, pictures, "without lungs") == figure
    assert (folder / "checkpoints" / "last.ckpt").stat().st_mtime_ns <= written


def test_the_mean_over_seeds_is_as_unsure_as_groups_and_seeds_together() -> None:
    alike = [Figure(0.62, 0.54, 0.7, 90, 60)] * 3
    same = over_seeds(alike)
    assert (same.value, same.low, same.high) == pytest.approx((0.62, 0.54, 0.7))
    apart = over_seeds([Figure(0.62 + d, 0.54 + d, 0.7 + d, 90, 60) for d in (-0.05, 0, 0.05)])
    assert apart.value == pytest.approx(0.62)
    assert apart.low < 0.53
    assert over_seeds([alike[0], missing("training failed: no")]).reason == "training failed: no"
    assert over_seeds(alike[:1]) == alike[0]


def test_intervals_over_seeds_hold() -> None:
    """An AUROC of 0.62 on average over patients and seeds, with errors of 0.04 and 0.03 from them: held in 95 %."""
    rng, held, half = np.random.default_rng(3), 0, stats.t.ppf(0.975, 59) * 0.04
    for _ in range(2000):
        values = 0.62 + rng.normal(0, 0.04) + rng.normal(0, 0.03, 3)
        figure = over_seeds([Figure(v, v - half, v + half, 90, 60) for v in values])
        held += figure.low <= 0.62 <= figure.high
    assert held / 2000 == pytest.approx(0.95, abs=0.02)


def test_what_is_not_done_is_said(make: Callable[..., Audited]) -> None:
    none = run(make(0))
    assert none.verdict == UNTOLD
    assert "retrain_epochs is 0" in none.words
    assert "imported" in run(make(model="onnx")).words
    masked = run(make(images={"lungs": "learned", "lungs_use": "mask"}))
    assert masked.verdict == MOOT
    assert "black already" in masked.words
    assert set(masked.figures["macro_auroc"]) == set(masked.rows[0].figures) == set(VARIANTS)
    lungless = make()
    lungless.dataset.store.lungs[:] = False
    assert "no lungs" in run(lungless).words
    lungless.dataset.store.lungs[:] = True
    assert "nothing would be left" in run(lungless).words
    assert (lungless.out / "retraining").is_dir()  # DVC expects it
    assert not lungless.ledger.exists()


def test_what_a_crop_leaves_is_said(make: Callable[..., Audited]) -> None:
    context = make(1, {"lungs": "learned", "lungs_use": "crop"})
    store = replace(context.dataset.store, steps=steps_digest(context.params.images))
    context.dataset = replace(context.dataset, stores=(store,))
    share = 1 - 18 * 22 / 32**2  # the box of conftest's lungs and a pixel round it
    assert f"a rim is left, {100 * share:.0f} % of the picture" in run(context).words


def test_a_training_that_fails_is_a_figure_with_a_reason(make: Callable[..., Audited]) -> None:
    context = make(1)
    context.dataset.records["split"] = np.where(LABELS == 0, "test", context.dataset.records.split)
    found = run(context)
    assert found.verdict == UNTOLD
    assert found.figures["macro_auroc"]["without lungs"].reason.startswith("training failed: ")
    assert not context.ledger.exists()


def test_weights_that_have_seen_whole_radiographs_are_no_start(make: Callable[..., Audited]) -> None:
    pytest.importorskip("torchxrayvision")
    words = run(make(model="xrv:densenet121-res224-nih")).words
    assert words == "Not done: xrv:densenet121-res224-nih starts with weights that have seen whole radiographs."


def test_the_recipe_of_few_epochs_is_a_valid_one(demo_params: Params) -> None:
    long = demo_params.training.model_copy(update={"start": "results/other/bundle"})
    for epochs in (1, 5):
        short = _short(long, epochs)
        assert type(short).model_validate(short.model_dump()).epochs == epochs
        assert short.start == "scratch"
