"""Parts that others bring: of an installed package (an entry point), or of a study's own file (``file.py:name``).

A part of a package has the name of an entry point in the group ``cxrflow.<kind>``. A part of a file is named by the
path of the file below the working folder, which is the study's, and a name in it. Nothing is used that nobody names:
parameters, an option, or a bundle whose networks were trained with it. Nothing is loaded before it is used.
"""

import hashlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict

from cxrflow.errors import CxrflowError, LeftOut, one_line
from cxrflow.files import below, digest
from cxrflow.params import PART_IN_FILE, Text
from cxrflow.terminal import remark
from cxrflow.text import name_text

Kind = Literal["sources", "models", "image_steps", "audit_tests", "outputs"]
KINDS: tuple[Kind, ...] = get_args(Kind)
#: What a part of each kind is called, and is, for messages.
WORDS: dict[Kind, str] = {
    "sources": "source",
    "models": "network",
    "image_steps": "image step",
    "audit_tests": "audit test",
    "outputs": "output",
}
_ARE: dict[Kind, str] = {
    "sources": "a cxrflow.sources.collection.Collection",
    "models": "a cxrflow.models.model.Model",
    "image_steps": "a function of one image",
    "audit_tests": "a cxrflow.audit.verdicts.AuditTest",
    "outputs": "a function of a bundle and its results",
}
_MOST_CODE = 2**20
In = TypeVar("In")
Out = TypeVar("Out")

#: The content of each file that was asked for, by its absolute path: read once, so that what is run is what was
#: checked, however long a service runs.
_read: dict[Path, bytes] = {}
#: The same by the path as it was named, for worker processes; and in one of these, what it was given.
_named: dict[str, bytes] = {}
_given: dict[str, bytes] = {}
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

    @property
    def origin(self) -> str:
        """``cxrflow-example 0.1.0``, or the path of the file."""
        return f"{self.distribution} {self.version}" if self.distribution else self.name.rpartition(":")[0]

    def __str__(self) -> str:
        return f"{WORDS[self.kind]} {self.name}" + (f" of {self.origin}" if self.distribution else "")


def is_in_file(name: str) -> bool:
    """Whether a name is meant as ``file.py:name``."""
    return ".py:" in name


def offered(kind: Kind) -> list[EntryPoint]:
    """The entry points of a kind, of all installed packages, by name; nothing is loaded."""
    return sorted(entry_points(group=f"cxrflow.{kind}"), key=lambda each: (each.name, _distribution(each)))


