"""Fitting the check for frontal radiographs: sides kept apart, the same weights each time, figures that add up."""

import json

import numpy as np
import pytest
from PIL import Image

from cxrflow.errors import CxrflowError
from cxrflow.metadata import fit_frontal as module
from cxrflow.metadata.fit_frontal import fit_frontal
from cxrflow.reading.frontal import load_weights

HEADER = ["patientid", "finding", "view", "modality", "folder", "filename"]
KINDS = {"frontal": ("PA", "X-ray"), "lateral": ("L", "X-ray"), "ct": ("Axial", "CT")}


@pytest.fixture
def collection(tmp_path, write_csv):
    """Writes covid-chestxray with 20 people of each kind named; lungs are two dark ellipses, or one, or a slope."""
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
                rows.append([f"{kind}{n}", "COVID-19", *KINDS[kind], "images", name])
        write_csv(folder / "metadata.csv", rows)
        return tmp_path / "sources"

    return write


def test_the_same_weights_each_time_and_figures_of_every_picture(
    collection, how, engine, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(module, "_EXAMPLES", 400)
    sources = collection(*KINDS)
    figures = fit_frontal(sources, how, engine, tmp_path / "a")
    fit_frontal(sources, how, engine, tmp_path / "b")
    first, second = ((tmp_path / name / "frontal.safetensors").read_bytes() for name in "ab")
    assert first == second
    assert load_weights(tmp_path / "a" / "frontal.safetensors")["weight0"].dtype == np.float32
    assert json.loads((tmp_path / "a" / "figures.json").read_text()) == figures
    assert figures["five_fold"]["images"] == dict.fromkeys(KINDS, "20 images of 20 groups")
    sides = [figures[side] for side in ("fitted_on", "val", "test")]
    counts = [int((side.get("images", side))["ct"].split()[0]) for side in sides]
    assert sum(counts) == 20
    assert min(counts) > 0
    assert figures["five_fold"]["auroc_frontal_against"]["ct"] > 0.9


def test_without_ct_slices_there_is_nothing_to_fit_on(collection, how, engine, tmp_path) -> None:
    with pytest.raises(CxrflowError, match="no ct picture on side train"):
        fit_frontal(collection("frontal", "lateral"), how, engine, tmp_path / "a")
