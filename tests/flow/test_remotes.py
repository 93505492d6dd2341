"""A run that was pushed is whole in a clone on another machine: nothing but the parameters is worked on again."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from dvc.repo import Repo

from cxrflow.evaluation.ledger import LEDGER, enter
from cxrflow.flow.code import code_yaml
from cxrflow.flow.init import make_study
from cxrflow.flow.run import read_stages
from cxrflow.params_file import load_params, resolved_yaml


def git(folder: Path, *arguments: str) -> None:
    known = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *known, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study as `cxrflow init` makes it, with small files in place of those that a run writes."""
    folder = tmp_path / "here"
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    make_study(folder)
    monkeypatch.chdir(folder)
    outs = [out for stage in read_stages(folder) for out in stage.outs]
    for out in outs:
        file = folder / out if Path(out).suffix else folder / out / "file"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"what {out} holds")
    # what is kept for going on, and is not the run's result
    (folder / "results" / "training" / "checkpoints").mkdir()
    (folder / "results" / "training" / "checkpoints" / "last.ckpt").write_text("large")
    (folder / "results" / "params.yaml").write_text(resolved_yaml(load_params(folder / "params.yaml")))
    (folder / "results" / "code.yaml").write_text(code_yaml())
    (folder / "results" / "training" / "bundle" / "bundle.json").write_text("{}")
    enter(folder / "results" / "evaluation" / LEDGER, "bundle", "test set")
    return folder


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Settings of a DVC remote in a bucket on an S3-compatible server of this machine, which holds it in memory."""
    import boto3
    from moto.server import ThreadedMotoServer

    for name, value in {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}")
    client.create_bucket(Bucket="studies")
    yield {"url": "s3://studies/here", "endpointurl": f"http://{host}:{port}"}
    held = client.list_objects_v2(Bucket="studies")
    assert held["KeyCount"] > 0
    server.stop()


@pytest.mark.parametrize("remote", ["folder", "s3"])
def test_a_pushed_run_is_whole_in_a_clone(
    study: Path, tmp_path: Path, remote: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Repo() as repo:
        repo.commit(force=True)
        with repo.config.edit() as config:
            config["core"]["remote"] = "shared"
            place = {"url": str(tmp_path / "shared")} if remote == "folder" else request.getfixturevalue("s3")
            config["remote"]["shared"] = place
    git(study, "add", "--all")
    git(study, "commit", "--message=A run")
    with Repo() as repo:
        assert repo.push() > 0
    git(tmp_path, "clone", str(study), "there")
    study.rename(tmp_path / "gone")  # another machine has nothing of it
    monkeypatch.chdir(tmp_path / "there")
    with Repo() as repo:
        repo.pull()
        assert [stage.name for stage in repo.reproduce()] == ["params"]
    bundle = Path("results/training/bundle/bundle.json")
    assert bundle.read_text() == "{}"
    assert not Path("results/training/checkpoints").exists()
    assert (
        Path("results/evaluation/ledger.csv").read_text()
        == (tmp_path / "gone" / "results/evaluation/ledger.csv").read_text()
    )
