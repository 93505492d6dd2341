"""Runs the stages of a study's ``dvc.yaml`` without DVC, where another scheduler does its work.

What is current is decided as DVC decides it, and kept in the same file ``dvc.lock`` by the same digests (MD5 of files,
of the list of files of a folder, values of parameters). What DVC does besides, its cache, its remotes and its
experiments, is not done here: ``dvc commit`` puts what was made into its cache, and the two may take turns.
"""

import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cxrflow.errors import CxrflowError, nearest, one_line
from cxrflow.files import remove
from cxrflow.flow.lock import read_lock, write_lock
from cxrflow.flow.stages import Stage, in_order, read_stages
from cxrflow.terminal import say
from cxrflow.yaml_files import read_yaml

_LOCK = "dvc.lock"
#: How long a stage may take to end (seconds): by itself, after Ctrl-C; and once it is told to, before it is killed.
_PATIENCE = (3.0, 10.0)


def run_study(folder: Path, wanted: Sequence[str] = (), dry: bool = False) -> None:
    """Run those stages of the study in ``folder`` that are not current, and all that they need, in their order.

    wanted  names of stages, each run after what it depends on; empty: all
    dry     say only what would run first, and why; of stages that always run, those before it are run
    Raises CxrflowError for a stage that is not there, a ``dvc.yaml`` that cannot be followed, a damaged ``dvc.lock``,
    an absent dependency, or a stage that failed or did not write an output.
    """
    stages = in_order(read_stages(folder), wanted)
    path = folder / _LOCK
    held, lock = read_lock(path)
    hashes = _Hashes(folder)
    for number, stage in enumerate(stages, 1):
        place = f"[{number}/{len(stages)}] {stage.name}"
        before = _before(stage, folder, hashes)
        why = _why(stage, lock.get(stage.name), before, _found(stage.outs, folder, hashes))
        if why is None:
            say(f"{place}: current")
            continue
        waits = dry and not stage.always
        say(f"{place}: {'would run' if waits else 'runs'} ({why})")
        if waits:
            say("The stages after it depend on what it writes.")
            return
        if absent := [name for name in (*stage.deps, *stage.params) if not (folder / name).exists()]:
            raise CxrflowError(f"{stage.name}: {absent[0]} is absent, which it depends on; make it, and run again.")
        if lock.pop(stage.name, None):
            write_lock(path, held)  # an interrupted stage is not current
        for out, kept in stage.outs.items():
            if not kept:
                remove(folder / out)
        _call(stage, folder)
        # What it read is what was there before: what somebody changed while it ran makes it run again.
        made = _found(stage.outs, folder, hashes)
        if absent := [each["path"] for each in made if "md5" not in each]:
            raise CxrflowError(f"{stage.name}: did not write {absent[0]}, its output; correct its command or dvc.yaml.")
        lock[stage.name] = before | ({"outs": made} if made else {})
        write_lock(path, held)


class _Hashes:
    """MD5 of files and folders as DVC computes them, remembered by size, time and inode, so that a folder of
    collections is read once."""

    def __init__(self, folder: Path) -> None:
        from dvc.ignore import DvcIgnoreFilter
        from dvc_data.hashfile.db import HashFileDB
        from dvc_data.hashfile.state import State
        from dvc_objects.fs.local import LocalFileSystem

        self._files: Any = LocalFileSystem()  # type: ignore[no-untyped-call]
        root, place = str(folder.absolute()), str(folder.absolute() / "data" / "hashes")
        state = State(root_dir=root, tmp_dir=place)
        self._ignored = DvcIgnoreFilter(self._files, root)
        self._database = HashFileDB(self._files, place, tmp_dir=place, state=state)

    def of(self, path: Path) -> dict[str, Any] | None:
        """The digest as a dependency or an output has it in ``dvc.lock``; None if it is absent."""
        from dvc_data.hashfile.build import build

        if not path.exists():
            return None
        place = str(path.absolute())
        _, meta, made = build(self._database, place, self._files, "md5", dry_run=True, ignore=self._ignored)
        found = {"hash": "md5", "md5": made.hash_info.value, "size": meta.size}
        return found | ({"nfiles": meta.nfiles} if meta.isdir else {})


def _found(paths: Iterable[str], folder: Path, hashes: _Hashes) -> list[dict[str, Any]]:
    return [{"path": path} | (hashes.of(folder / path) or {}) for path in sorted(paths)]


def _before(stage: Stage, folder: Path, hashes: _Hashes) -> dict[str, Any]:
    """What ``dvc.lock`` says of a stage, without its outputs."""
    command = stage.commands[0] if len(stage.commands) == 1 else list(stage.commands)
    parts = {
        "deps": _found(stage.deps, folder, hashes),
        "params": {file: _values(stage.name, folder / file, keys) for file, keys in stage.params.items()},
    }
    return {"cmd": command} | {name: part for name, part in parts.items() if part}


def _values(stage: str, path: Path, keys: Sequence[str]) -> dict[str, Any]:
    """The values of some keys in a file of parameters, of all if none is named; none if the file is absent."""
    held: Any = read_yaml(path, "parameter file") if path.is_file() else {}
    values = {}
    for key in (keys or held) if held else ():
        value = held
        for part in key.split(".") if keys else [key]:
            if not isinstance(value, dict) or part not in value:
                raise CxrflowError(
                    f"{stage}: {path} has no {key}, which it depends on; correct the name in dvc.yaml"
                    f"{nearest(part, value) if isinstance(value, dict) else '.'}"
                )
            value = value[part]
        values[key] = value
    return values


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
        known = {each.get("path"): each.get("md5") for each in locked.get(kind, [])}
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
            status = _ended(subprocess.Popen(words, cwd=folder))  # noqa: S603  the study's own command
        except OSError as error:
            raise CxrflowError(f"{said}: {error.strerror}; correct it in dvc.yaml.") from None
        if status:
            raise CxrflowError(f"{said} ended with status {status}; see above, and run again to go on.")


def _ended(process: subprocess.Popen[bytes]) -> int:
    """The exit status of a process. If this one is stopped, so is that, which is first left time to end by itself:
    Ctrl-C reaches both."""
    try:
        return process.wait()
    except BaseException:
        for patience, stop in zip(_PATIENCE, (process.terminate, process.kill), strict=True):
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                stop()
        process.wait()
        raise
