"""Two bundles on the same images: differences, and intervals that hold."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from cxrflow.bundle import Bundle, OperatingPoint, seen_rows, write_bundle
from cxrflow.engines import LocalEngine
from cxrflow.errors import CxrflowError
from cxrflow.evaluation.operating import choose_on_val
from cxrflow.evaluation.tables import print_comparison
from cxrflow.images.prepare import Store, steps_digest
from cxrflow.images.steps import prepare_image
from cxrflow.models import MODELS
from cxrflow.params import Params
from cxrflow.predictor import Predictor
from cxrflow.reading import read_radiograph
from cxrflow.records import CLASSES
from cxrflow.studies.compare import compare_stored, differences

NAMES = np.array(CLASSES)


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def study(rng: np.random.Generator, gap: float, groups: int = 90) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Two networks that see much the same; the second tells the classes apart by ``gap`` more."""
    index = np.repeat(np.arange(groups), rng.integers(1, 4, groups))
    truth = index % 3
    alike = rng.normal(size=(groups, 3))[index] + 0.3 * rng.normal(size=(len(index), 3))
    logits = [alike + 0.4 * rng.normal(size=alike.shape) + far * np.eye(3)[truth] for far in (1.2, 1.2 + gap)]
    table = pd.DataFrame({"label": NAMES[truth], "group_id": index.astype(str)})
    return table, softmax(logits[0]), softmax(logits[1])


def points(*thresholds: float | None, wanted: tuple[float, float] = (0.98, 0.98)) -> tuple:
    """Operating points with these thresholds; what they reached on val plays no part."""
    return tuple(
        at and OperatingPoint(wanted=w, threshold=at, sensitivity=0.5, specificity=0.5)
        for at, w in zip(thresholds, wanted, strict=True)
    )


def test_a_difference_is_that_of_the_two_figures_and_changes_sign_with_their_order() -> None:
    table, first, second = study(np.random.default_rng(0), 1.0)
    there = differences(table, first, second, points(0.6, 0.5), 200, 0)
    back = differences(table, second, first, points(0.5, 0.6), 200, 0)
    for name, figures in there.items():
        gap = figures["difference"]
        assert gap["value"] == pytest.approx(figures["b"]["value"] - figures["a"]["value"])
        assert gap["low"] < gap["value"] < gap["high"]
        turned = back[name]["difference"]
        assert (turned["low"], turned["high"]) == pytest.approx((-gap["high"], -gap["low"]))
    covid = (table.label == "covid").to_numpy()
    assert there["sensitivity"]["a"]["value"] == np.mean(first[covid, 0] >= 0.6)
    assert there["specificity"]["b"]["value"] == np.mean(second[~covid, 0] < 0.5)


def test_pairs_say_more_than_two_sets_of_images() -> None:
    table, first, second = study(np.random.default_rng(0), 0.3)
    figures = differences(table, first, second, points(None, None), 300, 0)["macro_auroc"]
    width = {name: figure["high"] - figure["low"] for name, figure in figures.items()}
    assert width["difference"] < 0.8 * np.hypot(width["a"], width["b"])


def test_pairs_say_more_of_covid_where_a_class_is_absent_too() -> None:
    """Without normal images there is no macro AUROC; that of COVID-19 against the rest is still of the same images."""
    rng, held = np.random.default_rng(5), []
    for seed in range(100):
        table, first, second = study(rng, 0.0)
        there = (table.label != "normal").to_numpy()
        figures = differences(table[there], first[there], second[there], points(None, None), 100, seed)
        assert figures["macro_auroc"]["difference"]["reason"] == "no normal image in the set"
        width = {name: figure["high"] - figure["low"] for name, figure in figures["covid_auroc"].items()}
        assert width["difference"] < 0.9 * np.hypot(width["a"], width["b"])
        held.append(figures["covid_auroc"]["difference"]["low"] <= 0 <= figures["covid_auroc"]["difference"]["high"])
    assert 0.9 <= np.mean(held) <= 0.99


