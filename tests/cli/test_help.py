"""``cxrflow --help``: every command has a panel and examples that parse; help is quick; completion."""

import shlex
import subprocess
import sys
from typing import Any, get_args

import pytest
import typer
from typer.testing import CliRunner

from cxrflow.cli import app
from cxrflow.cli.options import Panel
from cxrflow.terminal import set_quiet

GROUP: Any = typer.main.get_command(app)
COMMANDS = {name: command for name, command in GROUP.commands.items() if not command.hidden}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_panel_and_examples_that_parse(name: str) -> None:
    command = COMMANDS[name]
    assert command.rich_help_panel in get_args(Panel)
    heading, *examples = command.epilog.split("\n\n")
    assert heading == ("Example:" if len(examples) == 1 else "Examples:")
    assert 1 <= len(examples) <= 2
    for example in examples:
        program, called, *arguments = shlex.split(example)
        assert (program, called) == ("cxrflow", name)
        with GROUP.make_context("cxrflow", [called]) as context:
            command.make_context(called, arguments, parent=context)  # raises if it does not parse


def test_panels_and_examples_are_shown() -> None:
    shown = CliRunner().invoke(app, ["--help"]).output
    at = [shown.index(f"─ {panel} ─") for panel in get_args(Panel)]
    assert at == sorted(at)
    assert "cxrflow cross-validate --folds 5" in CliRunner().invoke(app, ["cross-validate", "--help"]).output


def test_quiet_alone_shows_the_help_as_nothing_does() -> None:
    alone, quiet = CliRunner().invoke(app, []), CliRunner().invoke(app, ["--quiet"])
    set_quiet(False)
    assert "─ Flow ─" in alone.output
    assert (quiet.exit_code, quiet.output) == (alone.exit_code, alone.output)


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, cxrflow.cli as cli; cli.app(['--help'], standalone_mode=False); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "typer" in loaded
    assert not loaded & {"cv2", "duckdb", "matplotlib", "pandas", "pytorch_lightning", "scipy", "timm", "torch"}


def test_the_shell_completes_commands() -> None:
    environment = {"_CXRFLOW_COMPLETE": "complete_bash", "COMP_WORDS": "cxrflow leave", "COMP_CWORD": "1"}
    done = CliRunner().invoke(app, [], prog_name="cxrflow", env=environment)
    assert done.output.split() == ["leave-one-out"]
