"""Measured tables of the documentation: each has a command, and a command's output becomes its tables."""

import runpy
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from cxrflow.errors import CxrflowError

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
def imported(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(PROJECT / "benchmarks")
    import figures

    return figures


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    return subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture(name="project")
def committed(tmp_path: Path, figures: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small project with one page, one script and one file of code, committed."""
    for name in ("benchmarks", "docs", "src/cxrflow/images", "src/cxrflow/training"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "README.md").write_text("# No table\n")
    (tmp_path / "docs/page.md").write_text(_PAGE)
    (tmp_path / "benchmarks/lungs.py").write_text(f"import sys\nprint({_PRINTED!r}, sys.argv[1])\n")
    for name in ("images", "training"):
        (tmp_path / f"src/cxrflow/{name}/code.py").write_text("x = 1\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "all")
    measured = figures.Measurement("benchmarks/lungs.py FOLDER", 1, ("images",))
    monkeypatch.setattr(figures, "MEASURED", {"lungs": measured, "images": measured})
    return tmp_path


def test_every_table_of_the_documentation_has_a_command_and_every_command_a_table(figures: ModuleType) -> None:
    found = list(figures.blocks(PROJECT))
    assert {block.name for block in found} == set(figures.MEASURED)
    for name, measured in figures.MEASURED.items():
        numbers = sorted(block.number for block in found if block.name == name)
        assert numbers == list(range(1, len(numbers) + 1)), name
        assert (PROJECT / measured.command.split()[0]).is_file()
        assert all((PROJECT / path).exists() for path in figures.paths_of(name)), name


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
    assert "`python benchmarks/lungs.py FOLDER`\n<!-- end -->\n\n| not | measured |" in first
    assert second.startswith("| second |\n| --- |\n| 3 |\n\nMeasured ")
    assert second.endswith("<!-- end -->\n<!-- measured: images -->\n| other |\n<!-- end -->\n")
    assert "somewhere" in (project / "results/figures/lungs.txt").read_text()
    assert "| 1 | 2 |" in capfd.readouterr().out
    assert [(b.name, b.number, b.commit) for b in figures.blocks(project)] == [
        ("lungs", 1, head),
        ("lungs", 2, head),
        ("images", 1, None),
    ]


def test_a_table_is_of_older_code_once_the_code_that_it_measures_changes(figures: ModuleType, project: Path) -> None:
    figures.measure("lungs", Path("somewhere"), project)
    (block, *_) = figures.blocks(project)
    (project / "src/cxrflow/training/code.py").write_text("x = 2\n")
    assert not figures.changed(figures.paths_of("lungs"), project, block.commit)
    (project / "src/cxrflow/images/code.py").write_text("x = 2\n")
    assert figures.changed(figures.paths_of("lungs"), project, block.commit)
    assert figures.changed(figures.paths_of("lungs"), project, "0123456")


def test_what_is_not_committed_or_fails_or_prints_too_little_leaves_the_page(
    figures: ModuleType, project: Path
) -> None:
    script = project / "benchmarks/lungs.py"
    script.write_text(script.read_text() + "\n")
    with pytest.raises(CxrflowError, match="not committed"):
        figures.measure("lungs", Path("somewhere"), project)
    for content, said in (("raise SystemExit(3)", "ended with status 3"), ("print('| one |')", "asks for number 2")):
        script.write_text(f"{content}\n")
        git(project, "commit", "-qam", content)
        with pytest.raises(CxrflowError, match=said):
            figures.measure("lungs", Path("somewhere"), project)
    assert (project / "docs/page.md").read_text() == _PAGE


def test_the_command_line_names_what_there_is(tmp_path: Path) -> None:
    command = [sys.executable, str(PROJECT / "benchmarks/figures.py")]
    for arguments, said in ((["lung"], "nothing is called lung"), (["lungs"], "--sources FOLDER")):
        done = subprocess.run([*command, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert said in done.stderr
