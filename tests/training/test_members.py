"""Several networks in one bundle: how they are made, what each leaves out, and what is chosen on that."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from cxrflow.bundle import Network
from cxrflow.bundle_files import read_description, write_bundle
from cxrflow.bundle_networks import read_bundle
from cxrflow.dataset import Dataset
from cxrflow.errors import CxrflowError
from cxrflow.evaluation.operating import choose_left_out, score_left_out, threshold_for_specificity
from cxrflow.folds import ALWAYS, NEVER, fold_of
from cxrflow.images.prepare import steps_digest
from cxrflow.params import Images, Params, Training, members_of
from cxrflow.params_file import load_params
from cxrflow.predictor import Predictor
from cxrflow.statistics.resampling import Bootstrap
from cxrflow.training.train import train

Tiny = Callable[..., tuple[Dataset, Images]]
WIDE = 40  # size of a second view


@pytest.fixture
def two_views(tiny: Tiny) -> tuple[Dataset, Images]:
    """The tiny data set in two sizes, with a child in every sixth group, all of them in train."""
    dataset, steps = tiny(120)
    wide = np.stack([cv2.resize(image, (WIDE, WIDE)) for image in dataset.store.images])
    other = replace(dataset.store, images=wide, steps=steps_digest(steps.model_copy(update={"size": WIDE})))
    child = np.arange(120) % 6 == 1
    records = dataset.records.assign(paediatric=child, left_out=None)
    records.loc[child, "split"] = "train"
    records.loc[np.arange(120) % 10 == 9, "split"] = "test"
    records.loc[child & (records.split == "test"), "paediatric"] = False
    return replace(dataset, records=records, stores=(dataset.store, other)), steps


@pytest.fixture
def recipe(training: Training) -> Training:
    """Two networks that differ in size and seed, of two folds."""
    members = [{}, {"size": WIDE, "seed": 5, "augmentation": {"zoom": 0.0}}]
    return Training.model_validate(training.model_dump() | {"members": members, "folds": 2})


def test_members_are_what_differs_and_take_turns_with_the_next_seed(params: Params, training: Training) -> None:
    how = Training.model_validate(
        training.model_dump()
        | {"members": [{}, {"model": "plain", "size": 48, "augmentation": {"zoom": 0}}], "folds": 5}
    )
    made = members_of(params.images, how)
    assert [member.fold for member in made] == [0, 1, 2, 3, 4]
    assert [member.training.model for member in made] == ["small", "plain", "small", "plain", "small"]
    assert [member.training.seed - training.seed for member in made] == [0, 0, 1, 1, 2]
    assert [member.images.size for member in made] == [128, 48, 128, 48, 128]
    assert made[1].training.augmentation == training.augmentation.model_copy(update={"zoom": 0.0})
    assert all(member.training.members == [] and member.training.folds is None for member in made)
    assert members_of(params.images, training) == [(params.images, training, None)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"members": [{}, {"sise": 64}]}, r"training\.members: entry 2: sise is a key of neither images nor training"),
        ({"members": [{"size": 5}]}, r"training\.members: entry 1: size: .*32"),
        ({"members": [{"members": []}]}, "members is a key of neither"),
        ({"members": [{}] * 3, "folds": 2}, "must be a multiple of folds"),
        ({"members": [{"loss_weights": {"flu": 2}}]}, "flu is not one of the task's classes"),
        ({"folds": 1}, "folds"),
        ({"sharpness": 2.0}, "sharpness is of the mean of several networks"),
        ({"members": [{"sharpness": 2.0}]}, "sharpness is a key of neither"),
        ({"members": [3]}, "members"),
    ],
)
def test_members_that_cannot_be_stop_before_any_work(change: dict, said: str, params: Params, tmp_path: Path) -> None:
    values = params.model_dump(mode="json")
    values["training"] |= change
    (tmp_path / "params.yaml").write_text(json.dumps(values))
    with pytest.raises(CxrflowError, match=said):
        load_params(tmp_path / "params.yaml")


def test_folds_hold_patients_of_train_and_val_and_no_children(two_views: tuple[Dataset, Images]) -> None:
    dataset, _ = two_views
    groups = np.array([f"g{k // 4}" for k in range(120)])  # each of one side: the children's of train
    with_child = np.isin(groups, groups[dataset.records.paediatric])
    side = np.where(with_child, "train", np.array(["train", "val", "test"])[np.arange(120) // 4 % 3])
    dataset = replace(dataset, records=dataset.records.assign(group_id=groups, split=side))
    fold, records = fold_of(dataset, 3), dataset.records
    children = pd.Series(with_child)
    assert (fold[records.split == "test"] == NEVER).all()
    assert (fold[children] == ALWAYS).all()
    others = fold[~children & (records.split != "test")]
    assert set(others) == {0, 1, 2}
    assert records.assign(fold=fold)[fold >= 0].groupby("group_id").fold.nunique().max() == 1
    kept = replace(dataset, records=records.assign(split=np.where(records.paediatric, "val", records.split)))
    assert (fold_of(kept, 3)[kept.records.paediatric] >= 0).all()  # children count like others where they are chosen on


def test_a_bundle_of_two_networks_is_the_mean_of_both_and_each_is_calibrated_by_what_it_left_out(
    two_views: tuple[Dataset, Images], recipe: Training, params: Params, tmp_path: Path
) -> None:
    dataset, steps = two_views
    bundle = train(dataset, steps, recipe.model_copy(update={"sharpness": 2.0}), tmp_path)
    assert bundle is not None
    assert [network.fold for network in bundle.networks] == [0, 1]
    assert [network.epoch for network in bundle.networks] == [3, 3]  # the last: nothing is chosen on what is left out
    assert bundle.name == "2 x small"
    assert [each.size for each in bundle.steps] == [32, WIDE]
    history = pd.read_csv(tmp_path / "history.csv")
    assert history.network.value_counts().to_dict() == {1: 4, 2: 4}
    assert not list(tmp_path.rglob("best.ckpt"))
    both, one, two = Predictor(tmp_path / "bundle"), *(Predictor(tmp_path / "bundle", k) for k in (1, 2))
    alone = one.score(dataset), two.score(dataset)
    squared = ((alone[0] + alone[1]) / 2) ** 2
    assert both.score(dataset) == pytest.approx(squared / squared.sum(axis=1, keepdims=True))
    views = [np.asarray(store.images[dataset.rows]) for store in dataset.stores]
    assert both.scores(views) == pytest.approx(both.score(dataset))
    with pytest.raises(ValueError, match="2 arrays"):
        both.scores(views[0])
    with pytest.raises(CxrflowError, match="no network 3, only 1 to 2"):
        Predictor(tmp_path / "bundle", 3)
    fold = fold_of(dataset, 2)
    chosen = choose_left_out(tmp_path / "bundle", dataset, params.evaluation)
    scored, used = score_left_out(both, dataset, Bootstrap(100, 1))
    expected = np.where(fold[:, None] == 0, alone[0], alone[1])[fold >= 0]
    assert used.tolist() == fold[fold >= 0].tolist()
    assert scored.probabilities == pytest.approx(expected)
    assert set(chosen.thresholds) == {"specificity", "cost_ratio"}
    assert not one.bundle.thresholds
    sets = read_description(tmp_path / "bundle").prediction_sets
    assert sets is not None
    assert sets == chosen.prediction_sets
    held = sets.held(both.score_by_fold(dataset.split("test")), dataset.task.order)
    assert held.shape == (len(dataset.split("test")), len(dataset.task.order))
    card = (tmp_path / "bundle" / "model-card.md").read_text()
    assert card.count("which it left out") == 2
    assert "probabilities of 2 networks, to the power 2" in card


def test_without_folds_thresholds_and_sets_are_chosen_of_the_sharpened_mean(
    two_views: tuple[Dataset, Images], recipe: Training, params: Params, tmp_path: Path
) -> None:
    dataset, steps = two_views
    how = Training.model_validate(recipe.model_dump() | {"folds": None, "sharpness": 3.0})
    train(dataset, steps, how, tmp_path)
    chosen = choose_left_out(tmp_path / "bundle", dataset, params.evaluation.model_copy(update={"set_coverage": 0.6}))
    val, predictor, column = dataset.split("val"), Predictor(tmp_path / "bundle"), dataset.task.positive_column
    scores = predictor.score(val)
    point = chosen.thresholds["specificity"]
    assert point.threshold == threshold_for_specificity(scores[:, column], val.truth == column, point.wanted)
    sets, order = chosen.prediction_sets, dataset.task.order
    assert sets is not None
    assert all(least in scores[val.labels == name, order.index(name)] for name, least in sets.least.items())
    held = sets.held(chosen.for_sets(predictor.score_by_fold(val)), order)
    assert np.array_equal(held, scores >= [sets.least[name] for name in order])


def test_an_interrupted_training_goes_on_with_the_network_that_it_was_at(
    two_views: tuple[Dataset, Images], recipe: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, steps = two_views
    train(dataset, steps, recipe, tmp_path / "whole")
    from cxrflow.training import train as module

    write = module._write_histories

    def stop(path: Path, before: list, *history: list) -> None:
        if len(before) == 1 and history and len(history[0]) == 3:
            raise OSError("stopped")
        write(path, before, *history)

    with monkeypatch.context() as patch:
        patch.setattr(module, "_write_histories", stop)
        with pytest.raises(OSError, match="stopped"):
            train(dataset, steps, recipe, tmp_path / "again")
    first = (tmp_path / "again" / "checkpoints" / "1" / "last.ckpt").stat().st_mtime_ns
    train(dataset, steps, recipe, tmp_path / "again")
    assert (tmp_path / "again" / "checkpoints" / "1" / "last.ckpt").stat().st_mtime_ns == first
    for name in ("bundle/model.safetensors", "bundle/model-2.safetensors", "bundle/bundle.json", "history.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_checkpoints_of_a_training_of_other_members_are_cleared(
    two_views: tuple[Dataset, Images], recipe: Training, training: Training, tmp_path: Path
) -> None:
    dataset, steps = two_views
    train(dataset, steps, training, tmp_path)
    train(dataset, steps, recipe, tmp_path)
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"1", "2"}
    train(dataset, steps, training, tmp_path)
    assert not [path for path in (tmp_path / "checkpoints").iterdir() if path.is_dir()]


def test_weights_of_two_networks_that_were_exchanged_are_refused(
    two_views: tuple[Dataset, Images], recipe: Training, tmp_path: Path
) -> None:
    dataset, steps = two_views
    train(dataset, steps, recipe, tmp_path)
    one, two = (tmp_path / "bundle" / name for name in ("model.safetensors", "model-2.safetensors"))
    one.rename(tmp_path / "held")
    two.rename(one)
    (tmp_path / "held").rename(two)
    with pytest.raises(CxrflowError, match=r"not those that bundle\.json describes"):
        read_bundle(tmp_path / "bundle")


def test_a_bundle_of_fewer_networks_leaves_no_weights_behind(
    two_views: tuple[Dataset, Images], recipe: Training, tmp_path: Path
) -> None:
    dataset, steps = two_views
    bundle = train(dataset, steps, recipe, tmp_path)
    assert bundle is not None
    _, (first, _) = read_bundle(tmp_path / "bundle")
    networks: tuple[Network, ...] = (bundle.networks[0].model_copy(update={"fold": None}),)
    seen = pd.DataFrame({"split": [], "content_hash": [], "near_hash": [], "patient": []})
    write_bundle(tmp_path / "bundle", [first], bundle.model_copy(update={"networks": networks}), seen)
    assert [path.name for path in (tmp_path / "bundle").glob("*.safetensors")] == ["model.safetensors"]
