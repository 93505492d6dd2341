"""Parts of installed packages: entry points in the groups ``cxrflow.<kind>``."""

import hashlib
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cxrflow.errors import CxrflowError, raised
from cxrflow.files import digest
from cxrflow.plugins.kinds import WORDS, Kind


@cache
def offered(kind: Kind) -> tuple[EntryPoint, ...]:
    """The entry points of a kind, of all installed packages, by name; nothing is loaded. Looked for once: steps of
    images ask for each."""
    return tuple(sorted(entry_points(group=f"cxrflow.{kind}"), key=lambda each: (each.name, distribution_of(each))))


def distribution_of(point: EntryPoint) -> str:
    """Name of the package of an entry point."""
    return point.dist.name if point.dist else "an unnamed package"


@cache
def part_in_package(kind: Kind, name: str, key: str) -> Any:
    """The part of the entry point called ``name``, loaded. Raises CxrflowError if it cannot be."""
    (point,) = [each for each in offered(kind) if each.name == name]
    try:
        return point.load()
    except (Exception, SystemExit) as error:
        raise CxrflowError(
            f"{key}: the entry point {name} (cxrflow.{kind}) of {distribution_of(point)} cannot be loaded "
            f"({raised(error)}); repair, update or uninstall that package, or name another {WORDS[kind]}."
        ) from None


@cache
def package_digest(module: str, distribution: str, version: str, key: str) -> str:
    """Digest of the name and version of a package, and of the files of the module, or of the outermost package with
    an ``__init__.py`` that holds it; nothing of it is run."""
    try:
        spec = _outermost(module)
    except (ImportError, ValueError):
        spec = None
    if spec is None or spec.origin is None:
        raise CxrflowError(
            f"{key}: {distribution} {version} names the module {module}, which is not there; repair or uninstall that "
            "package."
        )
    folder = Path(spec.origin).parent
    inside = sorted(folder.rglob("*")) if spec.submodule_search_locations else [Path(spec.origin)]
    files = [file for file in inside if file.is_file() and file.suffix != ".pyc"]
    contents = []
    for file in files:
        with file.open("rb") as opened:
            contents.append([file.relative_to(folder).as_posix(), hashlib.file_digest(opened, "sha256").hexdigest()])
    return digest([distribution, version, contents])


def _outermost(module: str) -> ModuleSpec | None:
    """The specification of the outermost package that is no namespace; ``find_spec`` runs no more than namespaces."""
    parts = module.split(".")
    spec = None
    for end in range(1, len(parts) + 1):
        spec = find_spec(".".join(parts[:end]))
        if spec is None or spec.origin is not None:
            return spec
    return spec
