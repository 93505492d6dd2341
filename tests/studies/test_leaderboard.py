"""The leaderboard ranks by val whatever the test set says, counts every look, and finds the runs that DVC knows."""

import json
import math
import shutil
import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from dvc.repo import Repo
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrflow.errors import CxrflowError
from cxrflow.evaluation.ledger import LEDGER, Look, enter
from cxrflow.files import write_json
from cxrflow.params import Params
from cxrflow.params_file import resolved_yaml
from cxrflow.state import write_sealed
from cxrflow.statistics.figure import Figure, missing
from cxrflow.studies.leaderboard import compare, expected_largest, leaderboard, picture, print_leaderboard
from cxrflow.studies.runs import Found, Run

MODELS = {"resnet18": (0.8, 0.7), "crnn": (0.9, 0.6), "vgg19": (0.7, 0.95)}
STUDY = {
    "stages": {
        "params": {
            "cmd": "mkdir -p results && cp given/${training.model}/params.yaml results/params.yaml",
            "deps": ["params.yaml"],
            "outs": ["results/params.yaml"],
        },
        "training": {
            "cmd": "mkdir -p results/training && cp -r given/${training.model}/training/. results/training",
            "params": ["training.model"],
            "outs": ["results/training/bundle"],
            "metrics": ["results/training/val.json", "results/training/cost.json"],
        },
        "evaluation": {
            "cmd": "cp -r given/${training.model}/evaluation/. results/evaluation",
            "deps": ["results/training/bundle"],
            "outs": ["results/evaluation/metrics.json"],
        },
    }
}


def figure(value: float, width: float = 0.1) -> Figure:
    return Figure(value, max(value - width, 0), min(value + width, 1), 40, 30)


def run(name: str, val: float, test: float, **more: Any) -> Run:
    about = {"val_images": "a", "test_set": "t", "bundle": name, "params": {"training.model": name}}
    return Run((name,), val=figure(val), test=figure(test), **(about | more))


@settings(max_examples=30)
@given(st.lists(st.tuples(*[st.floats(0, 1)] * 2), min_size=1, max_size=6))
def test_the_test_set_ranks_nothing(figures: list[tuple[float, float]]) -> None:
    runs = [run(str(k), val, test) for k, (val, test) in enumerate(figures)]
    untested = [replace(each, test=missing("not tested"), test_set="", bundle="") for each in runs]
    board = compare(Found(runs, Counter(), []))
    assert [each.name for each in board.runs] == [each.name for each in compare(Found(untested, Counter(), [])).runs]
    assert [each.val.value for each in board.runs] == sorted((val for val, _ in figures), reverse=True)
    assert board.ranks == pd.Series([-each.val.value for each in board.runs]).rank(method="min").astype(int).tolist()


def test_figures_of_different_images_are_ranked_apart() -> None:
    runs = [run("one", 0.9, 0.5, val_images="b"), run("two", 0.6, 0.5), run("three", 0.7, 0.5, test_set="u")]
    board = compare(Found([*runs, Run(("later",), state="queued")], Counter(), []))
    ranked = [(each.name, rank) for each, rank in zip(board.runs, board.ranks, strict=True)]
    assert ranked == [("three", 1), ("two", 2), ("one", 1), ("later", None)]
    assert any("left out different images" in remark for remark in board.remarks)
    assert any("different test sets" in remark for remark in board.remarks)


def test_every_look_counts_once() -> None:
    ledger = {Look("2026-01-01T00:00:00+00:00", "one", "t"), Look("2026-01-02T00:00:00+00:00", "one", "t")}
    ledger |= {Look("2026-01-03T00:00:00+00:00", "gone", "t"), Look("2026-01-03T00:00:00+00:00", "one", "another")}
    board = compare(Found([run("one", 0.8, 0.7), run("two", 0.7, 0.9)], Counter(ledger), []))
    assert board.looks["t"].total() == 4  # three in the ledger; that of two is in none
    (said,) = (remark for remark in board.remarks if remark.startswith("Test set t"))
    assert "4 looks by 3 networks" in said
    largest = np.random.default_rng(0).normal(size=(200_000, 3)).max(axis=1).mean()
    assert f"by up to {largest * 0.1 / 1.96:.2f}" in said


