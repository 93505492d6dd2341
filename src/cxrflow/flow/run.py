"""Runs the stages of a study's ``dvc.yaml`` without DVC, where another scheduler does its work.

What is current is decided as DVC decides it, and kept in the same file ``dvc.lock`` by the same digests (MD5 of files,
of the list of files of a folder, values of parameters). What DVC does besides, its cache, its remotes and its
experiments, is not done here: ``dvc commit`` puts what was made into its cache, and the two may take turns.
"""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import yaml

from cxrflow.errors import CxrflowError, nearest, one_line
from cxrflow.files import remove, write_whole
from cxrflow.terminal import say
from cxrflow.yaml_files import read_yaml

_LOCK = "dvc.lock"
_LOCKED = "# What went into each stage and came out of it, by which it is known whether it is current.\n"


@dataclass(frozen=True)
class Stage:
    """A stage as ``dvc.yaml`` has it.

    params  file -> the keys, with dots, that the stage depends on
    outs    path -> whether it is kept while the stage runs again
    always  it runs even if nothing has changed
    """

    name: str
    commands: tuple[str, ...]
    deps: tuple[str, ...]
    params: dict[str, tuple[str, ...]]
    outs: dict[str, bool]
    always: bool


def run_study(folder: Path, wanted: Sequence[str] = (), dry: bool = False) -> None:
    """Run those stages of the study in ``folder`` that are not current, and all that they need, in their order.

    wanted  names of stages, each run after what it depends on; empty: all
    dry     say only what would run first, and why
    Raises CxrflowError for a stage that is not there, a ``dvc.yaml`` that cannot be followed, an absent dependency, or
    a stage that failed.
    """
    stages = _in_order(read_stages(folder), wanted)
    path = folder / _LOCK
    lock: dict[str, Any] = read_yaml(path, "lock file")["stages"] if path.is_file() else {}
    hashes = _Hashes(folder)
    for number, stage in enumerate(stages, 1):
        place = f"[{number}/{len(stages)}] {stage.name}"
        before = _entry(stage, folder, hashes, stage.deps, ())
        why = _why(stage, lock.get(stage.name), before, _found(stage.outs, folder, hashes))
        if why is None:
            say(f"{place}: current")
            continue
        waits = dry and not stage.always
        say(f"{place}: {'would run' if waits else 'runs'} ({why})")
        if waits:
            say("The stages after it depend on what it writes.")
            return
        if absent := [name for name in stage.deps if not (folder / name).exists()]:
            raise CxrflowError(f"{stage.name}: {absent[0]} is absent, which it depends on; make it, and run again.")
        if lock.pop(stage.name, None):
            _write_lock(path, lock)  # an interrupted stage is not current
        for out, kept in stage.outs.items():
            if not kept:
                remove(folder / out)
        _call(stage, folder)
        lock[stage.name] = _entry(stage, folder, hashes, stage.deps, stage.outs)
        _write_lock(path, lock)


def read_stages(folder: Path) -> list[Stage]:
    """The stages in the ``dvc.yaml`` of ``folder``. Raises CxrflowError if a stage is not as cxrflow can run it."""
    path = folder / "dvc.yaml"
    text = json.dumps(read_yaml(path, "file of stages").get("stages") or {})
    values = read_yaml(folder / "params.yaml", "parameter file")

    def filled(found: re.Match[str]) -> str:
        value: Any = values
        for key in found[1].split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if not isinstance(value, str | int | float):
            raise CxrflowError(f"{path}: ${{{found[1]}}} is not in {folder / 'params.yaml'}; set it there.")
        return json.dumps(str(value))[1:-1]

    read = json.loads(re.sub(r"\$\{\s*([\w.]+)\s*\}", filled, text))
    return [_stage(path, name, held) for name, held in read.items()]


def _stage(path: Path, name: str, held: Any) -> Stage:
    known = {"cmd", "deps", "params", "outs", "metrics", "plots", "desc", "meta", "always_changed", "frozen"}
    other = sorted(set(held) - known) if isinstance(held, dict) else ["no mapping"]
    if other or not held.get("cmd"):
        raise CxrflowError(
            f"{path}: stage {name}: {other[0] if other else 'no cmd'} is nothing that `cxrflow run` can follow; use "
            "`dvc repro`, or write the stage without it."
        )
    commands = held["cmd"] if isinstance(held["cmd"], list) else [held["cmd"]]
    params: dict[str, tuple[str, ...]] = {}
    for entry in held.get("params", []):
        for file, keys in (entry if isinstance(entry, dict) else {"params.yaml": [entry]}).items():
            params[file] = (*params.get(file, ()), *(keys or ()))
    outs = [entry for kind in ("outs", "metrics", "plots") for entry in held.get(kind, [])]
    kept: dict[str, bool] = {}
    for entry in outs:
        kept |= (
            {k: bool((v or {}).get("persist")) for k, v in entry.items()} if isinstance(entry, dict) else {entry: False}
        )
    deps = tuple(entry if isinstance(entry, str) else next(iter(entry)) for entry in held.get("deps", []))
    return Stage(name, tuple(commands), deps, params, kept, bool(held.get("always_changed")))


