"""The examples of docs/serve.md work."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "serve.md"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_every_curl_example_is_answered(run: Any, tmp_path: Path, pictures: list[bytes], scan: bytes) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert sum(block.count("curl ") for block in blocks) >= 7
    (tmp_path / "chest.png").write_bytes(pictures[0])
    (tmp_path / "scan.dcm").write_bytes(scan)
    with run() as (url, _, said):
        for block in blocks:
            script = "set -euo pipefail\n" + block.replace("http://127.0.0.1:8000", url)
            environment = os.environ | {"TOKEN": "any"}
            done = subprocess.run(
                ["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path, env=environment, check=False
            )
            assert done.returncode == 0, (block, done.stdout[-500:], done.stderr[-500:])
            assert done.stdout.startswith("{") or "-o " in block
        assert " ERROR " not in said.read_text()
    for name, count in (("report", 1), ("both", 2)):
        assert (tmp_path / f"{name}.multipart").read_bytes().count(b"Content-Type: application/dicom") == count