def test_intervals_hold_no_difference_where_there_is_none() -> None:
    rng = np.random.default_rng(3)
    held = {"macro_auroc": [], "covid_auroc": [], "sensitivity": [], "specificity": []}
    for seed in range(120):
        for name, figures in differences(*study(rng, 0.0), points(0.5, 0.5), 100, seed).items():
            held[name].append(figures["difference"]["low"] <= 0 <= figures["difference"]["high"])
    for name, hits in held.items():
        assert 0.9 <= np.mean(hits) <= 1, name
    assert 0.92 <= np.mean(list(held.values())) <= 0.985


def test_the_same_answers_differ_by_nothing_that_is_known() -> None:
    table, first, _ = study(np.random.default_rng(0), 0)
    figures = differences(table, first, first, points(0.5, 0.5), 100, 0)
    for name in figures:
        gap = figures[name]["difference"]
        assert gap["value"] == 0
        assert gap["low"] < 0 < gap["high"]


def test_what_is_absent_is_said() -> None:
    table, first, second = study(np.random.default_rng(0), 0)
    figures = differences(table, first, second, points(0.5, None), 100, 0)
    assert figures["sensitivity"]["difference"]["reason"] == "a bundle has no operating point"
    figures = differences(table, first, second, points(0.5, 0.5, wanted=(0.98, 0.9)), 100, 0)
    assert "different specificities, 0.98 and 0.9" in figures["specificity"]["difference"]["reason"]
    without = (table.label != "covid").to_numpy()
    figures = differences(table[without], first[without], second[without], points(0.5, 0.5), 100, 0)
    assert figures["macro_auroc"]["difference"]["reason"] == "no covid image in the set"
    assert figures["sensitivity"]["difference"]["value"] is None
    assert figures["specificity"]["difference"]["value"] is not None


@pytest.fixture
def stored(demo_params: Params, tmp_path: Path) -> tuple[tuple[Predictor, Predictor], pd.DataFrame, Store]:
    """Two small networks, of which the second has seen the first six images, and thirty images."""
    steps = demo_params.images.model_copy(update={"size": 32})
    pictures = np.random.default_rng(0).integers(0, 256, (30, 32, 32)).astype(np.uint8)
    records = pd.DataFrame(
        {
            "image_id": [f"x:{k}" for k in range(30)], "label": NAMES[np.arange(30) % 3], "source": "x",
            "patient_id": [f"x:p{k}" for k in range(30)], "group_id": [f"g{k}" for k in range(30)], "split": "test",
            "content_hash": [f"{k:064x}" for k in range(30)], "left_out": None,
            "near_hash": ["".join(f"{b:02x}" for b in np.random.default_rng(k).bytes(32)) for k in range(30)],
        }
    )  # fmt: skip
    point = OperatingPoint(wanted=0.9, threshold=0.3, sensitivity=0.5, specificity=0.9)
    predictors = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        bundle = Bundle(
            cxrflow="0", model="crnn", classes=CLASSES, images=steps, mean=0.5, std=0.2, temperature=1.0,
            sources={}, epoch=0, validation={}, digests={}, thresholds={"specificity": point},
        )  # fmt: skip
        seen = seen_rows(records[:6] if seed == 2 else records[:0])
        write_bundle(tmp_path / str(seed), MODELS["crnn"].build(steps.channels, 3), bundle, seen)
        predictors.append(Predictor(tmp_path / str(seed)))
    index = records[["image_id", "content_hash"]].assign(left_out=None)
    return (predictors[0], predictors[1]), records, Store(pictures, None, index, steps_digest(steps))


