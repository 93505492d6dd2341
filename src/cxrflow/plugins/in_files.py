"""Parts in a file of the study, ``file.py:name``: read once, run as source, handed to worker processes."""

import hashlib
import os
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from cxrflow.errors import CxrflowError, LeftOut, one_line, raised
from cxrflow.files import below
from cxrflow.params import PART_IN_FILE

_MOST_CODE = 2**20
In = TypeVar("In")
Out = TypeVar("Out")

#: The content of each file that was asked for, by its absolute path: read once, so that what is run is what was
#: checked, however long a service runs.
_read: dict[Path, bytes] = {}
#: The same by the path as it was named, for worker processes; and in one of these, what it was given.
_named: dict[str, bytes] = {}
_given: dict[str, bytes] = {}
#: Files that the parameters of a study have named.
_of_study: set[str] = set()
#: Environment variable with the files that a bundle may have run, separated as the folders in PATH.
CODE = "CXRFLOW_CODE"


def is_in_file(name: str) -> bool:
    """Whether a name is meant as ``file.py:name``."""
    return ".py:" in name


def with_files(function: Callable[[In], Out]) -> Callable[[In], Out]:
    """The function for worker processes, which may run on other machines or later: it takes the content of the files
    along that this process has asked for."""
    return partial(_given_files, dict(_named), function) if _named else function


def _given_files(files: dict[str, bytes], function: Callable[[In], Out], item: In) -> Out:
    _given.update(files)
    return function(item)


def trust(names: Iterable[str]) -> None:
    """Let bundles use the files of these parts, which the parameters of the study name, in this process."""
    _of_study.update(name.rpartition(":")[0] for name in names if is_in_file(name))


def is_trusted(name: str) -> bool:
    """Whether the user has named the file of a part, by parameters or by the environment variable CXRFLOW_CODE: a
    bundle that names it is nobody's consent."""
    return name.rpartition(":")[0] in _of_study | set(os.environ.get(CODE, "").split(os.pathsep))


def content_of(name: str, key: str) -> bytes:
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


def part_in_file(name: str, key: str) -> Any:
    """What ``file.py:name`` names; the file is run, once per process. Raises CxrflowError if it cannot be."""
    file, _, attribute = name.rpartition(":")
    content = content_of(name, key)
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
        raise CxrflowError(f"{key}: {file} cannot be run ({raised(error)}); correct it.{alone}") from None
    return module
