"""Makes a study: a folder with its parameters and its ``dvc.yaml``, git and DVC initialised."""

import json
import logging
import os
import shutil
import subprocess
from pathlib import Path
from string import Template

from cxrflow.errors import CxrflowError, nearest, one_line
from cxrflow.evaluation.ledger import COLUMNS, LEDGER
from cxrflow.files import refused
from cxrflow.params_file import load_params, shipped_tasks
from cxrflow.terminal import say
from cxrflow.text import name_text

_TEMPLATES = Path(__file__).with_name("study")
_DRAWN = "data/demo"
#: Who commits where git knows no name: git refuses to commit without one.
_NOBODY = {"GIT_AUTHOR_NAME": "cxrflow", "GIT_AUTHOR_EMAIL": "cxrflow@localhost"}
_NOBODY |= {key.replace("AUTHOR", "COMMITTER"): value for key, value in _NOBODY.items()}


def make_study(folder: Path, sources: Path | None = None, task: str | None = None) -> None:
    """Make the study ``folder``, whole or not at all.

    sources  folder of the collections, which must hold at least one; None for the demo's drawn radiographs
    task     name of a shipped override file that holds a task; None for the default task
    Raises CxrflowError if the folder is there and not empty or cannot be written, the task is none, no collection is
    found, or git or DVC fails.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CxrflowError(f"{name_text(folder)}: is there already, and not empty; name a new folder.")
    if task is not None and task not in (tasks := shipped_tasks()):
        raise CxrflowError(
            f"--task: {task} is not one of {', '.join(tasks)}{nearest(task, tasks).removesuffix('?')}; name one of "
            "them, or write your own into params.yaml."
        )
    if sources is not None:
        from cxrflow.sources import find_collections

        find_collections(sources)
    made = folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder, sources, task)
        load_params(folder / "params.yaml")
        _initialise(folder)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if made:
            folder.mkdir(exist_ok=True)
        if isinstance(error, OSError):
            raise refused(error, folder) from None
        raise


def _write(folder: Path, sources: Path | None, task: str | None) -> None:
    overrides = [*(["real"] if sources is not None else []), *([task] if task else [])]
    root = _DRAWN if sources is None else os.path.abspath(sources)
    held = {
        "name": folder.absolute().name,
        # JSON is YAML, whatever a path contains.
        "overrides": f"[{', '.join(overrides)}]" if overrides else "null",
        "root": json.dumps(root, ensure_ascii=False) if sources is not None else root,
        "drawn": "radiographs that cxrflow draws" if sources is None else "the collections in `sources.root`",
    }
    for template in ("params.yaml", "README.md"):
        text = (_TEMPLATES / template).read_text(encoding="utf-8")
        (folder / template).write_text(Template(text).substitute(held), encoding="utf-8")
    for template, file in {"gitignore": ".gitignore", "dvcignore": ".dvcignore"}.items():
        shutil.copy(_TEMPLATES / template, folder / file)
    # git knows the ledger from the beginning, so that DVC brings home the looks of experiments in folders of their own.
    ledger = folder / "results" / "evaluation" / LEDGER
    ledger.parent.mkdir(parents=True)
    ledger.write_text(f"{','.join(COLUMNS)}\n", encoding="utf-8")
    flow = (_TEMPLATES / "dvc.yaml").read_text(encoding="utf-8")
    if sources is not None:  # nothing is drawn
        before, _, rest = flow.partition("  demo:\n")
        flow = f"{before}  params:\n{rest.partition('  params:' + chr(10))[2]}"
    (folder / "dvc.yaml").write_text(flow, encoding="utf-8")


def _initialise(folder: Path) -> None:
    """git and DVC in ``folder``. Where it is a part of a git repository, DVC there, and nothing is committed; without
    git, DVC alone."""
    git = shutil.which("git") is not None
    part = git and _is_part(folder)
    if part:
        say(f"{name_text(folder)}: lies in another git repository, and is a part of it; nothing is committed there.")
    if git and not part:
        _run(["git", "init", "--quiet"], folder)
    _init_dvc(folder, git, part)
    if git and not part:
        _run(["git", "add", "--all"], folder)
        known = _git(["git", "config", "user.email"], folder).stdout.strip()
        if not known:
            say(
                "git knows no name of yours, and takes no commit without: `git config --global user.name NAME`, and "
                "user.email."
            )
        _run(["git", "commit", "--quiet", "--message", "A new study"], folder, {} if known else _NOBODY)


def _init_dvc(folder: Path, git: bool, part: bool) -> None:
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(logging.WARNING)
    ignored = (folder / ".dvcignore").read_bytes()  # DVC writes an example
    try:
        repo = Repo.init(str(folder), no_scm=not git, subdir=part)
        with repo.config.edit() as config:
            config["core"]["analytics"] = False
        repo.close()
    except DvcException as error:
        raise CxrflowError(
            f"{name_text(folder)}: DVC cannot be initialised there ({one_line(str(error))}); name another folder."
        ) from None
    (folder / ".dvcignore").write_bytes(ignored)


def _is_part(folder: Path) -> bool:
    """Whether ``folder`` lies in a git repository that does not ignore it."""
    inside = _git(["git", "rev-parse", "--git-dir"], folder).returncode == 0
    return inside and _git(["git", "check-ignore", "--quiet", "."], folder).returncode != 0


def _run(command: list[str], folder: Path, more: dict[str, str] | None = None) -> None:
    done = _git(command, folder, more)
    if done.returncode:
        raise CxrflowError(
            f"{name_text(folder)}: `{' '.join(command[:2])}` failed ({one_line(done.stderr or done.stdout)}); correct "
            "it and run again."
        )


def _git(command: list[str], folder: Path, more: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603  our own words
        command, cwd=folder, env=os.environ | (more or {}), capture_output=True, text=True, check=False
    )