@pytest.mark.parametrize(("count", "value"), [(1, 0.0), (2, 1 / math.sqrt(math.pi)), (5, 1.16296), (100, 2.50759)])
def test_the_expected_largest_is_that_of_the_tables(count: int, value: float) -> None:
    """Harter, Biometrika 1961; 48: 151-165, table 1."""
    assert expected_largest(count) == pytest.approx(value, abs=1e-4)


def test_entries_of_one_run_are_one_row_and_files_that_are_here_are_taken() -> None:
    here = run("exp", 0.8, 0.7, hashes=("1", "2"))
    lost = Run(("main",), not_here=("training/val.json",), hashes=("1", "2"))
    board = compare(Found([lost, here, run("two", 0.7, 0.7, hashes=("1", "3"))], Counter(), []))
    assert [each.names for each in board.runs] == [("main", "exp"), ("two",)]
    assert board.runs[0].val == here.val
    assert board.differ == ["training.model"]
    assert not any("not on this machine" in remark for remark in board.remarks)


def write_results(folder: Path, params: Params, model: str) -> None:
    """What a run of ``model`` leaves, as the stages write it."""
    val, test = MODELS[model]
    training = params.training.model_copy(update={"model": model})
    (folder / "training" / "bundle").mkdir(parents=True)
    (folder / "evaluation").mkdir()
    (folder / "params.yaml").write_text(resolved_yaml(params.model_copy(update={"training": training})))
    (folder / "training" / "bundle" / "model.safetensors").write_bytes(bytes(1000) + model.encode())
    ends = {"macro_auroc": val, "macro_auroc_low": val - 0.1, "macro_auroc_high": val + 0.1}
    write_json(folder / "training" / "val.json", ends | {"n": 30, "groups": 20, "images": "0123456789ab"})
    write_json(folder / "training" / "cost.json", {"seconds": 61.0, "parameters": 2_500_000, "device": "cpu"})
    metrics = {
        "test": {"macro_auroc": figure(test, 0.05).to_dict()},
        "by_source": {"rsna": {"a_vs_b": figure(0.5).to_dict(), "a_vs_c": figure(0.7).to_dict()}, "nih": {}},
        "operating_points": {"specificity": {"sensitivity": figure(0.4).to_dict()}},
        "test_set": {"hash": "5" * 64, "bundle": model},
    }
    write_sealed(folder / "evaluation" / "metrics.json", metrics)


@pytest.fixture
def folders(demo_params: Params, tmp_path: Path) -> list[Path]:
    """Folders of results as `cxrflow run` leaves them, without DVC; the ledger of the first knows two looks."""
    for model in MODELS:
        write_results(tmp_path / model, demo_params, model)
    for _ in range(2):
        enter(tmp_path / "resnet18" / "evaluation" / LEDGER, "resnet18", "5" * 64)
    return [tmp_path / model for model in MODELS]


