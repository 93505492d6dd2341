"""The examples of docs/python.md run as they stand, and what their comments promise is so."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import examples

from cxrflow.task import Task

PAGE = (Path(__file__).parents[2] / "docs" / "python.md").read_text(encoding="utf-8")


def test_the_examples_run_one_after_the_other(
    bundle_of: Callable[..., Path],
    task: Task,
    drawn: list[np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "results" / "training").mkdir(parents=True)
    (tmp_path / "results" / "training" / "bundle").symlink_to(bundle_of(task))
    Image.fromarray(drawn[0]).save(tmp_path / "scans" / "one.png")
    data = examples.ct
    data.Modality = "DX"
    data.save_as(tmp_path / "scans" / "two.dcm")
    (tmp_path / "scans" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    monkeypatch.chdir(tmp_path)
    held: dict[str, Any] = {}
    parts = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)
    assert len(parts) == 7
    for example in parts:
        exec(example, held)  # noqa: S102
    said = capsys.readouterr().out
    assert said.count("sha256:") == 2
    assert held["heat"].shape == drawn[0].shape
    assert held["picture"].shape == (*drawn[0].shape, 3)
    assert f"row {held['y']}, column {held['x']}" in said
    assert held["scores"].sum() == pytest.approx(1)
    assert len((tmp_path / "results.csv").read_text().splitlines()) == 3
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 2
