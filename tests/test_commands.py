"""Every command of README.md and the tutorial is run by a test: none is shown that nobody has run."""

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import typer

from cxrflow.cli import app

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/tutorial.md")
PROGRAMS = ("cxrflow", "dvc", "git", "make", "pip")
GROUP: Any = typer.main.get_command(app)
#: The first words of a command of a page, and the test, or file, that runs it and holds the last of these words. All
#: other commands of the tutorial are run by tests/test_flow.py, which reads them off the page.
RUN_BY = {
    "pip install": "Makefile",  # .ci/run installs by it
    "cxrflow init my-study --sources": "tests/test_commands.py::test_make_makes_studies_and_runs_them",
    "cxrflow sources": "tests/sources/test_look.py::test_the_exit_status_tells_whether_all_can_be_read",
    "cxrflow serve": "tests/serving/conftest.py::run",
    "cxrflow export": "tests/exporting/test_export.py::test_the_command_writes_equal_bytes_wherever_it_is_told",
    "cxrflow validate-external": "tests/test_flow.py::test_evaluate_leaves_out_what_the_bundle_has_seen",
    "cxrflow compare": "tests/test_flow.py::test_a_bundle_of_another_task_predicts_is_validated_and_compared",
    "cxrflow report --compare": "tests/report/test_compare.py::compared",
    "cxrflow predict": "tests/test_flow.py::test_the_model_is_used_as_the_tutorial_says",
    "cxrflow explain": "tests/test_flow.py::test_the_model_is_used_as_the_tutorial_says",
    "cxrflow cross-validate": "tests/test_flow.py::test_commands_of_the_readme_that_no_other_test_runs",
    "cxrflow params --defaults": "tests/test_flow.py::test_commands_of_the_readme_that_no_other_test_runs",
    "cxrflow doctor": "tests/test_doctor.py::run",
    "cxrflow --help": "tests/cli/test_help.py::test_panels_and_examples_are_shown",
    "dvc metrics show": "tests/test_flow.py::test_dvc_knows_metrics_and_plots",
    "dvc plots show": "tests/test_flow.py::test_dvc_knows_metrics_and_plots",
    "git": "tests/test_flow.py::test_another_prevalence_reruns_neither_explanation_nor_audit",
}


def commands_of(text: str) -> list[list[str]]:
    """The commands of the programs above in the fenced blocks of a page, each as its words."""
    blocks = [block for kind, block in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S) if kind in ("", "sh")]
    lines = [re.split(r"\s+#\s", line)[0] for block in blocks for line in block.splitlines()]
    said = [shlex.split(part) for line in lines for part in re.split(r"&&|;", line)]
    return [words for words in said if words and words[0] in PROGRAMS]


COMMANDS = {page: commands_of((ROOT / page).read_text(encoding="utf-8")) for page in PAGES}
OF_CXRFLOW = sorted({tuple(words) for found in COMMANDS.values() for words in found if words[0] == "cxrflow"})


def known(words: list[str]) -> str | None:
    """The longest beginning of a command that RUN_BY lists."""
    return next((" ".join(words[:n]) for n in range(len(words), 0, -1) if " ".join(words[:n]) in RUN_BY), None)


@pytest.mark.parametrize("words", OF_CXRFLOW, ids=" ".join)
def test_every_command_of_cxrflow_parses(words: tuple[str, ...]) -> None:
    _, name, *arguments = words
    if name.startswith("--"):
        assert any(name in parameter.opts for parameter in GROUP.get_params(typer.Context(GROUP)))
        return
    with GROUP.make_context("cxrflow", [name]) as context:
        GROUP.commands[name].make_context(name, arguments, parent=context)  # raises if it does not parse


def test_every_command_is_run_by_a_test() -> None:
    tutorial = COMMANDS["docs/tutorial.md"]
    others = [words for page in PAGES for words in COMMANDS[page] if words not in tutorial]
    assert len(tutorial) > 8
    assert len(others) > 15
    assert [" ".join(words) for words in others if known(words) is None] == []


def test_the_tests_that_are_named_run_them() -> None:
    used = {known(words) for page in PAGES for words in COMMANDS[page]}
    assert sorted(set(RUN_BY) - used) == []  # no leftovers
    for words, named in RUN_BY.items():
        file, _, function = named.partition("::")
        text = (ROOT / file).read_text(encoding="utf-8")
        if function:
            found = [node for node in ast.parse(text).body if getattr(node, "name", None) == function]
            assert len(found) == 1, f"{named} is not there"
            text = ast.get_source_segment(text, found[0]) or ""
        assert words.split()[-1] in text, f"{named} does not run {words}"


def test_make_makes_studies_and_runs_them(tmp_path: Path) -> None:
    """With an environment that is there already, and `dvc repro` only noted down."""
    venv, note = tmp_path / "venv", tmp_path / "ran"
    (venv / "bin").mkdir(parents=True)
    (venv / "installed").touch()
    (venv / "bin" / "cxrflow").symlink_to(Path(sys.executable).with_name("cxrflow"))
    (venv / "bin" / "dvc").write_text(f'#!/bin/sh\necho "$(pwd) $*" >> {note}\n')
    (venv / "bin" / "dvc").chmod(0o755)
    images = tmp_path / "collections" / "hospital"
    images.mkdir(parents=True)
    cv2.imwrite(str(images / "a.png"), np.full((64, 64), 90, np.uint8))
    (images / "table.csv").write_text("file,patient,diagnosis\na.png,1,normal\n")

    def make(*arguments: str) -> str:
        command = ["make", "--no-print-directory", f"VENV={venv}", *arguments]
        return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout

    drawn, real = tmp_path / "drawn", tmp_path / "real"
    planned = make("--dry-run", "demo", f"STUDY={drawn}").splitlines()
    assert planned[:2] == [f'test -d "{drawn}" || cxrflow init "{drawn}"', f'cd "{drawn}" && dvc repro']
    said = make("run", f"STUDY={real}", f"SOURCES={images.parent}", "TASK=pneumonia")
    assert f'cxrflow init "{real}" --sources "{images.parent}" --task "pneumonia"' in said
    assert f"Report: {real}/results/report/index.html" in said
    assert note.read_text().splitlines() == [f"{real} repro"]
    assert "make site" in make("help")


def test_commands_are_read_off_a_page() -> None:
    text = "```\ncxrflow a 'b c' --d   # why\ncd x && dvc repro; ls\n```\n\n`cxrflow no`\n\n```yaml\ndvc: no\n```\n"
    assert commands_of(text + "```sh\nmake demo\n```\n") == [
        ["cxrflow", "a", "b c", "--d"],
        ["dvc", "repro"],
        ["make", "demo"],
    ]
