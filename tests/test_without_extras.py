"""Without any extra, every command shows its help, every other module is imported, and what needs an extra names it."""

import json
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from packaging.requirements import Requirement
from PIL import Image

from cxrflow.task import Task

ROOT = Path(__file__).parents[1]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
#: Packages whose name for ``import`` is another one than for pip.
_IMPORTED_AS = {"python-multipart": "python_multipart"}
#: Modules that need an extra when they are imported: a command imports them when it is called, and says so.
OF_EXTRAS = {"cxrflow.serving": {"serve", "pacs"}, "cxrflow.outputs": {"pacs"}}
#: Runs in a fresh interpreter, as on a machine without the packages that the first argument names.
PROGRAM = """
import importlib, json, pkgutil, sys
from importlib.machinery import PathFinder

absent, commands = json.loads(sys.argv[1])

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in absent else super().find_spec(name, path, target)

sys.meta_path = [Without if finder is PathFinder else finder for finder in sys.meta_path]

import typer
from typer.testing import CliRunner
import cxrflow
from cxrflow.cli import app
from cxrflow.errors import CxrflowError

def run(arguments):
    done = CliRunner().invoke(app, arguments)
    return [done.exit_code, str(done.exception) if isinstance(done.exception, CxrflowError) else repr(done.exception)]

names = list(typer.main.get_command(app).commands)
helps = {name: run([name, "--help"])[0] for name in names} | {"": run(["--help"])[0]}
said = [run(command) for command in commands]
failed = {}
for module in pkgutil.walk_packages(cxrflow.__path__, "cxrflow.", onerror=lambda name: None):
    if not module.name.endswith(("__main__", "in_tensorflow")):
        try:
            importlib.import_module(module.name)
        except ImportError as error:
            failed[module.name] = error.name
print(json.dumps([helps, said, failed]))
"""


def packages(extra: str) -> set[str]:
    names = [Requirement(text).name for text in EXTRAS[extra]]
    return {_IMPORTED_AS.get(name, name.replace("-", "_")) for name in names}


@pytest.fixture(scope="module")
def said(
    bundle_of: Callable[..., Path], two_classes: Task, drawn: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, int], dict[str, list[Any]], dict[str, str]]:
    """Exit status of each command's help; status and error of commands that need an extra; what was not imported."""
    folder, bundle = tmp_path_factory.mktemp("without"), str(bundle_of(two_classes))
    Image.fromarray(drawn[0]).save(folder / "a.png")
    commands = {
        "serve": ["serve", "--bundle", bundle],
        "dicom-node": ["dicom-node", "--bundle", bundle, "--to", "A@127.0.0.1:1"],
        "predict --dicom": ["predict", "a.png", "--bundle", bundle, "--out", "o.csv", "--dicom", "objects"],
        "predict --burned-in-text": ["predict", "a.png", "--bundle", bundle, "--out", "o.csv", "--burned-in-text"],
    }
    absent = sorted({name for extra in EXTRAS if extra != "dev" for name in packages(extra)})
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps([absent, list(commands.values())])],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    helps, said, failed = json.loads(done.stdout.splitlines()[-1])
    return helps, dict(zip(commands, said, strict=True)), failed


def test_every_command_shows_its_help(said: Any) -> None:
    assert len(said[0]) > 15
    assert {name: status for name, status in said[0].items() if status != 0} == {}


def test_every_module_that_is_of_no_extra_is_imported(said: Any) -> None:
    _, _, failed = said
    extras = {module: OF_EXTRAS.get(".".join(module.split(".")[:2]), set()) for module in failed}
    allowed = {
        module: {name for extra in extras[module] for name in packages(extra)} | {"starlette"} for module in failed
    }
    assert {module: name for module, name in failed.items() if not extras[module] or name not in allowed[module]} == {}
    assert {"cxrflow.serving.app", "cxrflow.serving.storing"} <= failed.keys()  # they were absent


@pytest.mark.parametrize(
    ("command", "extra"),
    [("serve", "serve"), ("dicom-node", "pacs"), ("predict --dicom", "pacs"), ("predict --burned-in-text", "text")],
)
def test_a_command_that_needs_an_extra_says_so_in_one_sentence(said: Any, command: str, extra: str) -> None:
    status, error = said[1][command]
    assert status == 1
    assert f"pip install 'cxrflow[{extra}]'" in error
    assert error.count("\n") == 0
