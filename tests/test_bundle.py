"""A bundle on disk: read as written, and refused where it is not what it says."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch

from cxrflow.bundle import (
    DESCRIPTION,
    WEIGHTS,
    Bundle,
    patient_digest,
    read_bundle,
    read_trained_on,
    seen_rows,
    write_bundle,
)
from cxrflow.errors import CxrflowError
from cxrflow.models import MODELS
from cxrflow.params import load_params
from cxrflow.records import CLASSES


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    images = load_params(Path(__file__).parents[1] / "params.yaml").images
    bundle = Bundle(
        cxrflow="0", model="resnet18", classes=CLASSES, images=images, mean=0.5, std=0.25, temperature=1.5,
        sources={"a": 1}, epoch=3, validation={"macro_auroc": 0.9}, digests={"data": "d", "params": "p", "code": "c"},
    )  # fmt: skip
    used = pd.DataFrame(
        {"split": ["train"], "content_hash": ["ab"], "near_hash": ["cd"], "patient_id": ["hospital:Jane Doe"]}
    )
    write_bundle(tmp_path / "bundle", MODELS["resnet18"].build(1, 3), bundle, seen_rows(used))
    return tmp_path / "bundle"


def test_read_as_written(folder: Path) -> None:
    torch.manual_seed(0)
    images = torch.randn(1, 1, 64, 64)
    bundle, network = read_bundle(folder)
    assert (bundle.temperature, bundle.classes, bundle.epoch) == (1.5, CLASSES, 3)
    again = read_bundle(folder)[1]
    assert torch.equal(network(images), again(images))
    assert "diagnosis" in json.loads((folder / DESCRIPTION).read_text())["purpose"]


def test_a_bundle_of_before_operating_points_still_loads(folder: Path) -> None:
    description = json.loads((folder / DESCRIPTION).read_text())
    del description["thresholds"], description["prediction_sets"]
    (folder / DESCRIPTION).write_text(json.dumps(description))
    bundle = read_bundle(folder)[0]
    assert (bundle.thresholds, bundle.prediction_sets) == ({}, None)
    point = {"wanted": 10, "threshold": 0.5, "sensitivity": 0.9, "specificity": 0.8}
    (folder / DESCRIPTION).write_text(json.dumps(description | {"thresholds": {"cost_ratio": point}}))
    assert read_bundle(folder)[0].thresholds["cost_ratio"].prevalence is None


def test_no_patient_is_named(folder: Path) -> None:
    assert "Jane" not in (folder / "trained_on.csv").read_text()
    assert read_trained_on(folder).patient[0] == patient_digest("hospital:Jane Doe")
    assert patient_digest(None) is None


def test_damage_is_one_clear_sentence(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CxrflowError, match="no bundle there"):
        read_bundle(tmp_path)
    weights = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(weights[: len(weights) // 2])
    with pytest.raises(CxrflowError, match="damaged"):
        read_bundle(folder)
    flipped = bytearray(weights)
    flipped[-1] ^= 1
    (folder / WEIGHTS).write_bytes(bytes(flipped))
    with pytest.raises(CxrflowError, match=r"not those that bundle\.json describes"):
        read_bundle(folder)
    description = json.loads((folder / DESCRIPTION).read_text())
    (folder / DESCRIPTION).write_text(json.dumps(description | {"surprise": 1}))
    with pytest.raises(CxrflowError, match="surprise"):
        read_bundle(folder)
    (folder / DESCRIPTION).write_text("{")
    with pytest.raises(CxrflowError, match="not a bundle of this version"):
        read_bundle(folder)
