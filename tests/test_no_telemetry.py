"""Libraries that report their use to their makers do not, and cxrflow asks no server unless told to."""

import ast
import os
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "src" / "cxrflow"
#: Modules that can ask a server, and what of cxrflow may import them.
CALLS_OUT = {"requests", "urllib.request", "http.client", "httpx", "aiohttp", "urllib3", "ftplib", "smtplib"}
ASKED_FOR = {"fetching/fetch.py", "fetching/http.py", "doctor.py"}  # `cxrflow fetch`, `cxrflow doctor`

PROGRAM = """
import numpy as np
import cxrflow
from cxrflow.reading.frontal import turn
turn(np.zeros((64, 64), np.uint8))  # runs ONNX Runtime
"""


def test_onnx_runtime_leaves_no_identifier_and_no_events(tmp_path: Path) -> None:
    keep = {key: value for key, value in os.environ.items() if key not in ("ORT_DISABLE_TELEMETRY", "CI")}
    environment = keep | {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, env=environment, cwd=tmp_path)
    assert [*tmp_path.rglob("*")] == []


def imported(path: Path) -> set[str]:
    """The modules that a file imports, anywhere in it, but names from a module that needs no network."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.names[0].name != "parse_http_list":
            names.add(node.module)
    return {called for name in names for called in CALLS_OUT if f"{name}.".startswith(f"{called}.")}


def test_only_what_is_asked_to_fetch_can_ask_a_server() -> None:
    files = {path.relative_to(PACKAGE).as_posix(): path for path in PACKAGE.rglob("*.py")}
    assert {name for name, path in files.items() if imported(path)} == ASKED_FOR
    users = {name for name, path in files.items() if "cxrflow.fetching" in path.read_text(encoding="utf-8")}
    assert {name for name in users if not name.startswith("fetching/")} == {"cli/collections.py"}


def test_nothing_is_asked_when_cxrflow_is_imported_and_says_what_it_can_fetch() -> None:
    """Every socket that is opened raises."""
    program = """
import socket, sys
def refuse(*_, **__):
    raise AssertionError("a server was asked")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
import cxrflow, cxrflow.cli, cxrflow.fetching.verify
assert cxrflow.cli.app(["fetch", "chexpert"], standalone_mode=False) == 3
"""
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
