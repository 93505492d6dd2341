"""``dvc.lock``: what went into each stage and came out of it, as DVC writes it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from cxrflow.errors import CxrflowError
from cxrflow.files import write_whole
from cxrflow.yaml_files import read_yaml

_LOCKED = "# What went into each stage and came out of it, by which it is known whether it is current.\n"


def read_lock(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The contents of ``dvc.lock``, and of these what it says of each stage. Raises CxrflowError if it is damaged."""
    held: dict[str, Any] = read_yaml(path, "lock file") if path.is_file() else {"schema": "2.0"}
    stages = held.setdefault("stages", {})
    if not isinstance(stages, dict) or not all(map(_is_entry, stages.values())):
        raise CxrflowError(
            f"{path}: is damaged; restore it (`git checkout {path.name}`), or delete it to run all again."
        )
    return held, stages


def _is_entry(entry: Any) -> bool:
    """Whether it has the form of what ``dvc.lock`` says of a stage."""
    if not isinstance(entry, dict) or not isinstance(params := entry.get("params", {}), dict):
        return False
    files = [entry.get("deps", []), entry.get("outs", [])]
    return all(isinstance(each, dict) for each in params.values()) and all(
        isinstance(each, list) and all(isinstance(file, dict) for file in each) for each in files
    )


class _Plain(yaml.SafeDumper):
    """Writes a value that two keys share twice, since ``read_yaml`` reads no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def write_lock(path: Path, held: Mapping[str, Any]) -> None:
    """Write ``dvc.lock``, contents as of ``read_lock``."""
    text = yaml.dump(dict(held), Dumper=_Plain, sort_keys=False, allow_unicode=True)
    write_whole(path, (_LOCKED + text).encode())
