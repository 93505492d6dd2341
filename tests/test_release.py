"""What is released: one version everywhere; sdist and wheel hold what they should, and the wheel runs by itself."""

import hashlib
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from datetime import date
from email.parser import BytesParser
from email.policy import default as policy
from os import environ, pathsep
from pathlib import Path
from shutil import copy, copytree, ignore_patterns

import pytest
import yaml
from markdown_it import MarkdownIt

from cxrflow import __version__
from cxrflow.task import Task

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "cxrflow"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel that was built from it, made from a copy: building writes into the tree."""
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("dist")
    for path in ROOT.iterdir():
        if path.is_file() and path.name != ".git":
            copy(path, tree)
    for folder in ("src", "tests", "docs", "benchmarks"):
        copytree(ROOT / folder, tree / folder, ignore=ignore_patterns("__pycache__", "*.egg-info"))
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", out, tree], check=True, capture_output=True
    )
    again = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", out / "again", tree]
    subprocess.run(again, check=True, capture_output=True)
    return out


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (wheel,) = built.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel installed into a folder of its own, by pip."""
    folder = tmp_path_factory.mktemp("site")
    options = ("--no-deps", "--no-index", "--no-compile", "--disable-pip-version-check", "--target", folder)
    subprocess.run([sys.executable, "-m", "pip", "install", *options, wheel], check=True, capture_output=True)
    return folder


def test_the_version_is_the_same_wherever_it_is_said() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    version, day = re.findall(r"^## \[(.+)\] - (\S+)$", changes, re.M)[0]
    assert (version, citation["version"]) == (__version__, __version__)
    assert date.fromisoformat(day) == citation["date-released"]
    # What the Citation File Format 1.2 demands.
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert (citation["cff-version"], citation["license"]) == ("1.2.0", "MIT")


