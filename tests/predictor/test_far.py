"""How far an image is from the training images: the description, the distance, the alarm and its guarantee."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image
from pydantic import ValidationError

from cxrflow.dataset import Dataset
from cxrflow.engines import LocalEngine
from cxrflow.evaluation.far import SHARE, calibrated, far_figures, fit_distance, fit_far
from cxrflow.far import FAR, LENGTH, Far, describe
from cxrflow.files import Root
from cxrflow.images.prepare import prepare_images
from cxrflow.outputs.words import as_far_in_words, in_words
from cxrflow.params import Params
from cxrflow.predictor import Predictor
from cxrflow.task import Task


def plain(distances: list[float], weights: list[float], share: float = 0.02, mean: float = 0.0) -> Far:
    """Euclidean distance from ``mean`` in each number."""
    eye = tuple(tuple(row) for row in np.eye(LENGTH).tolist())
    return Far(share=share, mean=(mean,) * LENGTH, whiten=eye, distances=tuple(distances), weights=tuple(weights))


def texture(seed: int, size: int = 64) -> np.ndarray:
    """A smooth random image, uint8."""
    noise = np.random.default_rng(seed).normal(size=(8, 8)).astype(np.float32)
    return np.asarray(cv2.normalize(cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC), None, 0, 255,
                                    cv2.NORM_MINMAX), np.uint8)  # fmt: skip


def test_a_description_is_that_of_the_definition() -> None:
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (32, 32)).astype(np.uint8)
    described = describe(image)
    assert described.shape == (LENGTH,)
    grey = (image - image.mean()) / image.std()
    down, across = np.mgrid[:32, :32]
    for u, v in ((0, 1), (1, 0), (3, 2), (4, 4)):  # the cosine transform, written out
        wave = np.cos(np.pi * (2 * down + 1) * u / 64) * np.cos(np.pi * (2 * across + 1) * v / 64)
        scale = (np.sqrt(1 / 32) if u == 0 else 0.25) * (np.sqrt(1 / 32) if v == 0 else 0.25)
        assert described[5 * u + v - 1] == pytest.approx(scale * (grey * wave).sum(), abs=1e-9)
    assert described[34:41] == pytest.approx(
        np.quantile(image, [0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98], method="inverted_cdf") / 255
    )
    black, white = (image == 0).mean(), (image == 255).mean()
    assert described[41:] == pytest.approx([black**0.25, white**0.25])
    kernel = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256  # of the pyramid (Burt and Adelson 1983)
    blurred = cv2.filter2D(image.astype(float), -1, kernel, borderType=cv2.BORDER_REFLECT_101)[::2, ::2]
    spread = np.zeros((32, 32))
    spread[::2, ::2] = 4 * blurred
    lost = np.abs(image - cv2.filter2D(spread, -1, kernel, borderType=cv2.BORDER_REFLECT_101))[2:-2, 2:-2] / 255
    assert described[24] == pytest.approx(np.log(np.sqrt((lost**2).mean()) + 1e-3), abs=0.05)  # but for the border
    assert described[25] == pytest.approx(np.log(np.median(lost) + 1e-3), abs=0.05)


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40)))
@settings(max_examples=60, deadline=None)
def test_every_image_has_a_finite_description(image: np.ndarray) -> None:
    assert np.isfinite(describe(image)).all()
    assert np.isfinite(describe(np.full((48, 48), image.flat[0], np.uint8))).all()


def test_distance_and_share_are_those_worked_out_by_hand() -> None:
    image = texture(1)
    length = float(np.linalg.norm(describe(image)))
    far = plain([length - 1, round(length, 3), length + 1], [0.25, 0.25, 0.25])
    assert far.distance(image) == pytest.approx(length, abs=6e-4)
    assert far.as_far(image) == pytest.approx(0.75)  # itself, one as far, one farther, and the new patient
    assert plain([length + 1], [0.5]).as_far(image) == 1
    assert plain([length - 1] * 9, [0.1] * 9).as_far(image) == pytest.approx(0.1)
    doubled = Far.model_validate(far.model_dump() | {"whiten": (2 * np.eye(LENGTH)).tolist()})
    assert doubled.distance(image) == pytest.approx(2 * length, abs=6e-4)
    assert (far.is_far(0.02), far.is_far(0.0201)) == (True, False)


def test_the_fitted_distance_is_mahalanobis() -> None:
    rng = np.random.default_rng(2)
    shaped = rng.normal(size=(20_000, 3)) @ np.array([[2, 0, 0], [1, 1, 0], [0, 0.5, 3.0]]) + 5
    mean, whiten = fit_distance(shaped)
    point = np.array([1.0, 8.0, 4.0])
    away = point - shaped.mean(axis=0)
    expected = np.sqrt(away @ np.linalg.inv(np.cov(shaped.T)) @ away)  # with so many, hardly anything is shrunk
    assert np.linalg.norm(whiten @ (point - mean)) == pytest.approx(expected, rel=0.01)
    constant = np.column_stack([shaped[:40], np.ones(40)])  # the same in all training images, and few of them
    assert np.isfinite(np.concatenate([part.ravel() for part in fit_distance(constant)])).all()


@pytest.mark.parametrize("groups", [15, 60, 200])
def test_no_more_new_patients_are_flagged_than_promised(groups: int) -> None:
    """Simulated: patients of one to eight images that are like each other, far from normally distributed."""
    rng, flagged, promised = np.random.default_rng(groups), [], []

    def patients(count: int) -> tuple[np.ndarray, np.ndarray]:
        sizes = rng.integers(1, 9, count)
        of = np.repeat(np.arange(count), sizes)
        centre = rng.standard_t(3, (count, LENGTH))
        return centre[of] + 0.3 * rng.standard_t(3, (len(of), LENGTH)), of

    for _ in range(120):
        mean, whiten = fit_distance(patients(60)[0])
        held, of_held = patients(groups)
        far = calibrated(mean, whiten, held, of_held)
        assert far is not None
        new, of_new = patients(50)
        distances = np.linalg.norm((new - np.array(far.mean)) @ np.array(far.whiten).T, axis=1).round(3)
        beyond = [1 - sum(w for d, w in zip(far.distances, far.weights, strict=True) if d < at) for at in distances]
        flagged.append(pd.Series([far.is_far(share) for share in beyond]).groupby(of_new).mean().mean())
        promised.append(far.share)
    assert promised[0] == pytest.approx(max(SHARE, 1 / (groups + 1)))
    error = np.std(flagged) / np.sqrt(len(flagged))
    assert np.mean(flagged) <= promised[0] + 2.5 * error
    assert np.mean(flagged) > 0


def test_nothing_is_said_with_few_patients() -> None:
    descriptions = np.random.default_rng(1).normal(size=(20, LENGTH))
    mean, whiten = fit_distance(descriptions)
    assert calibrated(mean, whiten, descriptions[:8], np.arange(8)) is None
    assert calibrated(mean, whiten, descriptions[:9], np.arange(9)) is not None


@pytest.mark.parametrize(
    "wrong",
    [
        {"share": -0.1}, {"share": 1.5}, {"mean": (0.0,)}, {"mean": (float("nan"),) * LENGTH},
        {"whiten": ((1.0,),) * LENGTH}, {"whiten": ()}, {"distances": (2.0, 1.0), "weights": (0.2, 0.2)},
        {"distances": (1.0,), "weights": (0.2, 0.2)}, {"weights": ()},
        {"distances": (float("inf"),)}, {"weights": (1.0,)}, {"weights": (-0.1,)}, {"more": 1},
    ],
)  # fmt: skip
def test_values_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    good = plain([1.0], [0.5]).model_dump()
    with pytest.raises(ValidationError):
        Far.model_validate(good | wrong)


@pytest.fixture(scope="module")
def stored(demo_params: Params, tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Path]:
    """Eighty pictures of as many patients, prepared; those of test are three of the same kind and three of noise."""
    folder = tmp_path_factory.mktemp("far")
    (folder / "a").mkdir()
    split = ["train"] * 60 + ["val"] * 14 + ["test"] * 6
    for number in range(80):
        noise = np.random.default_rng(number).integers(0, 255, (64, 64)).astype(np.uint8)
        Image.fromarray(noise if number > 76 else texture(number)).save(folder / "a" / f"{number}.png")
    names = [f"a/{number}.png" for number in range(80)]
    records = pd.DataFrame({
        "image_id": names, "path": names, "content_hash": names, "turned": False, "split": split, "group_id": names,
        "label": demo_params.task.order[0], "source": ["a"] * 77 + ["b"] * 3, "left_out": None,
    })  # fmt: skip
    steps = demo_params.images.model_copy(update={"size": 48})
    store = prepare_images(records, Root(folder), steps, LocalEngine(limits=None), folder / "images")
    return Dataset.join(records, store, demo_params.task), folder


def test_noise_is_far_from_smooth_images_and_smooth_images_are_not(
    stored: tuple[Dataset, Path], bundle_of: Callable[..., Path], demo_params: Params
) -> None:
    dataset, folder = stored
    far = fit_far(dataset)
    assert far is not None
    assert far.share == pytest.approx(1 / 15)
    steps = demo_params.images.model_copy(update={"size": 48})
    predictor = Predictor(bundle_of(demo_params.task, images=steps, far=far))
    figures = far_figures(predictor.bundle, dataset.split("test"))
    assert (figures["share"], figures["all"].value) == (far.share, 0.5)
    assert {name: figure.value for name, figure in figures["by_source"].items()} == {"a": 0.0, "b": 1.0}
    results = list(predictor.results([folder / "a" / f"{number}.png" for number in range(74, 80)]))
    assert [FAR in result.flags for result in results] == [False] * 3 + [True] * 3
    # From the file as from the store.
    assert [result.as_far for result in results] == [far.as_far(image) for image in dataset.split("test").pixels()]
    said = list(in_words(results[-1], predictor.bundle))
    assert said[0] == "Warning: the image does not look like a frontal chest radiograph."
    assert f"Warning: the image {FAR}." in said
    assert "Of 100 images of new patients like those of val, 7 are at least as far from the training images." in said


def test_a_bundle_without_it_claims_nothing(
    stored: tuple[Dataset, Path], bundle_of: Callable[..., Path], two_classes: Task
) -> None:
    dataset, folder = stored
    predictor = Predictor(bundle_of(two_classes))
    (result,) = predictor.results([folder / "a" / "79.png"])
    assert result.as_far is None
    assert FAR not in result.flags
    assert any("is unknown: the bundle does not say" in line for line in in_words(result, predictor.bundle))
    assert far_figures(predictor.bundle, dataset)["all"].reason.startswith("the bundle does not say what is far")
    assert fit_far(dataset.where(list(range(49)))) is None


def test_it_takes_no_torch(tmp_path: Path) -> None:
    image = texture(3)
    np.save(tmp_path / "image.npy", image)
    (tmp_path / "far.json").write_text(plain([1.0, 2.0], [0.3, 0.3]).model_dump_json())
    program = (
        "import sys, json, numpy as np, cxrflow.trained_on; from pathlib import Path; from cxrflow.far import Far;"
        "far = Far.model_validate_json(Path('far.json').read_text());"
        "said = far.as_far(np.load('image.npy'));"
        "heavy = [name for name in ('torch', 'pandas', 'sklearn', 'scipy', 'onnxruntime') if name in sys.modules];"
        "print(json.dumps([said, heavy]))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    said, heavy = json.loads(done.stdout)
    assert said == pytest.approx(0.4)
    assert heavy == []


def test_a_network_alone_keeps_it_if_it_sees_the_same_picture(
    bundle_of: Callable[..., Path], two_classes: Task
) -> None:
    folder = bundle_of(two_classes, far=plain([1.0], [0.5]))
    assert Predictor(folder, member=1).bundle.far == plain([1.0], [0.5])


@pytest.mark.parametrize(
    ("as_far", "said"),
    [
        (0.36, "100 images * 36 are"),
        (0.01, "100 images * 1 is"),
        (0.0004, "1,000 images * less than 1 is"),
        (1, "100 are"),
    ],
)
def test_as_far_is_said_as_a_number_of_images(as_far: float, said: str) -> None:
    words = as_far_in_words(as_far)
    assert all(part in words for part in said.split(" * "))
