"""Atomic writes, digests, and paths that stay below their root."""

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from cxrflow.errors import CxrflowError, LeftOut
from cxrflow.text import name_of, name_text

#: Reasons for leaving out a file that is not below its root.
OUTSIDE = "path leaves the collection's folder: it is absolute or has '..'"
LINK = "path leaves the collection's folder through a link; set sources.follow_links: true if the link is yours"
#: Extension of files and folders that are being written; a later run removes those that an interrupted one left.
WRITING = ".writing"
#: An absolute path, also of Windows, or one with "..".
_OUTSIDE = re.compile(r"^[/\\]|^[A-Za-z]:[/\\]|(?:^|/)\.\.(?:/|$)")


def write_whole(path: Path, content: bytes | Iterable[bytes]) -> None:
    """Write ``path`` atomically, through a temporary file in the same folder: readers never see a partial file.

    content  all bytes, or parts of them that need not be in memory at once
    Raises CxrflowError if the disk is full, or the place cannot be written.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        begin = f".{path.name[:40]}."  # names may be up to 255 bytes long
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=begin, suffix=WRITING)
        with os.fdopen(handle, "wb") as file:
            for part in [content] if isinstance(content, bytes) else content:
                file.write(part)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if error.filename is not None:
            named, whole = os.path.abspath(os.fsdecode(error.filename)), os.path.abspath(path)
            if os.path.dirname(named) != os.path.dirname(whole) and not f"{whole}/".startswith(f"{named}/"):
                raise  # of what gives the content
        raise refused(error, path) from None
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """Make sure, before the work that gives its content, that the file ``path`` can be written; its folder is created.

    Raises CxrflowError if it is a folder or something else than a file, or its folder cannot be written.
    """
    try:
        if path.exists() and not path.is_file():
            what = "a folder" if path.is_dir() else "a device, FIFO or socket"
            raise CxrflowError(f"{name_text(path)}: is {what}; name a file.")
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise refused(error, path) from None


def refused(error: OSError, path: Path | str) -> CxrflowError:
    """The error that names ``path``, why it cannot be read or written, and what to do."""
    where = name_text(path)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return CxrflowError(f"{where}: the disk is full, or the quota used up; free some space and run again.")
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return CxrflowError(f"{where}: a part of this path is a file; name another place.")
    if error.errno == errno.EISDIR:
        return CxrflowError(f"{where}: is a folder; name a file.")
    why = error.strerror or str(error)
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return CxrflowError(f"{where}: cannot be written ({why}); name another place, or change its permissions.")
    return CxrflowError(f"{where}: {why}.")


def remove(path: Path) -> None:
    """Remove a file or a folder with what it holds, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically. Raises ValueError for NaN and infinity."""
    write_whole(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def digest(value: Any) -> str:
    """SHA-256 (hexadecimal) of a value's JSON with sorted keys: equal values have equal digests."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Root:
    """The folder that holds the collections, and where the paths of records lead.

    folder        the paths are relative to it
    follow_links  whether links may lead out of a collection's folder (``sources.follow_links``)
    """

    folder: Path
    follow_links: bool = False

    def file(self, path: str) -> Path:
        """The file of a record.

        path  name text (text.py), the collection's folder first
        Raises LeftOut as ``below``: the path must not leave the collection's folder.
        """
        folder, _, rest = name_of(path).partition("/")
        if folder in ("", ".", ".."):
            raise LeftOut(OUTSIDE)
        return below(self.folder / folder, rest, self.follow_links)

    def absolute(self) -> "Root":
        """The same with an absolute folder, for processes that have another working directory."""
        return replace(self, folder=self.folder.absolute())


def below(root: Path, relative: str, follow_links: bool = False) -> Path:
    """``root / relative``.

    Raises LeftOut if the path is absolute or has ``..``, or if it leads out of ``root`` through a link and links are
    not to be followed. Each folder is resolved once per process; a link that replaces it later is not detected.
    """
    if "\0" in relative:
        raise LeftOut("path contains a NUL character")
    if _OUTSIDE.search(relative):
        raise LeftOut(OUTSIDE)
    path = root / relative
    if follow_links:
        return path
    folder, name = os.path.split(path)
    # Resolving a path takes longer than opening the file, so folders are resolved once and cached.
    direct = name not in ("", ".") and not os.path.islink(path)
    there = _resolved(folder) + name if direct else os.path.realpath(path)
    if not f"{there}/".startswith(_resolved(str(root))):
        raise LeftOut(LINK)
    return path


@lru_cache(maxsize=1024)
def _resolved(folder: str) -> str:
    return f"{os.path.realpath(folder).rstrip('/')}/"


def code_digest(package: Path, parts: Iterable[str]) -> str:
    """SHA-256 (hexadecimal) of code and of what ships beside it: the files of a package, but for bytecode.

    parts  files and folders below ``package`` to include
    """
    places = [package / part for part in parts]
    files = sorted({file for place in places for file in (place.rglob("*") if place.is_dir() else [place])})
    held = [file for file in files if file.is_file() and file.suffix != ".pyc"]
    return digest([[f.relative_to(package).as_posix(), hashlib.sha256(f.read_bytes()).hexdigest()] for f in held])