def _in_order(stages: list[Stage], wanted: Sequence[str]) -> list[Stage]:
    """Each stage after those that write what it reads; those of ``wanted`` and what they need."""
    named = {stage.name: stage for stage in stages}
    for name in wanted:
        if name not in named:
            raise CxrflowError(f"{name}: no stage of dvc.yaml; its stages are {', '.join(named)}{nearest(name, named)}")
    needs = {
        stage.name: {
            other.name for other in stages for path in (*stage.deps, *stage.params) if _within(path, other.outs)
        }
        for stage in stages
    }
    try:
        order = list(TopologicalSorter(needs).static_order())
    except CycleError as error:
        raise CxrflowError(
            f"dvc.yaml: the stages {', '.join(error.args[1])} need one another; break the circle."
        ) from None
    asked = set(wanted) or set(named)
    for name in reversed(order):
        if name in asked:
            asked |= needs[name]
    return [named[name] for name in order if name in asked]


def _within(path: str, outs: Iterable[str]) -> bool:
    return any(Path(path).is_relative_to(out) or Path(out).is_relative_to(path) for out in outs)


class _Hashes:
    """MD5 of files and folders as DVC computes them, remembered by size, time and inode, so that a folder of
    collections is read once."""

    def __init__(self, folder: Path) -> None:
        from dvc_data.hashfile.db import HashFileDB
        from dvc_data.hashfile.state import State
        from dvc_objects.fs.local import LocalFileSystem

        self._files: Any = LocalFileSystem()  # type: ignore[no-untyped-call]
        place = str(folder.absolute() / "data" / "hashes")
        state = State(root_dir=str(folder.absolute()), tmp_dir=place)
        self._database = HashFileDB(self._files, place, tmp_dir=place, state=state)

    def of(self, path: Path) -> dict[str, Any] | None:
        """The digest as a dependency or an output has it in ``dvc.lock``; None if it is absent."""
        from dvc_data.hashfile.build import build

        if not path.exists():
            return None
        _, meta, made = build(self._database, str(path.absolute()), self._files, "md5", dry_run=True)
        found = {"hash": "md5", "md5": made.hash_info.value, "size": meta.size}
        return found | ({"nfiles": meta.nfiles} if meta.isdir else {})


def _found(paths: Iterable[str], folder: Path, hashes: _Hashes) -> list[dict[str, Any]]:
    return [{"path": path} | (hashes.of(folder / path) or {}) for path in sorted(paths)]


def _entry(stage: Stage, folder: Path, hashes: _Hashes, deps: Iterable[str], outs: Iterable[str]) -> dict[str, Any]:
    """What ``dvc.lock`` says of a stage."""
    command = stage.commands[0] if len(stage.commands) == 1 else list(stage.commands)
    parts = {
        "deps": _found(deps, folder, hashes),
        "params": {file: dict(_values(folder / file, keys)) for file, keys in stage.params.items()},
        "outs": _found(outs, folder, hashes),
    }
    return {"cmd": command} | {name: part for name, part in parts.items() if part}


def _values(path: Path, keys: Sequence[str]) -> Iterator[tuple[str, Any]]:
    held: Any = read_yaml(path, "parameter file") if path.is_file() else {}
    for key in keys or held:
        value = held
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        yield key, value


def _why(
    stage: Stage, locked: Mapping[str, Any] | None, now: Mapping[str, Any], outs: list[dict[str, Any]]
) -> str | None:
    """Why a stage is not current; None if it is."""
    if stage.always:
        return "it always does"
    if locked is None:
        return "it has not run to its end"
    if locked.get("cmd") != now["cmd"]:
        return "its command has changed"
    for kind, found in (("deps", now.get("deps", [])), ("outs", outs)):
        known = {each["path"]: each.get("md5") for each in locked.get(kind, [])}
        for each in found:
            if "md5" not in each:
                return f"{each['path']} is absent"
            if known.get(each["path"]) != each["md5"]:
                return f"{each['path']} has changed"
    known = locked.get("params", {})
    for file, values in now.get("params", {}).items():
        for key, value in values.items():
            if key not in known.get(file, {}) or known[file][key] != value:
                return f"{'the code' if Path(file).name == 'code.yaml' else key} has changed"
    return None


def _call(stage: Stage, folder: Path) -> None:
    for command in stage.commands:
        words, said = shlex.split(command), f"{stage.name}: `{one_line(command, 80)}`"
        if words[0] == "cxrflow":  # this one, whatever PATH finds
            words = [sys.executable, "-m", "cxrflow.cli", *words[1:]]
        try:
            status = subprocess.run(words, cwd=folder, check=False).returncode  # noqa: S603  the study's own command
        except OSError as error:
            raise CxrflowError(f"{said}: {error.strerror}; correct it in dvc.yaml.") from None
        if status:
            raise CxrflowError(f"{said} ended with status {status}; see above, and run again to go on.")


def _write_lock(path: Path, lock: Mapping[str, Any]) -> None:
    held = yaml.safe_dump({"schema": "2.0", "stages": dict(lock)}, sort_keys=False, allow_unicode=True)
    write_whole(path, (_LOCKED + held).encode())
