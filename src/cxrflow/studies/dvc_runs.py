"""The runs that DVC knows of a study: the workspace, commits, and experiments, finished, running, queued or failed.

Files are read from this machine's DVC cache alone; nothing is downloaded.
"""

import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException, NotDvcRepoError
from dvc.repo import Repo
from dvc.scm import Git
from scmrepo.exceptions import SCMError

from cxrflow.errors import CxrflowError, one_line
from cxrflow.evaluation.ledger import LEDGER, Look, looks_in
from cxrflow.params_file import load_params
from cxrflow.studies.runs import BUNDLE, METRICS, VAL, Found, Run, flat, of_folder, read_run
from cxrflow.terminal import track

_WORKSPACE = "workspace"
_RESULTS = "results"
_LEDGER = f"{_RESULTS}/evaluation/{LEDGER}"


def has_history(folder: Path) -> bool:
    """Whether ``folder`` is the root of a DVC repository in a git repository with commits."""
    if not (folder / ".dvc").is_dir():
        return False
    with Repo(str(folder)) as repo:
        return isinstance(repo.scm, Git) and not repo.scm.no_commits


def dvc_runs(folder: Path) -> Found:
    """All runs of the study in ``folder``, for which ``has_history`` is true.

    Those of all commits, because how often a test set was looked at depends on all. Entries of one run are not joined.
    """
    runs: list[Run] = []
    looks, unread = looks_in(folder / _LEDGER), []
    if here := of_folder(folder / _RESULTS, _WORKSPACE):
        runs.append(here)
    with Repo(str(folder)) as repo, tempfile.TemporaryDirectory() as temporary:
        found = list(_revisions(repo))
        for rev, name, state in track(found, "Runs", disable=len(found) < 20):
            place = Path(temporary) / rev
            try:
                run, more = _read(repo, rev, name, state, place)
            except NotDvcRepoError:  # a commit from before the study
                continue
            except (CxrflowError, DvcException, SCMError) as error:
                unread.append(f"{name}: could not be read: {one_line(str(error))}")
                continue
            looks |= more
            if run is not None:
                runs.append(run)
    return Found(runs, looks, unread)


def _revisions(repo: Repo) -> Iterator[tuple[str, str, str]]:
    """Revision, name and state of all experiments and commits; experiments first, whose names say more."""
    commits = []
    for commit in repo.experiments.show(all_commits=True, hide_workspace=True):
        commits.append((commit.rev, commit.name or commit.rev[:7], "finished"))
        for experiment in commit.experiments or []:
            state = experiment.executor.state if experiment.executor else "success"
            name = experiment.name or experiment.revs[0].name or experiment.revs[0].rev[:7]
            yield experiment.revs[0].rev, name, "finished" if state == "success" else state
    yield from commits


def _read(repo: Repo, rev: str, name: str, state: str, place: Path) -> tuple[Run | None, Counter[Look]]:
    """The run of a revision, None if it has none, and the looks in its ledger; ``place`` is a folder to write in."""
    with repo.switch(rev):
        if state != "finished":  # dvc.lock is still that of the commit that it started from
            _copy(repo, "params.yaml", place)
            _copy(repo, "params", place)
            params = flat(load_params(place / "params.yaml").model_dump(mode="json"))
            return replace(Run((name,)), state=state, params=params), Counter()
        outs = {out.def_path: out for out in repo.index.outs if out.stage.path_in_repo == "dvc.yaml"}

        def made(file: str) -> tuple[Path, str] | None:
            out = outs.get(f"{_RESULTS}/{file}")
            return (Path(out.cache_path), out.hash_info.value) if out is not None and out.hash_info else None

        if not (made(VAL) or made(METRICS)):
            return None, Counter()
        bundle: Any = outs.get(f"{_RESULTS}/{BUNDLE}")
        run = read_run(name, made, bundle.meta.size if bundle is not None and bundle.meta else None)
        _copy(repo, _LEDGER, place)
        return run, looks_in(place / _LEDGER)


def _copy(repo: Repo, file: str, place: Path) -> None:
    """Copy a file or folder of the revision that ``repo`` is switched to, if it is there."""
    source = repo.fs.join(repo.root_dir, file)
    for each in repo.fs.find(source) if repo.fs.isdir(source) else [source] if repo.fs.exists(source) else []:
        target = place / repo.fs.relpath(each, repo.root_dir)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(repo.fs.read_bytes(each))
