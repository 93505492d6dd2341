"""What is missing is named with what to do, and looking never fails."""

import json
import os
import platform
import shutil
import subprocess
import sys
import time
import urllib.error
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cxrflow import __version__, doctor
from cxrflow.cli import app


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing answers, at once; Java 17 is there."""
    monkeypatch.setattr(doctor.urllib.request, "urlopen", _refuse)
    monkeypatch.setattr(doctor, "_java", lambda: "17.0.9")


def _refuse(*_: Any, **__: Any) -> None:
    raise urllib.error.URLError("no network")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch):
    """Have a package appear in this version, or not at all."""
    real = metadata.version

    def install(package: str, version: str | None) -> None:
        def seen(name: str) -> str:
            if name != package:
                return real(name)
            if version is None:
                raise metadata.PackageNotFoundError(name)
            return version

        monkeypatch.setattr(metadata, "version", seen)

    return install


def run() -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit status, and the checks by part and name."""
    done = CliRunner().invoke(app, ["doctor", "--json"], catch_exceptions=False)
    return done.exit_code, {f"{check['part']} {check['name']}": check for check in json.loads(done.stdout)}


def test_a_package_that_is_missing_for_an_extra_alone_is_no_failure(installed) -> None:
    installed("onnx2torch", None)
    status, found = run()
    assert status == 0
    assert found["base packages"]["remedy"] is None
    assert found["extra onnx"]["found"] == "lacks onnx2torch>=1.5.15"
    assert found["extra onnx"]["remedy"] == "pip install 'cxrflow[onnx]'"
    assert "onnx2torch>=1.5.15" in found["extra dev"]["found"]  # which holds the others
    assert "onnx2torch" not in found["extra lungs"]["found"]


@pytest.mark.parametrize(
    ("package", "version", "lacks"),
    [
        ("torchmetrics", None, "torchmetrics>=1.9"),
        ("timm", "0.9.2", "timm>=1.0.31"),
        ("pylibjpeg-rle", None, "pylibjpeg-rle"),  # of pylibjpeg's extra rle
    ],
)
def test_what_cxrflow_itself_lacks_is_a_failure(installed, package: str, version: str | None, lacks: str) -> None:
    installed(package, version)
    status, found = run()
    assert status == 1
    assert found["base packages"]["found"].startswith(f"lacks {lacks}")
    assert found["base packages"]["remedy"].startswith(f"pip install '{lacks}")


def test_a_torch_that_does_not_load_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise OSError("libtorch.so: cannot open\nshared object file")

    monkeypatch.setattr(doctor, "import_module", broken)
    status, found = run()
    assert status == 1
    assert found["base torch"]["found"] == "does not load: libtorch.so: cannot open shared object file"
    assert found["machine device"]["found"].startswith("unknown: libtorch.so")


def test_a_torch_that_is_lacking_is_not_loaded_whatever_its_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ImportError(f"No module named {name}")

    monkeypatch.setattr(doctor, "_requirements", lambda package: [doctor.Requirement("torch<0.2,>=0.1")])
    monkeypatch.setattr(doctor, "import_module", absent)
    (check,) = doctor._base()
    assert check.found == "lacks torch<0.2,>=0.1"


@pytest.mark.parametrize(("java", "complete"), [(None, False), ("1.8.0_392", False), ("17.0.9", True), ("21", True)])
def test_spark_takes_java_17(monkeypatch: pytest.MonkeyPatch, java: str | None, complete: bool) -> None:
    monkeypatch.setattr(doctor, "_java", lambda: java)
    status, found = run()
    assert status == 0
    assert ("java>=17" not in found["extra spark"]["found"]) == complete
    assert (found["extra spark"]["remedy"] == "install Java 17 or newer") == (not complete)
    assert found["version java"]["found"] == (java or "absent")


def test_the_network_is_waited_for_briefly_and_any_answer_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(request: Any, timeout: float) -> Any:
        if "github" in request.full_url:
            raise urllib.error.HTTPError(request.full_url, 403, "Forbidden", {}, None)
        time.sleep(6)
        raise TimeoutError

    monkeypatch.setattr(doctor.urllib.request, "urlopen", ask)
    monkeypatch.setattr(doctor, "_PATIENCE", 0.2)
    started = time.monotonic()
    found = {check.name: check.found for check in doctor._network()}
    assert time.monotonic() - started < 5
    assert found["github.com"].startswith("reachable")
    assert found["huggingface.co"].startswith("not reachable")


def test_disk_is_that_of_the_folder_or_of_the_one_that_will_hold_it(tmp_path: Path) -> None:
    (check,) = doctor._disk([tmp_path / "new" / "data"])
    free, total = (shutil.disk_usage(tmp_path)[k] / 1e9 for k in (2, 0))
    said = check.found.replace(",", "").split()
    assert float(said[0]) == pytest.approx(free, abs=1)
    assert float(said[2]) == pytest.approx(total, abs=1)


def test_the_real_run_shows_this_interpreter_and_every_extra(tmp_path: Path) -> None:
    command, wide = [sys.executable, "-m", "cxrflow.cli", "doctor"], os.environ | {"COLUMNS": "300"}
    done = subprocess.run(command, cwd=tmp_path, env=wide, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = {tuple(part.strip() for part in line.split("│")[2:4]) for line in done.stdout.splitlines() if "│" in line}
    assert ("cxrflow", __version__) in lines
    assert ("python", f"{platform.python_version()}, {sys.executable}") in lines
    assert ("torch", metadata.version("torch")) in lines
    for extra in metadata.metadata("cxrflow").get_all("Provides-Extra"):
        assert extra in {name for name, _ in lines}
