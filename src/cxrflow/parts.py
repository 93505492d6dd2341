"""All parts of all kinds, cxrflow's own and those of others; and what of others' code a study uses, stage by stage."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

from rich.markup import escape
from rich.table import Table

from cxrflow import __version__
from cxrflow.audit.registry import TESTS, tests_of
from cxrflow.errors import CxrflowError
from cxrflow.files import digest
from cxrflow.images.registry import STEPS, find_change
from cxrflow.models import FAMILIES, MODELS, find_model, plugin_of
from cxrflow.models.stored import STORED
from cxrflow.outputs.registry import OUTPUTS, find_output
from cxrflow.params import Params, members_of
from cxrflow.plugins import KINDS, WORDS, Kind, Plugin, described, is_in_file, offered
from cxrflow.sources import SOURCES, extra_collections
from cxrflow.terminal import console

#: The parts of others that each stage of ``dvc.yaml`` uses.
_STAGES: dict[str, tuple[Kind, ...]] = {
    "metadata": ("sources",),
    "images": ("image_steps",),
    "training": ("models", "image_steps"),
    "evaluation": ("models", "image_steps"),
    "explanation": ("models", "image_steps"),
    "audit": ("models", "image_steps", "audit_tests"),
    "report": (),
}
_OURS: dict[Kind, tuple[str, ...]] = {
    "sources": tuple(SOURCES),
    "models": (*MODELS, *(f"{family}:NAME" for family in FAMILIES)),
    "image_steps": tuple(
        dict.fromkeys(
            ", ".join(f"{key}: {' or '.join(values)}" for key, values in step.when.items()) or ", ".join(step.needs)
            for steps in STEPS.values()
            for step in steps
        )
    ),
    "audit_tests": tuple(TESTS),
    "outputs": tuple(OUTPUTS),
}
_FIND: dict[Kind, Callable[[str], object]] = {
    "sources": lambda name: extra_collections([name]),
    "models": find_model,
    "image_steps": find_change,
    "audit_tests": lambda name: tests_of([name]),
    "outputs": find_output,
}


@dataclass(frozen=True, slots=True)
class Part:
    """A part that there is to choose.

    name     by which parameters and options name it; of cxrflow's own image steps, the parameters that set it
    origin   ``cxrflow <version>``, name and version of another package, or a file of the study
    problem  why a part of others cannot be used; empty if it can
    """

    kind: str
    name: str
    origin: str
    problem: str = ""


def all_parts(params: Params | None) -> list[Part]:
    """The parts of all kinds: cxrflow's own, those of installed packages, and those of files that ``params`` name."""
    parts = []
    for kind in KINDS:
        parts += [Part(WORDS[kind], name, f"cxrflow {__version__}") for name in _OURS[kind]]
        for point in offered(kind):
            origin = f"{point.dist.name} {point.dist.version}" if point.dist else "unknown"
            parts.append(Part(WORDS[kind], point.name, origin, _problem(kind, point.name)))
        named = dict(_named(params)).get(kind, ()) if params else ()
        for name in filter(is_in_file, named):
            parts.append(Part(WORDS[kind], name, name.rpartition(":")[0], _problem(kind, name)))
    return parts


def print_parts(params: Params | None, as_json: bool) -> None:
    """Print ``all_parts`` as a table or as a JSON list of objects."""
    parts = all_parts(params)
    if as_json:
        print(json.dumps([asdict(part) for part in parts], indent=2))
        return
    table = Table("kind", "name", "origin")
    for part in parts:
        origin = f"{part.origin}, refused" if part.problem else part.origin
        table.add_row(part.kind, escape(part.name), escape(origin))
    console().print(table)
    for part in parts:
        if part.problem:
            console().print(f"Refused: {part.problem}", markup=False, highlight=False, soft_wrap=True)


def check_parts(params: Params) -> None:
    """Raise CxrflowError unless all parts of others that the parameters name can be used. Networks are checked with
    their image size (training/checks.py)."""
    extra_collections(params.sources.extra)
    tests_of(params.audit.extra)
    for kind, names in _named(params):
        if kind == "image_steps":
            for name in names:
                find_change(name)


def plugin_digests(params: Params) -> dict[str, str]:
    """For each stage, a digest of the code of others that it uses, of packages and of the study's files; empty if it
    uses none. Nothing of it is run. Raises CxrflowError as ``plugins.described``."""
    known: dict[Kind, list[Plugin]] = {kind: list(_described(kind, names)) for kind, names in _named(params)}
    used = {stage: [plugin for kind in kinds for plugin in known[kind]] for stage, kinds in _STAGES.items()}
    return {
        stage: digest([plugin.model_dump() for plugin in plugins]) if plugins else "" for stage, plugins in used.items()
    }


def _problem(kind: Kind, name: str) -> str:
    try:
        _FIND[kind](name)
        if kind == "models":
            if name in MODELS:
                return f"training.model: {name} is a network of cxrflow's own, which is used; rename the other."
            described(kind, name, "training.model")
    except CxrflowError as error:
        return str(error)
    return ""


def _named(params: Params) -> Iterator[tuple[Kind, tuple[str, ...]]]:
    """The names of parts, of each kind that parameters can name."""
    members = members_of(params.images, params.training)
    yield "sources", params.sources.extra
    yield "models", tuple(dict.fromkeys(member.training.model for member in members))
    yield "image_steps", tuple(dict.fromkeys(name for member in members for name in member.images.extra))
    yield "audit_tests", params.audit.extra


def _described(kind: Kind, names: tuple[str, ...]) -> Iterator[Plugin]:
    keys: dict[Kind, str] = {"sources": "sources.extra", "image_steps": "images.extra", "audit_tests": "audit.extra"}
    for name in names:
        if name != STORED:
            found = plugin_of(name) if kind == "models" else described(kind, name, keys[kind])
            yield from () if found is None else (found,)
