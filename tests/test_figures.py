"""Measured tables of the documentation: each has a command, and a command's output becomes its tables."""

import importlib
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from cxrflow.errors import CxrflowError
from cxrflow.params_file import DEFAULTS, load_params

PROJECT = Path(__file__).parents[1]
_PRINTED = "a remark\n| new | b |\n| --- | --- |\n| 1 | 2 |\n\nanother\n| second |\n| --- |\n| 3 |\n"
_PAGE = """# Title

<!-- measured: lungs -->
| old | b |
|---|---|
| 0 | 0 |
<!-- end -->

| not | measured |
|---|---|

<!-- measured: lungs 2 -->
| old |
<!-- end -->
<!-- measured: images -->
| other |
<!-- end -->
"""


@pytest.fixture(name="figures")
def imported(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(PROJECT / "benchmarks")
    import figures

    yield figures
    for name in ("figures", "tables"):
        del sys.modules[name]


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    return subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture(name="project")
def committed(tmp_path: Path, figures: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small project with one page, one script and some code, committed."""
    for name in ("benchmarks", "docs", "src/cxrflow/overrides", "src/cxrflow/images", "src/cxrflow/training"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "README.md").write_text("# No table\n")
    (tmp_path / "src/cxrflow/overrides/defaults.yaml").write_text("seed: 1\n")
    (tmp_path / "docs/page.md").write_text(_PAGE)
    needs = "if False:\n    from cxrflow.images import code\n"
    (tmp_path / "benchmarks/lungs.py").write_text(f"import sys\n{needs}print({_PRINTED!r}, sys.argv[1])\n")
    for name in ("images", "training"):
        (tmp_path / f"src/cxrflow/{name}/code.py").write_text("from . import more\n")
        (tmp_path / f"src/cxrflow/{name}/more.py").write_text("import os\n")
        (tmp_path / f"src/cxrflow/{name}/weights.onnx").write_text("1\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "all")
    measured = figures.Measurement("benchmarks/lungs.py FOLDER", 1)
    monkeypatch.setattr(figures, "MEASURED", {"lungs": measured, "images": measured})
    return tmp_path


def test_every_table_of_the_documentation_has_a_command_and_every_command_a_table(figures: ModuleType) -> None:
    found = list(figures.blocks(PROJECT))
    assert {block.name for block in found} == set(figures.MEASURED)
    for name, measured in figures.MEASURED.items():
        numbers = sorted(block.number for block in found if block.name == name)
        assert numbers == list(range(1, len(numbers) + 1)), name
        assert (PROJECT / measured.command.split()[0]).is_file()
        assert all((PROJECT / path).exists() for path in figures.paths_of(name, PROJECT)), name
    assert "src/cxrflow/metadata/fit_frontal.py" in figures.paths_of("frontal", PROJECT)
    assert "src/cxrflow/lungs/lungs.onnx" in figures.paths_of("lungs", PROJECT)
    assert "benchmarks/bad_inputs/state.py" in figures.paths_of("bad-input", PROJECT)


def test_every_script_finds_what_it_imports(figures: ModuleType) -> None:
    for script in sorted({measured.command.split()[0] for measured in figures.MEASURED.values()}):
        assert "main" in runpy.run_path(str(PROJECT / script)), script


def test_tables_are_replaced_and_nothing_else(figures: ModuleType, project: Path, capfd) -> None:
    figures.measure("lungs", Path("somewhere"), project)
    page = (project / "docs/page.md").read_text()
    head = git(project, "rev-parse", "--short=7", "HEAD").strip()
    first, second = page.split("<!-- measured: lungs -->\n")[1].split("<!-- measured: lungs 2 -->\n")
    assert first.startswith("| new | b |\n| --- | --- |\n| 1 | 2 |\n\nMeasured ")
    assert f", commit {head}, " in first
    assert " seconds: `python benchmarks/lungs.py FOLDER`\n<!-- end -->\n\n| not | measured |" in first
    assert second.startswith("| second |\n| --- |\n| 3 |\n\nMeasured ")
    assert second.endswith("<!-- end -->\n<!-- measured: images -->\n| other |\n<!-- end -->\n")
    assert "somewhere" in (project / "results/figures/lungs.txt").read_text()
    assert "| 1 | 2 |" in capfd.readouterr().out
    assert [(b.name, b.number, b.commit) for b in figures.blocks(project)] == [
        ("lungs", 1, head),
        ("lungs", 2, head),
        ("images", 1, None),
    ]


@pytest.mark.parametrize(
    ("path", "older"),
    [
        ("src/cxrflow/training/code.py", False),
        ("src/cxrflow/images/code.py", True),
        ("src/cxrflow/images/more.py", True),
        ("src/cxrflow/images/weights.onnx", True),
        ("benchmarks/lungs.py", True),
        ("src/cxrflow/overrides/defaults.yaml", True),
        ("src/cxrflow/overrides/defaults.yaml", False),
    ],
)
def test_a_table_is_of_older_code_once_what_it_was_measured_with_changes(
    figures: ModuleType, project: Path, capsys, path: str, older: bool
) -> None:
    figures.measure("lungs", Path("somewhere"), project)
    capsys.readouterr()
    values = path.endswith("defaults.yaml") and older
    (project / path).write_text((project / path).read_text() + ("more: 1\n" if values else "\n"))
    figures.print_state(["lungs"], project)
    states = [line.split(" | ")[4] for line in capsys.readouterr().out.splitlines()[2:] if line]
    assert states == ["older code" if older else "this code"] * 2
    assert figures.changed([path], project, "0123456")


def test_what_is_not_committed_fails_or_prints_too_little_leaves_the_page(figures: ModuleType, project: Path) -> None:
    script, code = project / "benchmarks/lungs.py", project / "src/cxrflow/images/new.py"
    (project / "src/cxrflow/images/code.py").write_text("from cxrflow.images import new\n")
    code.write_text("x = 1\n")
    git(project, "commit", "-qam", "imports what is not committed")
    with pytest.raises(CxrflowError, match="not as committed: src/cxrflow/images/new"):
        figures.measure("lungs", Path("somewhere"), project)
    git(project, "add", "-A")
    for content, said in (("raise SystemExit(3)", "ended with status 3"), ("print('| one |')", "place for number 2")):
        script.write_text(f"{content}\n")
        git(project, "commit", "-qam", content)
        with pytest.raises(CxrflowError, match=said):
            figures.measure("lungs", Path("somewhere"), project)
    assert (project / "docs/page.md").read_text() == _PAGE


def test_a_table_without_an_end_is_named_and_nothing_is_lost(figures: ModuleType, project: Path) -> None:
    page = project / "docs/page.md"
    page.write_text(_PAGE.replace("<!-- end -->\n\n| not", "\n| not"))
    with pytest.raises(CxrflowError, match=r"page.md: a table that is measured has no `<!-- end -->`"):
        figures.write_pages("lungs", _PRINTED, "Measured", project)
    assert page.read_text() == _PAGE.replace("<!-- end -->\n\n| not", "\n| not")


def test_outside_git_it_says_so(figures: ModuleType, project: Path) -> None:
    shutil.rmtree(project / ".git")
    with pytest.raises(CxrflowError, match="measure in a git checkout"):
        figures.measure("lungs", Path("somewhere"), project)


def test_the_tables_of_the_real_sample(figures: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """A collection or a pair that is absent leaves its cell empty."""
    studies = importlib.import_module("studies")
    monkeypatch.delitem(sys.modules, "studies")
    figure = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 8, "groups": 8, "counts": "7 a, 1 b"}
    both = {"n": 8, "test": {"macro_auroc": figure}, "baseline": {"macro_auroc": figure, "difference": figure}}
    test = both | {"by_source": {"rsna": {"normal_vs_pneumonia": figure}}}
    ece = {"ece": 0.0123, "ece_if_calibrated": {"mean": 0.03}}
    out_of_fold = both | {"by_source": {}, "within_folds": {"nih": {"normal_vs_pneumonia": figure}}, "calibration": ece}
    out_of_fold |= {"at_specificity": {"wanted": 0.98, "roc": {"value": None, "reason": "too few"}}}
    audit = {"tests": {"gap": {"question": "Why?", "verdict": "shortcut found", "words": "Words."}}}
    studies.print_real(out_of_fold, test, audit, load_params(DEFAULTS).task)
    lines = capsys.readouterr().out.splitlines()
    assert "| the difference of these two, paired | 0.500 (0.400 to 0.600) | 0.500 (0.400 to 0.600) |" in lines
    assert "| within nih, normal against pneumonia | 0.50 (0.40 to 0.60, 7 a, 1 b) |  |" in lines
    assert "| within rsna, normal against pneumonia |  | 0.50 (0.40 to 0.60, 7 a, 1 b) |" in lines
    assert "| 1. Why? | **shortcut found** | Words. |" in lines
    assert "| COVID-19 sensitivity at specificity 0.98, off the ROC curve | unknown (too few) | 0.4 |" in lines
    assert lines[-2] == "| ECE, at most (0.030 if every probability were exactly right) | 0.012 | 0.05 |"


def test_the_command_line_names_what_there_is(tmp_path: Path) -> None:
    command = [sys.executable, str(PROJECT / "benchmarks/figures.py")]
    for arguments, said in ((["lung"], "nothing is called lung"), (["lungs"], "--sources FOLDER")):
        done = subprocess.run([*command, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert said in done.stderr