def test_images_that_either_has_seen_are_left_out_and_both_looks_are_entered(
    stored: tuple, demo_params: Params, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both, records, store = stored
    params = demo_params.evaluation.model_copy(update={"bootstrap": 100})
    out, book = tmp_path / "out", tmp_path / "ledger.csv"
    result = compare_stored(both, records, tmp_path, store, params, LocalEngine(), out, book)
    assert result["n"] == 24
    assert (out / "comparison.json").exists()
    ledger = pd.read_csv(book)
    assert ledger.bundle.tolist() == [predictor.bundle.digests["weights"] for predictor in both]
    assert len(set(ledger.test_set_hash)) == 1
    scores = [predictor.stored_scores(store, records.image_id[6:]) for predictor in both]
    covid = (records.label[6:] == "covid").to_numpy()
    assert result["figures"]["sensitivity"]["a"]["value"] == np.mean(scores[0][covid, 0] >= 0.3)
    print_comparison(result)
    assert "B - A" in capsys.readouterr().out


def test_nothing_left_is_one_clear_sentence(stored: tuple, demo_params: Params, tmp_path: Path) -> None:
    both, records, store = stored
    with pytest.raises(CxrflowError, match="have seen every image"):
        compare_stored(
            both, records[:6], tmp_path, store, demo_params.evaluation, LocalEngine(), tmp_path, tmp_path / "ledger.csv"
        )


def test_a_bundle_of_other_image_steps_gets_images_of_its_own(
    stored: tuple, demo_params: Params, tmp_path: Path
) -> None:
    """The second bundle takes 40 pixels where 32 are stored; one file cannot be read and counts for neither."""
    (first, second), records, store = stored
    steps = demo_params.images.model_copy(update={"size": 40})
    larger = second.bundle.model_copy(update={"images": steps})
    write_bundle(second.folder, MODELS["crnn"].build(steps.channels, 3), larger, seen_rows(records[:0]))
    both = first, Predictor(second.folder)
    (tmp_path / "x").mkdir()
    files = [f"x/{k}.png" for k in range(len(records))]
    for file, picture in zip(files, store.images, strict=True):
        cv2.imwrite(str(tmp_path / file), cv2.resize(picture, (80, 80)))
    (tmp_path / files[7]).write_bytes(b"no picture")
    records = records.assign(path=files, turned=False)
    params = demo_params.evaluation.model_copy(update={"bootstrap": 100})
    result = compare_stored(both, records, tmp_path, store, params, LocalEngine(), tmp_path, tmp_path / "ledger.csv")
    assert result["n"] == 29
    left = records.drop(index=7)
    pictures = [prepare_image(read_radiograph(tmp_path / file), steps).image for file in left.path]
    covid = (left.label == "covid").to_numpy()
    by_hand = np.mean(both[1].scores(np.stack(pictures))[covid, 0] >= 0.3)
    assert result["figures"]["sensitivity"]["b"]["value"] == pytest.approx(by_hand)


def test_where_the_files_are_gone_is_one_clear_sentence(stored: tuple, demo_params: Params, tmp_path: Path) -> None:
    (first, second), records, store = stored
    larger = second.bundle.model_copy(update={"images": demo_params.images.model_copy(update={"size": 40})})
    write_bundle(second.folder, MODELS["crnn"].build(larger.images.channels, 3), larger, seen_rows(records[:0]))
    gone = records.assign(path=[f"x/{k}.png" for k in range(len(records))], turned=False)
    both, params, book = (first, Predictor(second.folder)), demo_params.evaluation, tmp_path / "ledger.csv"
    with pytest.raises(CxrflowError, match="are the files there"):
        compare_stored(both, gone, tmp_path, store, params, LocalEngine(), tmp_path, book)
    assert not book.exists()  # nothing was looked at


def test_what_is_chosen_on_val_is_written_into_the_bundle_and_weights_stay(stored: tuple, demo_params: Params) -> None:
    both, records, store = stored
    folder, scores = both[0].folder, both[0].stored_scores(store, records.image_id[:20])
    split = np.where(np.arange(30) < 20, "val", "test")
    chosen = choose_on_val(folder, records.assign(split=split), store, demo_params.evaluation)
    covid = (records.label[:20] == "covid").to_numpy()
    again = Predictor(folder).bundle
    assert again == chosen
    assert again.digests == both[0].bundle.digests
    for name in ("specificity", "cost_ratio"):
        point = again.thresholds[name]
        assert point.sensitivity == np.mean(scores[covid, 0] >= point.threshold)
        assert point.specificity == np.mean(scores[~covid, 0] < point.threshold)
    assert again.thresholds["specificity"].specificity >= demo_params.evaluation.specificity
    assert again.prediction_sets.least.keys() == set(CLASSES)
    assert again.prediction_sets.least["covid"] == 0  # seven patients are too few to exclude it at 0.9
