"""Libraries that report their use to their makers do not."""

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import numpy as np
import cxrflow
from cxrflow.reading.frontal import turn
turn(np.zeros((64, 64), np.uint8))  # runs ONNX Runtime
"""


def test_onnx_runtime_leaves_no_identifier_and_no_events(tmp_path: Path) -> None:
    keep = {key: value for key, value in os.environ.items() if key not in ("ORT_DISABLE_TELEMETRY", "CI")}
    environment = keep | {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, env=environment, cwd=tmp_path)
    assert [*tmp_path.rglob("*")] == []
