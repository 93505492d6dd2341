"""The stages of a study's ``dvc.yaml``, as far as they can be run without DVC."""

import json
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from cxrflow.errors import CxrflowError, nearest, one_line
from cxrflow.yaml_files import read_yaml


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
        return json.dumps(str(value).lower() if isinstance(value, bool) else str(value))[1:-1]

    read = json.loads(re.sub(r"\$\{\s*([\w.]+)\s*\}", filled, text))
    return [_stage(path, name, held) for name, held in read.items()]


def _stage(path: Path, name: str, held: Any) -> Stage:
    lists = ("deps", "params", "outs", "metrics", "plots")
    known = {"cmd", *lists, "desc", "meta", "always_changed"}
    other = sorted(set(held) - known) if isinstance(held, dict) else ["no mapping"]
    if not other:
        other = [f"{key} that is no list" for key in lists if not isinstance(held.get(key, []), list)]
    if other or not held.get("cmd"):
        raise CxrflowError(
            f"{path}: stage {name}: {other[0] if other else 'no cmd'} is nothing that `cxrflow run` can follow; use "
            "`dvc repro`, or write the stage without it."
        )
    commands = held["cmd"] if isinstance(held["cmd"], list) else [held["cmd"]]
    for command in commands:
        _check_command(command, f"{path}: stage {name}")
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
    for out in kept:  # which is removed before the stage runs
        if Path(out).is_absolute() or ".." in Path(out).parts or not Path(out).parts:
            raise CxrflowError(f"{path}: stage {name}: the output {out} is not below the study; name another place.")
    deps = tuple(entry if isinstance(entry, str) else next(iter(entry)) for entry in held.get("deps", []))
    return Stage(name, tuple(commands), deps, params, kept, bool(held.get("always_changed")))


def _check_command(command: Any, where: str) -> None:
    """Raise CxrflowError unless a command is a program and its words: DVC has a shell read it, and this does not."""
    try:
        words = list(shlex.shlex(str(command), posix=True, punctuation_chars="|&;<>()"))
    except ValueError:
        raise CxrflowError(f"{where}: cmd has a quotation mark that is not closed; close it.") from None
    if not words or any(set(word) <= set("|&;<>()") for word in words):
        raise CxrflowError(
            f"{where}: `{one_line(str(command), 80)}` is not one program with its options, and needs a shell; use "
            "`dvc repro`, or write a list of commands."
        )


def in_order(stages: list[Stage], wanted: Sequence[str]) -> list[Stage]:
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
