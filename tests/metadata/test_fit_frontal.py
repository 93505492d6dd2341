"""Fitting the check for frontal radiographs: sides kept apart, the same network each time, figures that add up."""

import json
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from cxrflow.errors import CxrflowError
from cxrflow.metadata import fit_frontal as module
from cxrflow.metadata.fit_frontal import fit_frontal, to_onnx
from cxrflow.reading.frontal import THUMBNAIL, open_network, probability

HEADER = ["patientid", "finding", "view", "modality", "folder", "filename"]
KINDS = {"frontal": ("PA", "X-ray"), "lateral": ("L", "X-ray"), "ct": ("Axial", "CT")}


@pytest.fixture
def collection(tmp_path, write_csv):
    """Writes covid-chestxray with 20 people of each kind named; lungs are two dark ellipses, or one, or a slope.

    Of the frontal radiographs every other one has a finding that is not one of the task's.
    """
    x, y = np.meshgrid(np.linspace(-1, 1, 120), np.linspace(-1, 1, 130))
    left, right = ((((x - s) / 0.3) ** 2 + (y / 0.7) ** 2 < 1) for s in (-0.45, 0.45))
    shapes = {"frontal": ~(left | right) * 1.0, "lateral": ~left * 1.0, "ct": (x + 1) / 2}

    def write(*kinds: str):
        rng = np.random.default_rng(0)
        folder = tmp_path / "sources" / "covid-chestxray-dataset"
        (folder / "images").mkdir(parents=True)
        rows = [HEADER]
        for kind in kinds:
            for n in range(20):
                name = f"{kind}{n}.png"
                grey = 40 + 150 * shapes[kind] + rng.normal(0, 20, x.shape)
                Image.fromarray(grey.clip(0, 255).astype(np.uint8)).save(folder / "images" / name)
                rows.append([f"{kind}{n}", "Tuberculosis" if n % 2 else "COVID-19", *KINDS[kind], "images", name])
        write_csv(folder / "metadata.csv", rows)
        return tmp_path / "sources"

    return write


def test_the_same_network_each_time_and_figures_of_every_picture(
    collection, demo_params, engine, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(module, "_EXAMPLES", 200)
    sources = collection(*KINDS)
    figures = fit_frontal(sources, demo_params, engine, tmp_path / "a")
    assert json.loads((tmp_path / "a" / "figures.json").read_text()) == figures
    assert figures["five_fold"]["images"] == dict.fromkeys(KINDS, "20 images of 20 groups")
    sides = [figures[side] for side in ("fitted_on", "val", "test")]
    counts = [int((side.get("images", side))["ct"].split()[0]) for side in sides]
    assert sum(counts) == 20
    assert min(counts) > 0
    assert figures["five_fold"]["auroc_frontal_against"]["ct"] > 0.9
    monkeypatch.setattr(module, "_five_fold", lambda rows: module._judged(rows, open_network(first)))
    first = (tmp_path / "a" / "frontal.onnx").read_bytes()
    fit_frontal(sources, demo_params, engine, tmp_path / "b")
    assert (tmp_path / "b" / "frontal.onnx").read_bytes() == first


def test_the_file_holds_the_layers_that_were_fitted() -> None:
    """Against the product of the float16 weights in double precision."""
    rng = np.random.default_rng(0)
    sizes = [THUMBNAIL**2, 8, 4, 1]
    layers = [(rng.normal(0, 0.1, pair), rng.normal(0, 0.1, pair[1])) for pair in pairwise(sizes)]
    thumbnails = rng.normal(size=(50, THUMBNAIL**2)).astype(np.float32)
    thumbnails[3] = 0  # no contrast
    value = thumbnails.astype(np.float64)
    for n, layer in enumerate(layers):
        weight, bias = (array.astype(np.float16).astype(np.float64) for array in layer)
        value = value @ weight + bias
        value = np.maximum(value, 0) if n < 2 else value
    expected = 1 / (1 + np.exp(-value[:, 0]))
    expected[3] = 0
    found = probability(thumbnails, open_network(to_onnx(layers)))
    assert np.ptp(found) > 0.1
    assert found == pytest.approx(expected, abs=1e-6)


def test_without_ct_slices_there_is_nothing_to_fit_on(collection, demo_params, engine, tmp_path) -> None:
    with pytest.raises(CxrflowError, match="no ct picture on side train"):
        fit_frontal(collection("frontal", "lateral"), demo_params, engine, tmp_path / "a")