def test_folders_of_results_are_compared(
    folders: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # a narrow table has its figures on two lines
    out = tmp_path / "out"
    print_leaderboard(leaderboard(folders, out))
    table = pd.read_csv(out / "leaderboard.csv")
    assert table["training.model"].tolist() == ["crnn", "resnet18", "vgg19"]
    assert table["rank"].tolist() == [1, 2, 3]
    assert (table.val.tolist(), table.test.tolist()) == ([0.9, 0.8, 0.7], [0.6, 0.7, 0.95])
    assert table.within.tolist() == pytest.approx([0.6] * 3)
    assert set(table.looks) == {4}
    assert set(table.bundle_bytes) == {1000 + len(model) for model in MODELS}
    written = json.loads((out / "leaderboard.json").read_text())
    assert [each["differ"] for each in written["runs"]] == [{"training.model": m} for m in table["training.model"]]
    assert len(written["looks"]["5" * 64]) == 4
    printed = capsys.readouterr().out
    assert "0.900 (0.800 to 1.000)" in printed
    assert "61 s (cpu), 2.5 M parameters, 0 MB" in printed
    assert (out / "leaderboard.svg").read_bytes().count(b"4 looks") == 3


@pytest.mark.parametrize("held", [{}, {"macro_auroc": 0.8}, {"macro_auroc": [1]}])
def test_figures_of_another_version_are_one_sentence(folders: list[Path], tmp_path: Path, held: dict[str, Any]) -> None:
    write_json(folders[0] / "training" / "val.json", held | {"n": 1})
    with pytest.raises(CxrflowError, match=r"val\.json or .* is of another version of cxrflow"):
        leaderboard(folders, tmp_path / "out")


def test_a_folder_without_a_run_and_a_damaged_file_are_named(folders: list[Path], tmp_path: Path) -> None:
    with pytest.raises(CxrflowError, match=r"nothing: no folder of results"):
        leaderboard([tmp_path / "nothing"], tmp_path / "out")
    metrics = folders[0] / "evaluation" / "metrics.json"
    metrics.write_text(metrics.read_text().replace("0.75", "0.99"))
    board = leaderboard(folders, tmp_path / "out")
    assert board.runs[1].test == missing("file not here")
    assert any("evaluation/metrics.json not on this machine, or damaged" in remark for remark in board.remarks)


def git(*command: str) -> None:
    subprocess.run(["git", *command], check=True)


@pytest.fixture
def study(demo_params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study in git and DVC whose stages copy what a run would have left."""
    monkeypatch.chdir(tmp_path)
    git("init", "--quiet", "--initial-branch=main")
    for key, value in (("name", "a"), ("email", "a@example.org")):
        monkeypatch.setenv(f"GIT_AUTHOR_{key.upper()}", value)
        monkeypatch.setenv(f"GIT_COMMITTER_{key.upper()}", value)
    for model in MODELS:
        write_results(tmp_path / "given" / model, demo_params, model)
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump(STUDY))
    (tmp_path / "params.yaml").write_text(resolved_yaml(demo_params))
    (tmp_path / ".gitignore").write_text("/results/*\n!/results/evaluation/\n/results/evaluation/metrics.json\n")
    enter(tmp_path / "results" / "evaluation" / LEDGER, "resnet18", "5" * 64)
    Repo.init().close()
    git("add", ".")
    git("commit", "--quiet", "--message=start")
    return tmp_path


def test_the_runs_that_dvc_knows_are_found(study: Path) -> None:
    with Repo() as repo:
        repo.reproduce()
        git("add", "dvc.lock")
        git("commit", "--quiet", "--message=run")
        repo.experiments.run(params=["training.model=crnn"], name="second")
        repo.experiments.run(params=["training.model=vgg19"], name="third", queue=True)
    board = leaderboard([], study / "out")
    found = [(each.state, set(each.names), each.params["training.model"]) for each in board.runs]
    assert found == [
        ("finished", {"second", "workspace"}, "crnn"),
        ("finished", {"main"}, "resnet18"),
        ("queued", {"third"}, "vgg19"),
    ]
    assert board.differ == ["training.model"]
    assert board.looks["5" * 64].total() == 2
    assert board.runs[0].bundle_bytes == 1000 + len("crnn")
    assert board.runs[1].bundle_bytes == 1000 + len("resnet18")
    # a clone has the experiments' names and no file of theirs, without `dvc pull`
    shutil.rmtree(study / ".dvc" / "cache" / "files")
    board = leaderboard([], study / "out")
    lost = {each.name: each for each in board.runs}["main"]
    assert set(lost.not_here) == {"params.yaml", "training/val.json", "training/cost.json", "evaluation/metrics.json"}
    assert any(remark.startswith("main: ") and "dvc pull" in remark for remark in board.remarks)


def test_the_picture_shows_reasons_and_escapes_names() -> None:
    board = compare(Found([run("a$b$", 0.8, 0.7, within=missing("no source has both"))], Counter(), []))
    assert b"no source has both" in picture(board)
