"""What is installed and deployed: package data, the Containerfile, the units of systemd."""

import fnmatch
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "cxrflow"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_an_installed_package_has_all_files_of_the_source() -> None:
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["cxrflow"]
    others = [path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*") if path.is_file()]
    others = [name for name in others if "__pycache__" not in name and not name.endswith(".py")]
    assert len(others) > 5
    # A * of setuptools does not cross folders.
    assert [
        n for n in others if not any(fnmatch.fnmatch(n, p) and n.count("/") == p.count("/") for p in patterns)
    ] == []
    for pattern in patterns:
        assert fnmatch.filter(others, pattern), f"{pattern}: no such file"


def test_every_pinned_package_meets_what_the_project_asks_for() -> None:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines[1:])}
    extras = PROJECT["project"]["optional-dependencies"].values()
    asked = [Requirement(text) for text in (*PROJECT["project"]["dependencies"], *(t for each in extras for t in each))]
    for requirement in asked:
        if (name := canonicalize_name(requirement.name)) != "cxrflow":
            assert pinned.get(name), f"{name} is not in constraints.txt"
            assert requirement.specifier.contains(pinned[name]), f"{requirement} is pinned to {pinned[name]}"


def hadolint(path: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / "hadolint"
    return subprocess.run([program, path], capture_output=True, text=True, check=False)


def test_the_containerfile_has_no_finding(tmp_path: Path) -> None:
    done = hadolint(ROOT / "Containerfile")
    assert (done.returncode, done.stdout) == (0, "")
    (tmp_path / "Containerfile").write_text("FROM python:latest\nRUN cd /x && sudo pip install y\n")
    assert "DL3007" in hadolint(tmp_path / "Containerfile").stdout  # it does look


def test_the_container_copies_files_that_are_there_and_not_ignored() -> None:
    kept = re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.M)
    copied = re.findall(r"^COPY (.+) \S+$", (ROOT / "Containerfile").read_text(encoding="utf-8"), re.M)
    names = [name for line in copied for name in line.split()]
    assert sorted(names) == sorted(kept)
    assert all((ROOT / name).exists() for name in names)


@pytest.mark.parametrize("unit", sorted((ROOT / "deploy").glob("*.service")), ids=lambda path: path.stem)
def test_the_units_are_valid_and_call_commands_with_options_that_exist(unit: Path, tmp_path: Path) -> None:
    text = unit.read_text(encoding="utf-8")
    (line,) = re.findall(r"^ExecStart=(\S+/cxrflow) (\S+) (.+)$", text, re.M)
    asked = subprocess.run(
        [sys.executable, "-m", "cxrflow.cli", line[1], "--help"],
        capture_output=True, text=True, check=True, env=os.environ | {"COLUMNS": "200"},
    )  # fmt: skip
    for option in re.findall(r"--[a-z-]+", line[2]):
        assert option in asked.stdout, option
    if program := shutil.which("systemd-analyze"):
        (tmp_path / unit.name).write_text(text.replace(line[0], "/bin/true"))
        done = subprocess.run([program, "verify", tmp_path / unit.name], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
