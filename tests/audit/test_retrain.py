"""Trained again without the lungs: what is taken away, and what remains to be learned."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cxrflow.audit.pictures import Pictures
from cxrflow.audit.retrain import VARIANTS, _short, retrain, without
from cxrflow.audit.source_probe import source_probe
from cxrflow.audit.verdicts import FOUND, NOT_FOUND, UNTOLD
from cxrflow.evaluation.ledger import test_set_hash, times_looked_at
from cxrflow.params import Params

SIDE = 32
LABELS = np.tile(np.arange(3), 40)


def split(made: Pictures) -> Pictures:
    n = len(made.table)
    table = made.table.assign(
        group_id=made.table.image_id,
        patient_id=made.table.image_id,
        near_hash=[f"{k:064x}" for k in range(n)],
        split=np.array(["train", "train", "val", "test"])[np.arange(n) // 3 % 4],
    )
    return Pictures(table, made.images, made.lungs)


def test_the_box_round_the_lungs_is_black_or_all_else(pictures: Callable[..., Pictures]) -> None:
    made = pictures(mark=LABELS[:4], labels=LABELS[:4])
    made.lungs[3] = False  # none found: the mean box of the others stands in
    removed, alone = without(made, "without lungs"), without(made, "lungs alone")
    box = np.zeros((SIDE, SIDE), bool)
    box[7:25, 5:27] = True  # the lungs' box and a pixel round it
    for k in range(4):
        assert not removed[k][box].any()
        assert np.array_equal(removed[k][~box], made.images[k][~box])
        assert not alone[k][~box].any()
        assert np.array_equal(alone[k][made.lungs[k]], made.images[k][made.lungs[k]])
    assert not alone[0][12, 16]  # between the lungs
    assert alone[3][12, 16]
    assert np.array_equal(without(made, "whole pictures"), made.images)


def test_a_mark_outside_the_lungs_remains_and_disease_does_not(
    pictures: Callable[..., Pictures], demo_params: Params, tmp_path: Path
) -> None:
    recipe = demo_params.training.model_copy(
        update={"model": "timm:resnet10t", "learning_rate": 3e-3, "batch_size": 20, "sample_weight_covid": None}
    )
    marked = split(pictures(mark=LABELS, labels=LABELS))
    only, book = ("without lungs",), tmp_path / "ledger.csv"
    found = retrain(marked, demo_params.images, recipe, 14, 100, 0, tmp_path / "marked", book, only)
    assert found["verdict"] == FOUND
    assert found["figures"]["macro_auroc"]["without lungs"]["value"] > 0.8
    assert times_looked_at(book, test_set_hash(marked.table[marked.table.split == "test"])) == 1
    written = (tmp_path / "marked" / "without-lungs" / "history.csv").stat().st_mtime_ns
    again = retrain(marked, demo_params.images, recipe, 14, 100, 0, tmp_path / "marked", book, only)
    assert again == found
    assert (tmp_path / "marked" / "without-lungs" / "checkpoints" / "last.ckpt").stat().st_mtime_ns <= written


def test_what_is_not_done_is_said(pictures: Callable[..., Pictures], demo_params: Params, tmp_path: Path) -> None:
    made = split(pictures(mark=LABELS, labels=LABELS))
    book = tmp_path / "ledger.csv"

    def said(epochs: int = 3, images: dict | None = None, training: dict | None = None) -> dict:
        steps, recipe = (
            section.model_copy(update=update or {})
            for section, update in ((demo_params.images, images), (demo_params.training, training))
        )
        return retrain(made, steps, recipe, epochs, 100, 0, tmp_path / "out", book)

    none = said(0)
    assert none["verdict"] == UNTOLD
    assert "retrain_epochs is 0" in none["words"]
    assert "imported" in said(training={"model": "onnx"})["words"]
    masked = said(images={"lungs": "learned", "lungs_use": "mask"})
    assert masked["verdict"] == UNTOLD
    assert "black already" in masked["words"]
    assert set(masked["figures"]["macro_auroc"]) == set(VARIANTS)
    made.lungs[:] = False
    assert "no lungs" in said()["words"]
    assert not book.exists()


def test_what_a_crop_leaves_is_said(pictures: Callable[..., Pictures], demo_params: Params, tmp_path: Path) -> None:
    made = split(pictures(mark=LABELS, labels=LABELS))
    steps = demo_params.images.model_copy(update={"lungs": "learned", "lungs_use": "crop"})
    recipe = demo_params.training.model_copy(update={"model": "timm:resnet10t"})
    found = retrain(made, steps, recipe, 1, 100, 0, tmp_path, tmp_path / "ledger.csv", ("without lungs",))
    share = 1 - 18 * 22 / SIDE**2  # the box of conftest's lungs and a pixel round it
    assert f"a rim, {100 * share:.0f} % of the picture" in found["words"]


def test_weights_that_have_seen_whole_radiographs_are_no_start(
    pictures: Callable[..., Pictures], demo_params: Params, tmp_path: Path
) -> None:
    pytest.importorskip("torchxrayvision")
    pretrained = demo_params.training.model_copy(update={"model": "xrv:densenet121-res224-nih"})
    made = split(pictures(mark=LABELS, labels=LABELS))
    words = retrain(made, demo_params.images, pretrained, 3, 100, 0, tmp_path, tmp_path / "ledger.csv")["words"]
    assert words == "Not done: xrv:densenet121-res224-nih begins with weights that have seen whole radiographs."


def test_the_recipe_of_few_epochs_is_a_valid_one(demo_params: Params) -> None:
    long = demo_params.training.model_copy(update={"start": "results/other/bundle"})
    for epochs in (1, 5):
        short = _short(long, epochs)
        assert type(short).model_validate(short.model_dump()).epochs == epochs
        assert short.start == "scratch"


@pytest.mark.parametrize("tied", [True, False])
def test_a_source_that_shows_is_a_shortcut_where_it_tells_the_class(
    pictures: Callable[..., Pictures], tied: bool
) -> None:
    """Sources differ by their brightness; their shares of the classes differ, or not."""
    sides = []
    for seed in (1, 2):
        made = split(pictures(mark=LABELS, labels=LABELS, seed=seed))
        rng = np.random.default_rng(seed)
        usual = LABELS if tied else rng.permutation(LABELS)
        place = np.where(rng.random(len(LABELS)) < 0.7, usual, rng.integers(0, 3, len(LABELS)))
        images = np.clip(made.images.astype(int) + 20 * place[:, None, None], 0, 255).astype(np.uint8)
        sides.append(Pictures(made.table.assign(source=[f"s{k}" for k in place]), images, made.lungs))
    train, test = sides
    level = tuple(side.images.mean(axis=(1, 2))[:, None] for side in sides)
    found = source_probe(train, test, level, 100, 0)
    assert found["verdict"] == (FOUND if tied else NOT_FOUND)
    told = found["figures"]["source"]["small picture"]
    assert told["overall"]["value"] > 0.9
    assert told["within a class"]["low"] > 0.6
    if tied:
        assert found["figures"]["class_from_source"]["value"] > 0.75


def test_one_source_cannot_be_told(pictures: Callable[..., Pictures]) -> None:
    made = split(pictures(mark=LABELS, labels=LABELS, sources=1))
    level = made.images.mean(axis=(1, 2))[:, None]
    found = source_probe(made, made, (level, level), 100, 0)
    assert found["verdict"] != FOUND
    assert "fewer than two sources" in found["figures"]["source"]["features"]["overall"]["reason"]
