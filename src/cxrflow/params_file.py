"""The parameters of a run: the shipped defaults, the override files that a study names, and what it sets itself.

Each layer replaces keys of those before it, so that a key in the study's own ``params.yaml`` always holds. An unknown
key or an invalid value stops the run.
"""

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from cxrflow.errors import CxrflowError, ended, nearest, one_line
from cxrflow.params import Params, members_of, merged, parts_of, problems_in
from cxrflow.plugins.in_files import trust
from cxrflow.yaml_files import read_yaml

_SHIPPED = Path(__file__).with_name("overrides")
#: Every parameter with its default, each explained by a comment.
DEFAULTS = _SHIPPED / "defaults.yaml"
_PURPOSE = "parameter file"


def load_params(path: Path, overrides: list[str] | None = None) -> Params:
    """Read ``path`` above the override files that it lists, or those given, above the defaults, and validate.

    An override file is ``params/<name>.yaml`` beside ``path`` or, if there is none, one that ships with cxrflow. A
    ``task`` replaces the whole task of the layers before it and clears their loss weights, which are given per class.
    Raises CxrflowError with the file and the key that is missing, unknown or out of range.
    """
    study = read_yaml(path, _PURPOSE)
    named = study.get("overrides") if overrides is None else overrides
    values, where = read_yaml(DEFAULTS, _PURPOSE), str(path)
    for file in _overrides(path, named):
        where += f" with {file}"
        override = read_yaml(file, _PURPOSE)
        if reserved := {"overrides", "sources"} & set(override):
            raise CxrflowError(f"{file}: {', '.join(sorted(reserved))} can be set in {path} only; remove it here.")
        values = _over(override, values)
    try:
        params = Params.model_validate(_over(study, values) | {"overrides": named})
    except ValidationError as error:
        raise CxrflowError(f"{where}: {ended(problems_in(error, Params))} Correct the key and run again.") from None
    trust(name for member in members_of(params.images, params.training) for name in parts_of(member))
    return params


def _over(layer: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """``values`` with those of a layer above."""
    if layer.get("task") is not None:  # merging two tasks key by key would give a third
        training = values["training"]
        values = values | {"task": None}
        if isinstance(training, dict):
            values["training"] = training | {"loss_weights": {}}
    return merged(layer, values)


def shipped_overrides() -> dict[str, Path]:
    """The override files that ship with cxrflow, by name."""
    return {file.stem: file for file in sorted(_SHIPPED.glob("*.yaml")) if file != DEFAULTS}


def shipped_tasks() -> list[str]:
    """Names of the shipped override files that ask another question than the defaults."""
    return [name for name, file in shipped_overrides().items() if "task" in read_yaml(file, _PURPOSE)]


def _overrides(path: Path, named: Any) -> list[Path]:
    """The override files that ``overrides`` in ``path`` names."""
    folder, names = path.parent / "params", [] if named is None else named if isinstance(named, list) else [named]
    there = shipped_overrides() | {file.stem: file for file in sorted(folder.glob("*.yaml"))}
    for name in names:
        if not isinstance(name, str) or name not in there:
            near = nearest(str(name), there).removesuffix("?")
            raise CxrflowError(
                f"{path}: overrides: {one_line(str(name), 80)} is neither one of the override files in {folder} nor of "
                f"those that ship with cxrflow ({', '.join(there)}){near}; correct the name, or write the file."
            )
    return [there[name] for name in names]


def resolved_yaml(params: Params) -> str:
    """The effective parameters as YAML, for DVC to compare and for people to read."""
    return yaml.safe_dump(params.model_dump(mode="json"), sort_keys=False)
