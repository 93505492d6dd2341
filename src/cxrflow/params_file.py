"""``params.yaml`` with its overrides: read, checked, set. An unknown key or an invalid value stops the run."""

import io
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq

from cxrflow.errors import CxrflowError, ended, nearest, one_line
from cxrflow.files import write_whole
from cxrflow.params import Params, merged, problems_in
from cxrflow.yaml_files import read_yaml

_PURPOSE = "parameter file"
DEFAULTS = Path(__file__).parents[2] / "params.yaml"  # until the merge


def load_params(path: Path, overrides: list[str] | None = None) -> Params:
    """Read ``path``, apply the overrides ``params/<name>.yaml`` that it lists, or those given, in that order, and
    validate.

    A ``task`` in an override replaces the whole task and clears the loss weights, which are given per class.
    Raises CxrflowError with the file and the key that is missing, unknown or out of range.
    """
    values = read_yaml(path, _PURPOSE)
    return _checked(path, values | {"overrides": overrides} if overrides else values)


def _checked(path: Path, values: dict[str, Any]) -> Params:
    where = str(path)
    for file in _overrides(path, values.get("overrides")):
        where += f" with {file}"
        override = read_yaml(file, _PURPOSE)
        if reserved := {"overrides", "sources"} & set(override):
            raise CxrflowError(f"{file}: {', '.join(sorted(reserved))} can be set in {path} only; remove it here.")
        if "task" in override:  # merging two tasks key by key would give a third
            values = values | {"task": None}
            if isinstance(training := values.get("training"), dict):
                values["training"] = training | {"loss_weights": {}}
        values = merged(override, values)
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        raise CxrflowError(f"{where}: {ended(problems_in(error, Params))} Correct the key and run again.") from None


def _overrides(path: Path, named: Any) -> list[Path]:
    """The override files that ``overrides`` in ``path`` names."""
    folder, names = path.parent / "params", [] if named is None else named if isinstance(named, list) else [named]
    there = sorted(file.stem for file in folder.glob("*.yaml"))
    for name in names:
        if name not in there:
            near = nearest(str(name), there).removesuffix("?")
            raise CxrflowError(
                f"{path}: overrides: {one_line(str(name), 80)} is not one of the override files in {folder} "
                f"({', '.join(there) or 'there are none'}){near}; correct the name, or write the file."
            )
    return [folder / f"{name}.yaml" for name in names]


def resolved_yaml(params: Params) -> str:
    """The effective parameters as YAML, for DVC to compare and for people to read."""
    return yaml.safe_dump(params.model_dump(mode="json"), sort_keys=False)


def set_run(path: Path, sources: str, overrides: list[str]) -> None:
    """Set ``sources.root`` and ``overrides`` in ``path``; comments and other keys are kept.

    overrides   names of files in ``params/``; may be empty
    Raises CxrflowError as ``load_params``.
    """
    names = overrides[0] if len(overrides) == 1 else overrides or None
    _checked(path, merged({"overrides": names, "sources": {"root": sources}}, read_yaml(path, _PURPOSE)))
    editor = YAML()
    editor.preserve_quotes = True
    editor.width = 4096
    values = editor.load(path)
    values["sources"]["root"] = sources
    values["overrides"] = CommentedSeq(names) if isinstance(names, list) else names
    if isinstance(names, list):
        values["overrides"].fa.set_flow_style()  # block style would lose the blank line after the key
    editor.representer.add_representer(type(None), lambda r, _: r.represent_scalar("tag:yaml.org,2002:null", "null"))
    text = io.StringIO()
    editor.dump(values, text)
    write_whole(path, text.getvalue().encode())