def test_the_changelog_keeps_its_form() -> None:
    headings = re.findall(r"^##+ .+$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    kinds = {f"### {kind}" for kind in ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")}
    dated = r"## (\[Unreleased\]|\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d)"
    assert [heading for heading in headings if heading not in kinds and not re.fullmatch(dated, heading)] == []


def test_the_wheel_holds_the_package_and_its_licences_alone(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    info = f"cxrflow-{__version__}.dist-info"
    source = {
        f"cxrflow/{path.relative_to(PACKAGE).as_posix()}"
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    licences = {f"{info}/licenses/LICENSE", f"{info}/licenses/NOTICE.md"}
    made = {f"{info}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "top_level.txt")}
    assert names == source | licences | made
    assert wheel.name == f"cxrflow-{__version__}-py3-none-any.whl"


def test_the_sdist_holds_what_the_wheel_is_built_from_and_no_tests_or_data(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()} - {""}
    others = {name for name in names if not name.startswith("src")}
    told = {"LICENSE", "NOTICE.md", "PYPI.md", "CHANGELOG.md", "CITATION.cff", "SECURITY.md", "constraints.txt"}
    # setuptools adds README.md, setup.cfg and PKG-INFO by itself.
    assert others == told | {"pyproject.toml", "MANIFEST.in", "README.md", "setup.cfg", "PKG-INFO"}


def test_the_sdist_builds_the_wheel_that_the_tree_builds(built: Path, wheel: Path) -> None:
    (again,) = (built / "again").glob("*.whl")

    def contents(path: Path) -> dict[str, str]:
        with zipfile.ZipFile(path) as archive:
            return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()}

    assert contents(again) == contents(wheel)


def test_the_metadata_are_valid_and_name_the_licences(built: Path, wheel: Path) -> None:
    files = [*built.glob("*.whl"), *built.glob("*.tar.gz")]
    command = [sys.executable, "-m", "twine", "--no-color", "check", "--strict", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    with zipfile.ZipFile(wheel) as archive:
        said = BytesParser(policy=policy).parsebytes(archive.read(f"cxrflow-{__version__}.dist-info/METADATA"))
    assert (said["Version"], said["License-Expression"]) == (__version__, "MIT")
    assert said.get_all("License-File") == ["LICENSE", "NOTICE.md"]
    assert said["Description-Content-Type"] == "text/markdown"


def test_the_page_of_the_package_renders_without_links_into_the_repository() -> None:
    html = MarkdownIt("gfm-like", {"linkify": False}).render((ROOT / "PYPI.md").read_text(encoding="utf-8"))
    assert html.count("<h1>") == 1
    assert "not for diagnosis or treatment" in html
    leads = re.findall(r'(?:href|src)="([^"]+)"', html)
    assert [link for link in leads if not link.startswith("https://")] == []


def test_the_notice_names_every_file_of_weights() -> None:
    notice = (ROOT / "NOTICE.md").read_text(encoding="utf-8")
    weights = [path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.onnx")]
    assert len(weights) >= 2
    named = re.findall(r"^\| `([^`]+)` \|", notice, re.M)
    assert set(weights) <= set(named)
    assert [name for name in named if not (PACKAGE / name).is_file()] == []


@pytest.mark.parametrize("page", ["SECURITY.md", "NOTICE.md"])
def test_links_of_the_pages_at_the_root_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not link.startswith("https://")]
    assert [link for link in links if not (ROOT / link).is_file()] == []


@pytest.mark.parametrize("file", sorted((ROOT / ".github" / "workflows").glob("*.yml")), ids=lambda path: path.stem)
def test_workflows_pin_their_actions_and_may_write_nothing(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    uses = re.findall(r"uses: (.+)$", text, re.M)
    assert uses
    assert [use for use in uses if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", use)] == []
    held = yaml.safe_load(text)
    assert held["permissions"] == {}
    allowed = ({"contents": "read"}, {"id-token": "write"})  # the latter is trusted publishing
    assert all(job["permissions"] in allowed for job in held["jobs"].values())
    assert [path for path in re.findall(r"\btests/\w+|\.ci/run\b", text) if not (ROOT / path).exists()] == []


def installed(site: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed ``cxrflow`` from a folder outside the checkout, on the packages of this environment."""
    environment = {key: value for key, value in environ.items() if key != "PYTHONPATH"} | {"PYTHONPATH": str(site)}
    environment["PATH"] = f"{site / 'bin'}{pathsep}{environ['PATH']}"  # for what `cxrflow` starts itself
    return subprocess.run(
        [site / "bin" / "cxrflow", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_the_installed_command_runs_from_the_wheel(site: Path, tmp_path: Path) -> None:
    code = "import cxrflow, importlib.metadata as m; print(cxrflow.__file__, m.version('cxrflow'))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environ | {"PYTHONPATH": str(site)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == [str(site / "cxrflow" / "__init__.py"), __version__]
    assert installed(site, tmp_path, "--version").stdout == f"{__version__}\n"
    assert "cxrflow predict" in installed(site, tmp_path, "predict", "--help").stdout


def test_a_study_is_made_and_begun_and_a_radiograph_scored_from_the_wheel(
    site: Path, bundle_of: Callable[..., Path], two_classes: Task, tmp_path: Path
) -> None:
    made = installed(site, tmp_path, "init", "study")
    assert made.returncode == 0, made.stderr
    study = tmp_path / "study"
    with (study / "params.yaml").open("a", encoding="utf-8") as params:
        params.write("\ndemo: {patients: 60}\n")
    begun = installed(site, study, "run", "demo")
    assert begun.returncode == 0, begun.stderr
    assert (study / "results" / "params.yaml").is_file()
    one, bundle = "data/demo/demo-hospital/images/0001.png", str(bundle_of(two_classes))
    scored = installed(site, study, "predict", one, "--bundle", bundle, "--out", "out.csv")
    assert scored.returncode == 0, scored.stderr
    assert len((study / "out.csv").read_text(encoding="utf-8").splitlines()) == 2