def described(kind: Kind, name: str, key: str) -> Plugin | None:
    """The part called ``name`` and its code, which is not run; None if no installed package has one of this name.

    key  parameter or option that names it, for messages
    Raises CxrflowError if a file is absent or not below the working folder, or if two packages have one of this name.
    """
    if is_in_file(name):
        return Plugin(kind=kind, name=name, sha256=hashlib.sha256(_content(name, key)).hexdigest())
    found = [each for each in offered(kind) if each.name == name]
    if len(found) > 1:
        raise CxrflowError(
            f"{key}: {' and '.join(map(_distribution, found))} both have a {WORDS[kind]} called {name}; uninstall one "
            "of them."
        )
    if not found or found[0].dist is None:
        return None
    (point,) = found
    return Plugin(
        kind=kind,
        name=name,
        distribution=_distribution(point),
        version=found[0].dist.version,
        sha256=_package_digest(point.module, _distribution(point), found[0].dist.version, key),
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
    part = _in_file(name, key) if is_in_file(name) else _in_package(kind, name, key)
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
        raise CxrflowError(f"the {WORDS[kind]} {name} failed ({_said(error)}); correct it, or leave it out.") from error


def check_trained_with(plugins: Iterable[Plugin], folder: Path) -> None:
    """Raise CxrflowError, with what to install or where to put which file, unless the parts that the bundle in
    ``folder`` was trained with are here, with the same code. A file in the bundle's folder is refused: a bundle never
    brings code that is run."""
    for plugin in plugins:
        try:
            here = described(plugin.kind, plugin.name, "")
        except CxrflowError:
            here = None
        file, where = plugin.name.rpartition(":")[0], name_text(folder)
        if plugin.distribution is not None:
            if here is None or here.sha256 != plugin.sha256:
                other = f"; {here.origin} is installed, whose code is another" if here else ""
                raise CxrflowError(
                    f"{where}: was trained with the {plugin}{other}; install that version with "
                    f"`pip install {plugin.distribution}=={plugin.version}`."
                )
        elif here is None or here.sha256 != plugin.sha256:
            other = f"; the {file} here has {here.sha256}" if here else ""
            raise CxrflowError(
                f"{where}: was trained with the {plugin}, whose file has the SHA-256 {plugin.sha256}{other}; put that "
                f"file into the working folder as {file}, since no bundle brings code."
            )
        elif Path(file).resolve().is_relative_to(folder.resolve()):
            raise CxrflowError(
                f"{where}: {file} lies in the bundle's own folder, and no code that comes with a bundle is run; if you "
                "trust it, copy it into another folder and run there."
            )
        elif file not in _told:
            _told.add(file)
            remark(f"{where}: was trained with the {plugin}; {file} in this folder is run")


def are_here(plugins: Iterable[Plugin]) -> bool:
    """Whether all of these are here, with the same code; none is run."""
    try:
        check_trained_with(plugins, Path(os.devnull))
    except CxrflowError:
        return False
    return True


def with_files(function: Callable[[In], Out]) -> Callable[[In], Out]:
    """The function for worker processes, which may run on other machines or later: it takes the content of the files
    along that this process has asked for."""
    return partial(_given_files, dict(_named), function) if _named else function


def _given_files(files: dict[str, bytes], function: Callable[[In], Out], item: In) -> Out:
    _given.update(files)
    return function(item)


def _content(name: str, key: str) -> bytes:
    """The content of the file of ``file.py:name``."""
    if not PART_IN_FILE.fullmatch(name):
        raise CxrflowError(f"{key}: {one_line(name, 80)} is not of the form file.py:name; correct it.")
    file = name.rpartition(":")[0]
    if file in _given:
        return _given[file]
    place = Path.cwd() / file
    if place not in _read:
        try:
            with below(Path.cwd(), file).open("rb") as opened:
                content = opened.read(_MOST_CODE + 1)
        except LeftOut:
            raise CxrflowError(f"{key}: {file} lies outside of the working folder; copy it into it.") from None
        except OSError as error:
            raise CxrflowError(
                f"{key}: {file} cannot be read ({error.strerror}); it has to lie in the working folder, which is the "
                "study's."
            ) from None
        if len(content) > _MOST_CODE:
            raise CxrflowError(f"{key}: {file} is larger than 1 MiB, and no file of code; name another.")
        _read[place] = content
    _named[file] = _read[place]
    return _read[place]


def _in_file(name: str, key: str) -> Any:
    file, _, attribute = name.rpartition(":")
    content = _content(name, key)
    module = _run(file, content, key)
    if not hasattr(module, attribute):
        raise CxrflowError(f"{key}: {file} defines no {attribute}; correct the name.")
    return getattr(module, attribute)


def _run(file: str, content: bytes, key: str) -> ModuleType:
    """The module of a file with this content, run once per process."""
    called = f"cxrflow_file_{hashlib.sha256(file.encode() + content).hexdigest()[:16]}"
    if called in sys.modules:
        return sys.modules[called]
    module = ModuleType(called)
    module.__file__ = str(Path.cwd() / file)
    sys.modules[called] = module  # dataclasses look there
    try:
        exec(compile(content, module.__file__, "exec"), module.__dict__)  # noqa: S102  the user's own code
    except (Exception, SystemExit) as error:
        del sys.modules[called]
        alone = " A file stands alone; what several share is a package." if isinstance(error, ImportError) else ""
        raise CxrflowError(f"{key}: {file} cannot be run ({_said(error)}); correct it.{alone}") from None
    return module


@cache
def _in_package(kind: Kind, name: str, key: str) -> Any:
    (point,) = [each for each in offered(kind) if each.name == name]
    try:
        return point.load()
    except (Exception, SystemExit) as error:
        raise CxrflowError(
            f"{key}: the entry point {name} (cxrflow.{kind}) of {_distribution(point)} cannot be loaded "
            f"({_said(error)}); repair, update or uninstall that package, or name another {WORDS[kind]}."
        ) from None


@cache
def _package_digest(module: str, distribution: str, version: str, key: str) -> str:
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


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "an unnamed package"


def _said(error: BaseException) -> str:
    return one_line(f"{type(error).__name__}: {error}")
