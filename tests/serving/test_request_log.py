"""The log of requests: who, when, which study, which bundle; never a patient's data; and no answer without its line."""

import datetime
import hashlib
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from cxrflow.errors import CxrflowError

Served = Callable[..., TestClient]
TOKEN = "c" * 32


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_a_line_says_who_asked_when_about_what_and_of_which_bundle(
    served: Served, tmp_path: Path, scan: bytes, pictures: list[bytes], ask: Any
) -> None:
    log = tmp_path / "requests.jsonl"
    log.write_text('{"earlier": true}\n')
    (tmp_path / "tokens").write_text(f"ward: {TOKEN}\n")
    client = served(requests=log, tokens=tmp_path / "tokens")
    before = datetime.datetime.now(datetime.UTC)
    ask(client, scan, b"none", headers={"Authorization": f"Bearer {TOKEN}", "X-Request-ID": "r1"})
    ask(client, pictures[0])
    client.get("/v2/health/live")
    earlier, first, second = map(json.loads, log.read_text().splitlines())
    assert earlier == {"earlier": True}
    time = datetime.datetime.fromisoformat(first.pop("time"))
    assert before <= time + datetime.timedelta(milliseconds=1) <= datetime.datetime.now(datetime.UTC)
    bundle = client.app.state.service.about.bundle
    assert first == {
        "who": "ward",
        "request": "r1",
        "path": "/predict",
        "status": 200,
        "bundle": bundle,
        "images": [
            {"study": sha256(b"1.2.3"), "image": sha256(scan), "outcome": "scored"},
            {"study": None, "image": sha256(b"none"), "outcome": "left out"},
        ],
    }
    assert (second["who"], second["status"], second["images"]) == ("testclient", 401, [])


def test_no_patient_data_is_written_anywhere(
    run: Any, tmp_path: Path, scan: bytes, patient: dict[str, str], ask: Any
) -> None:
    log = tmp_path / "requests.jsonl"
    with run("--audit-log", f"{log}") as (url, process, said), httpx.Client(base_url=url, timeout=60) as client:
        damaged = scan.replace(b"MONOCHROME2", b"PALETTE   X").replace(b"\x28\0\x10\0US", b"\x28\0\x10\0XX")
        assert ask(client, scan, damaged, look="true").status_code == 200
        client.get("/none/DOE^JANE?DOE^JANE", headers={"X-Request-ID": "DOE^JANE"})
        client.post("/v2/models/DOE^JANE/infer", content=b"DOE^JANE")
        process.terminate()
        process.wait(60)
    logged = log.read_text()
    assert len(logged.splitlines()) == 2
    for value in [*patient.values(), "DOE", "JANE", "1.2.3"]:
        assert value not in said.read_text()
        assert value not in logged


def test_only_its_owner_can_read_it_and_a_moved_file_is_made_anew(
    served: Served, tmp_path: Path, pictures: list[bytes], ask: Any
) -> None:
    log = tmp_path / "requests.jsonl"
    client = served(requests=log)
    ask(client, pictures[0])
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    log.rename(tmp_path / "old")
    ask(client, pictures[0])
    assert len(log.read_text().splitlines()) == len((tmp_path / "old").read_text().splitlines()) == 1


def test_what_cannot_be_logged_is_not_answered(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pictures: list[bytes], ask: Any
) -> None:
    client = served(requests=tmp_path / "requests.jsonl")

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        answered = ask(client, pictures[0])
        assert answered.status_code == 500
        assert "results" not in answered.json()
    assert ask(client, pictures[0]).status_code == 200


def test_a_log_that_cannot_be_written_stops_the_start(served: Served, tmp_path: Path) -> None:
    with pytest.raises(CxrflowError, match="is a folder"):
        served(requests=tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CxrflowError, match="link"):
        served(requests=tmp_path / "link")
