"""The plan as an override file of the study, which may be edited, and is then never replaced."""

import hashlib
import textwrap
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from cxrflow.check.plan import Plan
from cxrflow.errors import CxrflowError
from cxrflow.files import write_whole
from cxrflow.params import Params
from cxrflow.params_file import load_params
from cxrflow.yaml_files import read_yaml

#: Name of the override file, as ``overrides`` in the parameter file names it.
PLAN = "plan"
_DIGEST = "# SHA-256 of the lines below: "
_WIDTH = 118


def plan_file(params: Path) -> Path:
    """Where the plan of the study whose parameter file is ``params`` is written."""
    return params.parent / "params" / f"{PLAN}.yaml"


def recipe(path: Path) -> tuple[Params, list[str], frozenset[str]]:
    """What a plan starts from: the parameters of a study without an earlier plan, the names of its other override
    files, and the keys of images and training that the study sets itself, which no plan can change.

    Raises CxrflowError as ``load_params``.
    """
    study = read_yaml(path, "parameter file")
    named = study.get("overrides")
    names = [name for name in (named if isinstance(named, list) else [named]) if name not in (None, PLAN)]
    params = load_params(path, names)
    sections = {name: study.get(name) for name in ("images", "training")}
    given = {f"{name}.{key}" for name, keys in sections.items() if isinstance(keys, dict) for key in keys}
    return params, names, frozenset(given)


def check_unedited(path: Path) -> None:
    """Raise CxrflowError if the file ``path`` is there and is not as ``write_plan`` wrote it."""
    if not path.exists():
        return
    _, digest, rest = path.read_text(encoding="utf-8", errors="replace").partition(_DIGEST)
    said, _, body = rest.partition("\n")
    if not digest or said.strip() != _digest(body):
        raise CxrflowError(
            f"{path}: was edited since `cxrflow check` wrote it, so it is not replaced; rename it, and its name in "
            "overrides with it, or delete it, and run again."
        )


def write_plan(path: Path, plan: Plan, names: list[str], about: list[str]) -> None:
    """Write the choices of a plan as an override file, each below its reason.

    names  other override files of the study, below the plan
    about  sentences to stand at the top
    """
    body = "".join(_section(section, values, plan) for section, values in plan.values.items()) or "{}\n"
    head = [
        f"Plan of `cxrflow check`, {date.today().isoformat()}. Edit it as you like: a plan that was edited is never "
        f"replaced. {how_to_use(names)}",
        *about,
    ]
    comments = "".join(f"{line}\n" for sentence in head for line in _comment(sentence))
    write_whole(path, f"{comments}{_DIGEST}{_digest(body)}\n{body}".encode())


def how_to_use(names: list[str]) -> str:
    """What to write into the parameter file for the plan to hold."""
    return f"To use it, write into params.yaml: overrides: [{', '.join([*names, PLAN])}]"


def _section(section: str, values: dict[str, Any], plan: Plan) -> str:
    reasons = {choice.key: choice.reason for choice in plan.choices}
    lines = [f"{section}:"]
    for key, value in values.items():
        lines += [f"  {line}" for line in _comment(reasons[f"{section}.{key}"], _WIDTH - 2)]
        if isinstance(value, list):  # an entry on each line, as people write members
            lines += [f"  {key}:", *(f"    - {_flow(entry)}" for entry in value)]
        else:
            lines.append(f"  {key}: {_flow(value)}")
    return "\n".join(lines) + "\n"


def _comment(sentence: str, width: int = _WIDTH) -> list[str]:
    return textwrap.wrap(sentence, width, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def _flow(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000).removesuffix("...\n").strip()


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()
