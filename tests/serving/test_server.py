"""`cxrflow serve` as a process: what it leaves on disk, how it ends, what it says when it cannot start."""

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np


def files_of(process: "subprocess.Popen[bytes]") -> set[str]:
    """Regular files that a process and its workers have open for writing, temporary and deleted ones included."""
    children = Path(f"/proc/{process.pid}/task").glob("*/children")
    pids = [str(process.pid), *(pid for each in children for pid in each.read_text().split())]
    found = set()
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                flags = int(Path(f"/proc/{pid}/fdinfo/{descriptor.name}").read_text().split("flags:")[1].split()[0], 8)
                if flags & 3 and descriptor.resolve().is_file():
                    found.add(str(descriptor.readlink()))
            except OSError:
                continue
    return found


def test_uploads_are_in_memory_alone(
    run: Any, tmp_path: Path, drawn: list[np.ndarray], png: Callable[[np.ndarray], bytes], scan: bytes, ask: Any
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (2500, 2500)).astype(np.uint8)
    large = png(noise)
    assert len(large) > 5_000_000
    with run() as (url, process, said), httpx.Client(base_url=url, timeout=60) as client:
        before, seen, done = {*tmp_path.rglob("*")}, set[str](), threading.Event()

        def watch() -> None:
            while not done.is_set():
                seen.update(files_of(process))
                seen.update(map(str, {*tmp_path.rglob("*")} - before))
                time.sleep(0.005)

        watcher = threading.Thread(target=watch)
        watcher.start()
        answered = ask(client, large, scan, look="true")
        done.set()
        watcher.join()
        assert answered.status_code == 200
        assert seen <= {str(said)}


def test_sigterm_finishes_what_runs_and_ends_with_status_0(run: Any, pictures: list[bytes], ask: Any) -> None:
    with run("--host", "0.0.0.0") as (url, process, said):  # noqa: S104
        answers: list[Any] = []

        def post() -> None:
            with httpx.Client(base_url=url, timeout=60) as client:
                answers.append(ask(client, *pictures * 4, look="true"))

        thread = threading.Thread(target=post)
        thread.start()
        while "cxrflow_queue 1.0" not in httpx.get(f"{url}/metrics", timeout=60).text:
            assert thread.is_alive()
        process.send_signal(signal.SIGTERM)
        thread.join()
        assert process.wait(60) == 0
        assert answers[0].status_code == 200
        assert len(answers[0].json()["results"]) == 16
        lines = said.read_text().splitlines()
        assert lines[1] == "Warning: other machines can use it, and nobody needs a token; see --token-file."
        assert len(lines) == 3


def test_it_ends_with_status_1_if_the_networks_cannot_score(folder: Path, tmp_path: Path) -> None:
    program = """
from cxrflow.predictor import Predictor

def fail(*_, **__):
    raise RuntimeError("out of memory")

Predictor.results_of = fail
from cxrflow.cli import main
main()
"""
    command = [sys.executable, "-c", program, "serve", "--bundle", str(folder), "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=120)
    said = f"cxrflow: serve: the networks of {folder} cannot score an empty picture: RuntimeError: out of memory\n"
    assert done.returncode == 1
    assert done.stderr.endswith(said)
    assert "Traceback" not in done.stderr


def test_it_says_in_one_sentence_why_it_cannot_start(folder: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "cxrflow.cli", "serve", "--bundle", str(folder), "--port", str(port)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    said = f"cxrflow: serve: 127.0.0.1 port {port}: Address already in use; name another --host or --port.\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", said)
