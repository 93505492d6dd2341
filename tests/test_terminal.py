"""What is printed where: as wide as there is, and results alone if quiet."""

import os
import pty
import subprocess
import sys
from collections.abc import Iterator

import pytest
from rich.table import Table

from cxrflow.terminal import console, print_fitting, remark, say, set_quiet, time_left, track

CELL = "a cell of a table " * 15


@pytest.fixture(autouse=True)
def _heard() -> Iterator[None]:
    yield
    set_quiet(False)


def print_table() -> None:
    console().print(Table("first", CELL))


def test_a_table_in_a_pipe_is_neither_wrapped_nor_cut(capsys, monkeypatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    print_table()
    assert any(CELL.strip() in line for line in capsys.readouterr().out.splitlines())


@pytest.mark.parametrize("width", [80, 200])
def test_a_table_is_as_wide_as_it_is_told(capsys, monkeypatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    print_table()
    assert width - 10 <= max(map(len, capsys.readouterr().out.splitlines())) <= width


@pytest.mark.parametrize("width", [80, 200])
def test_a_table_is_as_wide_as_the_terminal(width: int) -> None:
    code = f"""
import fcntl, struct, sys, termios
fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 40, {width}, 0, 0))
from cxrflow.terminal import console
print("width", console().width)
"""
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | {"TERM": "xterm"}
    subprocess.run(
        [sys.executable, "-c", code], stdin=theirs, stdout=theirs, stderr=theirs, env=environment, check=True
    )
    assert f"width {width}" in os.read(ours, 1000).decode()


@pytest.mark.parametrize(("width", "heads"), [(77, "figure"), (78, "B - A"), (67, "figure")])
def test_a_table_of_figures_breaks_no_interval(capsys, monkeypatch, width: int, heads: str) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    figures = [f"0.{k}00 (0.{k}00 to 0.{k}00)" for k in range(2, 5)]
    rows = [(["one [b]"], figures[:2]), (["two"], figures[1:])]
    print_fitting("Title", ["label " * 4], ["B - A", "specificity"], rows)  # 78 wide, in rows 67
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    assert [("figure" in line, heads in line) for line in lines if "label" in line][:1] == [(heads == "figure", True)]
    assert sum(line.count(figure) for line in lines for figure in figures) == 4
    assert any("one [b]" in line for line in lines)


def test_quiet_leaves_results_alone(capsys) -> None:
    def work() -> None:
        remark("Network 1 of 2")
        assert list(track([1, 2], "working")) == [1, 2]
        say("Bundle: there")

    work()
    assert {"Network 1 of 2", "Bundle: there"} < set(capsys.readouterr().out.splitlines())
    set_quiet(True)
    work()
    assert capsys.readouterr().out == "Bundle: there\n"


@pytest.mark.parametrize(
    ("this", "together", "networks", "said"),
    [
        (40, 40, 1, "About 40 seconds for this network"),
        (40, 240, 6, "About 40 seconds for this network, about 4 minutes for the 6 that are left"),
        (1800, 14_400, 8, "About 30 minutes for this network, about 4.0 hours for the 8 that are left"),
        (86_400, 432_000, 5, "About 24.0 hours for this network, about 5.0 days for the 5 that are left"),
    ],
)
def test_how_long_it_takes_is_said_in_words(this: float, together: float, networks: int, said: str) -> None:
    assert time_left(this, together, networks) == said
