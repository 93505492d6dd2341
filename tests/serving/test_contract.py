"""The service keeps its own OpenAPI: schemathesis asks what that allows, and what it forbids.

In the suite, few examples of each path; docs/serve.md says how to run many.
"""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

Served = Callable[..., TestClient]
PROGRAM = "from schemathesis.cli import schemathesis; schemathesis()"


def test_the_service_answers_as_its_openapi_says(run: Any, tmp_path: Path) -> None:
    pytest.importorskip("schemathesis")
    config = Path(__file__).with_name("schemathesis.toml")
    options = ["--phases", "coverage,fuzzing", "--max-examples", "4", "--seed", "1", "--no-color"]
    with run() as (url, _, said):
        command = [sys.executable, "-c", PROGRAM, "--config-file", str(config), "run", f"{url}/openapi.json", *options]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        cases = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
        assert cases, done.stdout
        assert int(cases[1]) == int(cases[2]) > 200
        assert "Unresolvable" not in done.stdout
        assert " ERROR " not in said.read_text()


def test_every_path_documents_its_refusals_in_its_own_form(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    paths = document["paths"]
    assert set(paths) == {
        "/about", "/metrics", "/predict", "/samples/{number}.png", "/v2", "/v2/health/live", "/v2/health/ready",
        *(f"/v2/models/{{name}}{version}{end}" for version in ("", "/versions/{version}")
          for end in ("", "/infer", "/ready")),
    }  # fmt: skip
    for path, methods in paths.items():
        for method, operation in methods.items():
            form = "Failed" if path.startswith("/v2") else "Problem"
            for status in ("403", "421", "500"):
                schema = operation["responses"][status]["content"]["application/json"]["schema"]
                assert schema == {"$ref": f"#/components/schemas/{form}"}, (path, method, status)
    assert "ValidationError" not in str(document)
    assert {"400", "401", "408", "413", "415", "422", "429", "503"} <= set(paths["/predict"]["post"]["responses"])
    assert {"400", "401", "404", "408", "413", "429", "503"} <= set(
        paths["/v2/models/{name}/infer"]["post"]["responses"]
    )
