"""One run at a time in a folder; what an interrupted one left; a full disk; how a command ends when it is told to."""

import errno
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cxrflow.cli import app
from cxrflow.engines import LocalEngine
from cxrflow.errors import CxrflowError
from cxrflow.files import Root, refused, write_whole
from cxrflow.metadata.fingerprint import fingerprints
from cxrflow.running import only_run


def hold(folder: Path, held) -> None:
    with only_run(folder):
        held.set()
        time.sleep(60)


@pytest.fixture
def other(tmp_path: Path):
    """A process that uses the folder ``out``."""
    context = multiprocessing.get_context("fork")
    held = context.Event()
    process = context.Process(target=hold, args=(tmp_path / "out", held))
    process.start()
    assert held.wait(30)
    yield process
    process.kill()
    process.join()


def test_a_second_run_says_which_process_uses_the_folder(other, tmp_path: Path) -> None:
    expected = rf"out: another run \(process {other.pid}, since 20.*\) is using it; wait until it ends, or stop it\."
    with pytest.raises(CxrflowError, match=expected), only_run(tmp_path / "out", patience=0.1):
        pass
    with only_run(tmp_path / "another"):
        pass


def test_a_killed_run_never_blocks_and_what_it_left_is_removed(other, tmp_path: Path) -> None:
    other.kill()
    other.join()
    out = tmp_path / "out"
    left = [out / ".a.csv.x1.writing", out / "checkpoints" / "last.ckpt.writing", tmp_path / ".out.x2.writing"]
    kept = [out / "a.csv", out / "checkpoints" / "last.ckpt", tmp_path / ".else.x3.writing"]
    for path in (*left, *kept):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    (tmp_path / ".out.x4.writing" / "new").mkdir(parents=True)  # as of the demo
    with only_run(out):
        assert [path.exists() for path in left] == [False] * 3
        assert not (tmp_path / ".out.x4.writing").exists()
    assert [path.exists() for path in kept] == [True] * 3


def test_a_run_that_ends_lets_the_next_one_in(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="own"), only_run(tmp_path / "out", patience=0):
            raise ValueError("an error of its own")


def test_a_place_that_cannot_be_written_is_said_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "deeper" / "out"):
        with pytest.raises(CxrflowError, match="a part of this path is a file; name another place"), only_run(out):
            pytest.fail("began")
    with pytest.raises(CxrflowError, match=r"^/proc/cxrflow/out: "), only_run(Path("/proc/cxrflow/out")):
        pytest.fail("began")


def test_the_root_of_the_file_system_is_no_output_folder() -> None:
    with pytest.raises(CxrflowError, match="is the root of the file system"), only_run(Path("/")):
        pytest.fail("began")


def test_commands_that_write_hold_their_folder(other, tmp_path: Path) -> None:
    (tmp_path / "sources").mkdir()
    arguments = ["metadata", "--sources", str(tmp_path / "sources"), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, CxrflowError)
    assert "another run" in str(done.exception)


def test_a_cache_that_another_run_writes_is_not_called_damaged(own, tmp_path: Path, monkeypatch) -> None:
    root, cache = own([], {"a.png": 1}), tmp_path / "c.sqlite"
    fingerprints(Root(root), [], LocalEngine(), cache)
    monkeypatch.setattr(sqlite3, "connect", lambda path, connect=sqlite3.connect: connect(path, timeout=0))
    with sqlite3.connect(cache) as busy:
        busy.execute("begin immediate")
        with pytest.raises(CxrflowError, match="another run is using it"):
            fingerprints(Root(root), ["mine/a.png"], LocalEngine(), cache)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "cannot be written"),
        (errno.EACCES, "permissions"),
        (errno.EISDIR, "is a folder; name a file"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_what_stands_in_the_way_of_a_file_is_said_with_its_path(number: int, said: str) -> None:
    assert said in str(refused(OSError(number, os.strerror(number)), "data/x.csv"))
    assert str(refused(OSError(number, os.strerror(number)), "data/x.csv")).startswith("data/x.csv: ")


def test_a_full_disk_is_one_sentence_and_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("before")

    def parts():
        yield b"first"
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(CxrflowError, match=r"x\.csv: the disk is full.*; free some space and run again\."):
        write_whole(path, parts())
    with pytest.raises(CxrflowError, match="a part of this path is a file"):
        write_whole(path / "below", b"")
    with pytest.raises(CxrflowError, match=r"^/proc/x\.csv: "):
        write_whole(Path("/proc/x.csv"), b"")
    with pytest.raises(FileNotFoundError):
        write_whole(path, (Path(tmp_path / "absent" / name).read_bytes() for name in "a"))
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["x.csv"]


STOPPED = """
import sys, time
import pytest
from cxrflow.cli import app, main

@app.command()
def wait():
    print("begun", flush=True)
    try:
        time.sleep(60)
    except KeyboardInterrupt:  # as Lightning does
        sys.exit(1)

sys.argv = ["cxrflow", "wait"]
main()
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_command_that_is_told_to_end_says_so(number: signal.Signals, status: int) -> None:
    command = [sys.executable, "-c", STOPPED]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(number)
        _, said = process.communicate(timeout=20)
    assert process.returncode == status
    assert said == "cxrflow: stopped before the end; run the same command again to go on.\n"
