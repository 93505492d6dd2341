"""git and Kaggle's client, on a repository on this machine and with a client of the test's own."""

import os
import subprocess
import zipfile
from pathlib import Path

import pytest

from cxrflow.errors import CxrflowError
from cxrflow.fetching.programs import damaged_in_clone, fetch_git, fetch_kaggle, head
from cxrflow.fetching.published import Git, Kaggle


def run(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=x", "-c", "user.email=x@x.example")
    return subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def commit(folder: Path, files: dict[str, str]) -> str:
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_text(content)
    run(folder, "add", "-A")
    run(folder, "commit", "-qm", "x")
    return run(folder, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path) -> Path:
    folder = tmp_path / "origin"
    folder.mkdir()
    run(folder, "init", "-q")
    (folder / "link").symlink_to("/etc/passwd")
    commit(folder, {"metadata.csv": "a\n", "images/\u00e4 1.png": "png"})
    return folder


def test_a_pinned_commit_is_cloned_alone_and_links_are_files(repository, tmp_path) -> None:
    pinned = run(repository, "rev-parse", "HEAD")
    commit(repository, {"metadata.csv": "a\nb\n"})
    (repository / ".git" / "hooks" / "post-checkout").write_text("#!/bin/sh\ntouch /tmp/never\n")
    clone = tmp_path / "to" / "clone"
    clone.parent.mkdir()
    fetch_git(Git(repository.as_uri(), pinned), clone)
    assert (clone / "metadata.csv").read_text() == "a\n"
    assert not (clone / "link").is_symlink()
    assert (clone / "link").read_text() == "/etc/passwd"
    assert [path.name for path in clone.parent.iterdir()] == ["clone"]
    assert run(clone, "rev-list", "--count", "HEAD") == "1"
    repository.rename(tmp_path / "gone")
    fetch_git(Git(repository.as_uri(), pinned), clone)  # is there: nothing is asked
    assert damaged_in_clone(clone) == (3, [], [])


def test_the_newest_is_brought_up_to_date(repository, tmp_path) -> None:
    way, clone = Git(repository.as_uri()), tmp_path / "clone"
    fetch_git(way, clone)
    new = commit(repository, {"metadata.csv": "a\nb\n"})
    fetch_git(way, clone)
    assert head(clone) == new
    assert (clone / "metadata.csv").read_text() == "a\nb\n"


def test_missing_and_changed_files_are_named_whatever_the_index_says(repository, tmp_path) -> None:
    clone = tmp_path / "clone"
    fetch_git(Git(repository.as_uri()), clone)
    image = clone / "images" / "\u00e4 1.png"
    before = image.stat()
    image.write_text("gnp")
    os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
    (clone / "metadata.csv").unlink()
    (clone / "own-notes.txt").write_text("x")
    assert damaged_in_clone(clone) == (3, ["metadata.csv"], ["images/\u00e4 1.png"])
    stored = max((clone / ".git" / "objects").rglob("*/*"), key=lambda path: path.stat().st_size)
    stored.chmod(0o600)
    stored.write_bytes(stored.read_bytes()[:-10])
    with pytest.raises(CxrflowError, match=r"clone: git fsck failed \("):
        damaged_in_clone(clone)


def test_nothing_that_a_clone_from_elsewhere_configures_is_run(repository, tmp_path) -> None:
    (repository / ".gitattributes").write_text("* filter=x\n")
    commit(repository, {"notes.txt": "x"})
    for program in ("filter.x.clean", "core.fsmonitor", "core.pager", "diff.external"):
        run(repository, "config", program, f"touch '{tmp_path}/ran'; cat")
    (repository / "metadata.csv").write_text("changed\n")
    (repository / "notes.txt").unlink()
    os.mkfifo(repository / "notes.txt")
    assert damaged_in_clone(repository) == (5, [], ["metadata.csv", "notes.txt"])
    assert not (tmp_path / "ran").exists()


def test_what_an_interrupted_clone_left_does_not_matter(repository, tmp_path) -> None:
    left = tmp_path / ".clone.part"
    left.mkdir()
    (left / "metadata.csv").write_text("half")
    fetch_git(Git(repository.as_uri()), tmp_path / "clone")
    assert not left.exists()
    assert damaged_in_clone(tmp_path / "clone") == (3, [], [])


def test_without_the_repository_or_the_commit_one_sentence(repository, tmp_path) -> None:
    for way in (Git((tmp_path / "no").as_uri()), Git(repository.as_uri(), "0" * 40)):
        with pytest.raises(
            CxrflowError, match=r"git could not fetch file://.*; check the network, .* run again\.$"
        ) as error:
            fetch_git(way, tmp_path / "clone")
        assert "\n" not in str(error.value)
        assert not (tmp_path / "clone").exists()


def test_a_folder_that_is_no_clone_is_left_alone(repository, tmp_path) -> None:
    (tmp_path / "clone").mkdir()
    (tmp_path / "clone" / "mine.txt").write_text("mine")
    with pytest.raises(CxrflowError, match="is there, but is no clone of"):
        fetch_git(Git(repository.as_uri()), tmp_path / "clone")
    assert (tmp_path / "clone" / "mine.txt").read_text() == "mine"


def test_without_git_it_says_so(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(CxrflowError, match="install git"):
        fetch_git(Git("https://git.example/x"), tmp_path / "clone")


def test_kaggles_client_downloads(client, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("KEY", "x")
    archive = fetch_kaggle(Kaggle("datasets", "owner/name"), tmp_path / "there", "https://page.example")
    assert archive == tmp_path / "there" / "name.zip"
    assert zipfile.is_zipfile(archive)
    assert client.read_text() == f"datasets download owner/name --path {tmp_path}/there --quiet\n"


def test_what_kaggles_client_lacks_is_said(client, tmp_path, monkeypatch) -> None:
    way = Kaggle("competitions", "name")
    with pytest.raises(CxrflowError, match=r"did not download it \(exit status 1; .* rules on https://page\.example,"):
        fetch_kaggle(way, tmp_path / "there", "https://page.example")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(
        CxrflowError, match=r"`pip install kaggle`, .*KAGGLE_API_TOKEN.* https://page\.example, and run"
    ):
        fetch_kaggle(way, tmp_path / "there", "https://page.example")
