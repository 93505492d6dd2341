"""Parts that others bring: of an installed package (an entry point), or of a study's own file (``file.py:name``).

A part of a package has the name of an entry point in the group ``cxrflow.<kind>``. A part of a file is named by the
path of the file below the working folder, which is the study's, and a name in it. Nothing is used that nobody names:
parameters, an option, or a bundle whose networks were trained with it. Nothing is loaded before it is used.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, model_validator

from cxrflow.errors import CxrflowError, LeftOut, one_line, raised
from cxrflow.params import Text
from cxrflow.plugins.in_files import CODE, content_of, is_in_file, is_trusted, part_in_file, with_files
from cxrflow.plugins.in_packages import distribution_of, offered, package_digest, part_in_package
from cxrflow.plugins.kinds import KINDS, WORDS, Kind
from cxrflow.terminal import remark
from cxrflow.text import name_text

__all__ = [
    "KINDS",
    "WORDS",
    "Kind",
    "Plugin",
    "are_here",
    "check_trained_with",
    "described",
    "find",
    "guarded",
    "is_in_file",
    "offered",
    "running",
    "with_files",
]

Out = TypeVar("Out")
#: What a part of each kind has to be, for messages.
_ARE: dict[Kind, str] = {
    "sources": "a cxrflow.sources.collection.Collection",
    "models": "a cxrflow.models.model.Model",
    "image_steps": "a function of one image",
    "audit_tests": "a cxrflow.audit.verdicts.AuditTest",
    "outputs": "a function of a bundle and its results",
}
#: Files that a bundle had run, and this was said.
_told: set[str] = set()


class Plugin(BaseModel):
    """A part of a package or of a file, and its code.

    name          of the entry point, or ``file.py:name``
    distribution, version  of the package; None of a file
    sha256        of the file's content; of a package, of its name, its version and all its files
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    name: Text
    distribution: Text | None = None
    version: Text | None = None
    sha256: Text

    @model_validator(mode="after")
    def _of_one_place(self) -> "Plugin":
        if is_in_file(self.name) != (self.distribution is None):
            raise ValueError("a part is of a package or of a file")
        return self

    @property
    def origin(self) -> str:
        """``cxrflow-example 0.1.0``, or the path of the file."""
        return f"{self.distribution} {self.version}" if self.distribution else self.name.rpartition(":")[0]

    def __str__(self) -> str:
        return f"{WORDS[self.kind]} {self.name}" + (f" of {self.origin}" if self.distribution else "")


def described(kind: Kind, name: str, key: str) -> Plugin | None:
    """The part called ``name`` and its code, which is not run; None if no installed package has one of this name.

    key  parameter or option that names it, for messages
    Raises CxrflowError if a file is absent or not below the working folder, or if two packages have one of this name.
    """
    if is_in_file(name):
        return Plugin(kind=kind, name=name, sha256=hashlib.sha256(content_of(name, key)).hexdigest())
    found = [each for each in offered(kind) if each.name == name]
    if len(found) > 1:
        raise CxrflowError(
            f"{key}: {' and '.join(map(distribution_of, found))} both have a {WORDS[kind]} called {name}; uninstall "
            "one of them."
        )
    if not found or found[0].dist is None:
        return None
    (point,) = found
    return Plugin(
        kind=kind,
        name=name,
        distribution=distribution_of(point),
        version=found[0].dist.version,
        sha256=package_digest(point.module, distribution_of(point), found[0].dist.version, key),
    )


def find(kind: Kind, name: str, wanted: type | None, key: str) -> Any:
    """The part called ``name``; its code is run.

    wanted  class that it has to be of; None: something that can be called
    Raises CxrflowError as ``described``; if there is none of this name, its code cannot be run, or it is something
    else.
    """
    plugin = described(kind, name, key)
    if plugin is None:
        known = ", ".join(each.name for each in offered(kind)) or "none"
        raise CxrflowError(
            f"{key}: no installed package has a {WORDS[kind]} called {one_line(name, 80)} (there are: {known}); "
            "install the package, or name file.py:name, a file in this folder and a name in it."
        )
    part = part_in_file(name, key) if is_in_file(name) else part_in_package(kind, name, key)
    if not (callable(part) if wanted is None else isinstance(part, wanted)):
        raise CxrflowError(
            f"{key}: {name} of {plugin.origin} is of the type {type(part).__name__}, not {_ARE[kind]}; name another, "
            "or correct it there."
        )
    return part


@contextmanager
def running(kind: Kind, name: str) -> Iterator[None]:
    """Context manager for a call of a part: what it raises, but for LeftOut, becomes a CxrflowError that names it."""
    try:
        yield
    except (CxrflowError, LeftOut):
        raise
    except Exception as error:
        raise CxrflowError(
            f"the {WORDS[kind]} {name} failed ({raised(error)}); correct it, or leave it out."
        ) from error


def guarded(kind: Kind, name: str, function: Callable[..., Out]) -> Callable[..., Out]:
    """A function of a part, called inside ``running``."""

    @wraps(function)
    def call(*given: Any) -> Out:
        with running(kind, name):
            return function(*given)

    return call


def check_trained_with(plugins: Iterable[Plugin], folder: Path) -> None:
    """Raise CxrflowError, with what to install or where to put which file, unless the parts that the bundle in
    ``folder`` was trained with are here, with the same code, and the user has named their files. A file in the bundle's
    folder is refused: a bundle never brings code that is run."""
    for plugin in plugins:
        if lacking := _lacking(plugin, folder):
            raise CxrflowError(f"{name_text(folder)}: was trained with the {plugin}{lacking}")
        if is_in_file(plugin.name) and plugin.origin not in _told:
            _told.add(plugin.origin)
            remark(f"{name_text(folder)}: was trained with the {plugin}; {plugin.origin} in this folder is run")


def are_here(plugins: Iterable[Plugin], folder: Path) -> bool:
    """Whether all of these can be used; ``folder`` as of ``check_trained_with``. None is run."""
    return not any(_lacking(plugin, folder) for plugin in plugins)


def _lacking(plugin: Plugin, folder: Path) -> str:
    """Why the bundle in ``folder`` cannot use a part, and what to do, as the end of a sentence; empty if it can."""
    try:
        here = described(plugin.kind, plugin.name, "")
    except CxrflowError:
        here = None
    same, file = here is not None and here.sha256 == plugin.sha256, plugin.origin
    if not is_in_file(plugin.name):
        other = f"; {here.origin} is installed, whose code is another" if here else ""
        install = f"{other}; install that version with `pip install {plugin.distribution}=={plugin.version}`."
        return "" if same else install
    if not same:
        other = f"; the {file} here has {here.sha256}" if here else ""
        return (
            f", whose file has the SHA-256 {plugin.sha256}{other}; put that file into the working folder as {file}, "
            "since no bundle brings code."
        )
    if Path(file).resolve().is_relative_to(folder.resolve()):
        return (
            f"; {file} lies in the bundle's own folder, and no code that comes with a bundle is run; if you trust it, "
            "copy it into another folder and run there."
        )
    if not is_trusted(plugin.name):
        return (
            f"; {file} in the working folder has the same code, which is run once you say so: set the environment "
            f"variable {CODE}={file}, or name it in the params.yaml of the study."
        )
    return ""
