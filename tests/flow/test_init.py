"""A new study: what it holds, how it is initialised, and that it is there whole or not at all."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from cxrflow.errors import CxrflowError
from cxrflow.exporting import steps_folder
from cxrflow.flow.code import CODE, code_yaml
from cxrflow.flow.init import make_study
from cxrflow.flow.stages import read_stages
from cxrflow.lungs import learned
from cxrflow.params_file import DEFAULTS, load_params, shipped_tasks
from cxrflow.reading import frontal


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def collections(tmp_path: Path, picture: Callable[..., np.ndarray]) -> Path:
    """A folder with one collection of one's own, below a name that YAML and shells read otherwise."""
    folder = tmp_path / 'our: "#1" [x]' / "hospital"
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / "a.png"), picture(1))
    (folder / "table.csv").write_text("file,patient,diagnosis\na.png,1,normal\n")
    return folder.parent


def test_a_study_of_drawings_is_committed_and_sets_nothing_but_its_place(tmp_path: Path) -> None:
    make_study(tmp_path / "a" / "study")
    folder = tmp_path / "a" / "study"
    assert load_params(folder / "params.yaml") == load_params(DEFAULTS)
    assert git(folder, "status", "--porcelain") == ""
    held = {
        "params.yaml",
        "dvc.yaml",
        "README.md",
        ".gitignore",
        ".dvcignore",
        ".dvc/config",
        ".dvc/.gitignore",
        "results/evaluation/ledger.csv",
    }
    assert set(git(folder, "ls-files").split()) == held
    assert "analytics = False" in (folder / ".dvc/config").read_text()
    assert [stage.name for stage in read_stages(folder)] == [
        *("demo", "params", "metadata", "images", "training", "evaluation", "explanation", "audit", "report")
    ]


def test_a_study_of_collections_draws_nothing_and_names_their_folder(tmp_path: Path, collections: Path) -> None:
    make_study(tmp_path / "study", collections, "pneumonia")
    loaded = load_params(tmp_path / "study" / "params.yaml")
    assert (loaded.sources.root, loaded.overrides) == (str(collections), ["real", "pneumonia"])
    assert loaded.task.positive == "pneumonia"
    first, second, *_ = read_stages(tmp_path / "study")
    assert (first.name, second.name, second.deps) == ("params", "metadata", (str(collections),))


@pytest.mark.parametrize(
    ("made", "sources", "task", "said"),
    [
        ("there", None, None, "is there already, and not empty"),
        ("new", "nowhere", None, "nowhere"),
        ("new", None, "pneumonai", "one of children, effusion, .* did you mean pneumonia; name"),
        ("new", None, "real", "real is not one of"),
    ],
)
def test_what_cannot_be_made_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, made: str, sources: str | None, task: str | None, said: str
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").touch()
    with pytest.raises(CxrflowError, match=said):
        make_study(tmp_path / made, tmp_path / sources if sources else None, task)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "there"]


def test_inside_a_repository_nothing_is_committed_and_where_it_is_ignored_the_study_is_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    git(tmp_path, "init", "--quiet")
    (tmp_path / ".gitignore").write_text("/own/\n")
    make_study(tmp_path / "part")
    assert "lies in another git repository" in capsys.readouterr().out
    make_study(tmp_path / "own" / "study")
    assert not (tmp_path / "part" / ".git").exists()
    assert (tmp_path / "own" / "study" / ".git").is_dir()
    assert subprocess.run(["git", "rev-parse", "HEAD"], cwd=tmp_path, check=False, capture_output=True).returncode
    for folder in (tmp_path / "part", tmp_path / "own" / "study"):
        assert (folder / ".dvc").is_dir()


def test_without_git_dvc_works_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    make_study(tmp_path / "study")
    assert "no_scm" in (tmp_path / "study" / ".dvc" / "config").read_text()


def test_a_failure_in_the_middle_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cxrflow.flow.init._initialise", stop)
    with pytest.raises(KeyboardInterrupt):
        make_study(tmp_path / "study")
    assert list(tmp_path.iterdir()) == []


def test_every_shipped_task_can_be_named() -> None:
    assert shipped_tasks() == ["children", "effusion", "kinds", "pneumonia", "tuberculosis"]


def test_the_stages_and_the_tables_of_their_code_are_the_same(tmp_path: Path) -> None:
    make_study(tmp_path / "study")
    stages = {stage.name: stage for stage in read_stages(tmp_path / "study")}
    assert set(CODE) == set(stages) - {"params"}
    assert set(yaml.safe_load(code_yaml())) == {"version", *CODE}
    for name in CODE:
        assert stages[name].params["results/code.yaml"] == (name,)
    package = DEFAULTS.parents[1]
    assert [part for parts in CODE.values() for part in parts if not (package / part).exists()] == []


def test_the_training_runs_again_where_what_its_bundle_holds_a_copy_of_has_changed() -> None:
    package = DEFAULTS.parents[1]
    copied = {Path(module.__file__ or "").relative_to(package) for module in steps_folder._MODULES.values()}
    copied |= {file.relative_to(package) for file in (frontal.WEIGHTS, learned.WEIGHTS)}
    depended = {Path(part) for part in CODE["training"]}
    assert {file.as_posix() for file in copied if not depended & {file, *file.parents}} == {"errors.py", "text.py"}
