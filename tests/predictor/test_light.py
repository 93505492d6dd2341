"""What scoring a file imports, in a fresh interpreter: most of its CPU time would be other imports."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cxrflow
from cxrflow.predictor import Predictor
from cxrflow.task import Task

#: Slow to import, or of training, studies and reports. torchvision is needed by its own networks alone.
HEAVY = (
    "captum", "duckdb", "ibis", "jinja2", "joblib", "lightning", "matplotlib", "monai", "onnx", "pandas", "pydicom",
    "pyspark", "pytorch_lightning", "scipy", "sklearn", "timm", "torchmetrics", "torchvision", "torchxrayvision",
)  # fmt: skip
PROGRAM = """
import json, sys
from pathlib import Path

bundle, picture, out, *heavy = sys.argv[1:]
import cxrflow.images.file
worker = [name for name in ("torch", *heavy) if name in sys.modules]
from cxrflow.predictor import Predictor
from cxrflow.predict import Outputs, predict_files

predictor = Predictor(bundle)
scores = predictor.scores(predictor.prepare(picture))[0].round(6).tolist()
said = str(predict_files(Path(bundle), [Path(picture)], Outputs(Path(out))))
print(json.dumps([worker, scores, said, [name for name in heavy if name in sys.modules]]))
"""


def test_scoring_a_file_and_what_worker_processes_run_import_nothing_heavy(
    bundle_of: Callable[..., Path], two_classes: Task, drawn: list[np.ndarray], tmp_path: Path
) -> None:
    picture, out = tmp_path / "a.png", tmp_path / "out.csv"
    Image.fromarray(drawn[0]).save(picture)
    command = [sys.executable, "-c", PROGRAM, bundle_of(two_classes), picture, out, *HEAVY]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    worker, scores, said, heavy = json.loads(printed.splitlines()[-1])
    assert worker == []
    assert heavy == []
    assert said == "1 image scored, 0 of them flagged, 0 left out"
    assert [float(score) for score in out.read_text().splitlines()[1].split(",")[1:3]] == scores


def test_the_package_exports_the_predictor() -> None:
    assert cxrflow.Predictor is Predictor
    with pytest.raises(AttributeError, match="no attribute Other"):
        cxrflow.Other  # noqa: B018
