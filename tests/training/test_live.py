"""DVCLive's files show each epoch of a training once, whatever interrupts it, and nothing leaves the machine."""

import json
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from cxrflow.dataset import Dataset
from cxrflow.params import Images, Training
from cxrflow.training.live import SHOWN, LiveMetrics
from cxrflow.training.module import TrainingModule
from cxrflow.training.train import train

#: Of conftest.py's small network, for one channel and three classes: convolutions, normalisations, the linear layer.
PARAMETERS = (9 * 8) + 2 * 8 + (9 * 8 * 16) + 2 * 16 + (256 * 3 + 3)
Tiny = Callable[..., tuple[Dataset, Images]]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository on a machine that has a token of DVC Studio, and whose every connection is a failure."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a name was looked up")

    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    monkeypatch.chdir(tmp_path)
    for name, value in {"TOKEN": "isat_x", "URL": "https://example.org", "REPO_URL": "git@example.org:a/b"}.items():
        monkeypatch.setenv(f"DVC_STUDIO_{name}", value)
    monkeypatch.delenv("DVC_STUDIO_OFFLINE", raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return tmp_path


def shown(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Steps and values of each figure."""
    found = {}
    for path in sorted(folder.rglob("*.tsv")):
        table = pd.read_csv(path, sep="\t")
        found[str(path.relative_to(folder / "plots" / "metrics").with_suffix(""))] = list(
            zip(table.step, table.iloc[:, 1], strict=True)
        )
    return found


def test_a_killed_training_goes_on_without_a_missing_or_a_repeated_epoch(
    tiny: Tiny, training: Training, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped where it hurts: the second epoch is in DVCLive's files, and not yet in the checkpoint."""

    class Killed(BaseException):
        pass

    start = TrainingModule.on_train_epoch_start

    def long_ago(self: TrainingModule) -> None:
        start(self)
        self._begun -= 1000

    monkeypatch.setattr(TrainingModule, "on_train_epoch_start", long_ago)

    log = LiveMetrics.log

    def stop(self: LiveMetrics, histories: list) -> None:
        log(self, histories)
        if len(histories[-1]) == 2:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(LiveMetrics, "log", stop)
        with pytest.raises(Killed):
            train(*tiny(60), training, project / "out", live=project / "live")
    first = shown(project / "live")
    assert {name: [step for step, _ in rows] for name, rows in first.items()} == {name: [0, 1] for name in SHOWN}
    train(*tiny(60), training, project / "out", live=project / "live")
    history = pd.read_csv(project / "out" / "history.csv")
    for name, rows in shown(project / "live").items():
        assert [step for step, _ in rows] == [0, 1, 2, 3]
        assert [value for _, value in rows] == pytest.approx(history[name].tolist(), rel=1e-5)
    assert not (project / ".dvc").exists()
    cost = json.loads((project / "out" / "cost.json").read_text())
    assert 4000 < cost["seconds"] < 4500  # of the four epochs that are in the history
    assert (cost["parameters"], cost["device"]) == (PARAMETERS, "cpu")
    last = json.loads((project / "live" / "metrics.json").read_text())
    assert last["step"] == 3
    assert last["val_macro_auroc"] == pytest.approx(history.val_macro_auroc.iloc[-1], rel=1e-5)


def test_networks_of_one_training_have_a_folder_each(project: Path) -> None:
    live = LiveMetrics(project / "live", several=True)
    one = [{"epoch": float(k), "val_loss": 1.0 - k} for k in range(3)]
    for k in range(1, 4):
        live.log([one[:k]])
    live.log([one, [{"epoch": 0.0, "val_loss": 0.5, "val_macro_auroc": float("nan")}]])
    live.end()
    assert shown(project / "live") == {"1/val_loss": [(0, 1.0), (1, 0.0), (2, -1.0)], "2/val_loss": [(0, 0.5)]}
    assert json.loads((project / "live" / "metrics.json").read_text())["2"] == {"val_loss": 0.5}
