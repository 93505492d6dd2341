"""Searches folders for image files. Whatever else a folder holds is counted, so that nothing disappears."""

import glob
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from cxrflow.errors import CxrflowError
from cxrflow.reading import EXTENSIONS, is_dicom
from cxrflow.reading.kinds import is_dicomdir
from cxrflow.reading.picture import is_picture
from cxrflow.text import clean, name_text, number_of

#: Reasons for leaving out a file; SAME_FILE is followed by the other name.
BROKEN_LINK = "link to a file that is not there (if git-annex or DataLad manages it, fetch it first)"
SAME_FILE = "the same file as"
#: Kinds of what is passed over, beside extensions.
NO_EXTENSION, OF_THE_SYSTEM, DICOMDIR = "without extension", "of the operating system (._*, .DS_Store, ...)", "DICOMDIR"
SPECIAL, HIDDEN, AGAIN = "devices, FIFOs and sockets", "hidden folders", "folders searched already"
LINKED = "links to folders"
#: Files and folders that operating systems and archivers leave behind, in lower case.
_OF_THE_SYSTEM = frozenset((".ds_store", "thumbs.db", "desktop.ini", "__macosx", "$recycle.bin"))
#: An extension has a letter: in ``1.2.840.10008`` there is none.
_ENDING = re.compile(r".(\.[^.\s]*[a-z][^.\s]*)$", re.IGNORECASE | re.DOTALL)
#: Extensions of files that reading unpacks.
_PACKED = (".gz", ".zip")
#: Bytes by which files without an extension are recognised.
_HEAD = 1024
_SHOWN = 12


class Found(NamedTuple):
    """A file that a search took for an image.

    path      of the file
    left_out  the reason if it cannot be read, or has been found before
    again     whether it has been found before, under another name
    """

    path: Path
    left_out: str | None = None
    again: bool = False


class Search:
    """A search for image files in any number of files and folders.

    follow_links  whether folders are searched that links lead to
    passed_over   number of files and folders that the search did not take, by extension or kind
    """

    def __init__(self, follow_links: bool = True) -> None:
        self._follow_links = follow_links
        self.passed_over: Counter[str] = Counter()
        self._folders: set[tuple[int, int] | str] = set()
        self._files: dict[tuple[int, int] | str, str] = {}

    def images(self, paths: Iterable[Path]) -> Iterator[Found]:
        """The given files, and the images in the given folders at any depth, sorted by path within each folder.

        In folders, images are recognised by extension, and DICOM files and pictures without one by content: archives
        often store images without. Each file is given once: under its other names (links, or named
        twice) it is left out. Links to nothing, and files and folders that cannot be opened, are left out with the
        reason. No device, FIFO or socket is opened.
        Raises CxrflowError if a path does not exist.
        """
        for path in paths:
            try:
                status = path.stat()
            except FileNotFoundError:
                if not path.is_symlink():
                    raise CxrflowError(f"{name_text(path)}: no such file or folder.") from None
                yield Found(path, BROKEN_LINK)
            except (OSError, ValueError) as error:
                yield Found(path, _not_opened("file", error))
            else:
                yield from self._below(path, status) if stat.S_ISDIR(status.st_mode) else [self._once(path, status)]

    def _below(self, folder: Path, status: os.stat_result) -> Iterator[Found]:
        waiting: list[os.DirEntry[str]] = []  # the next one last; recursion would limit the depth
        yield from self._enter(folder, status, waiting)
        while waiting:
            entry = waiting.pop()
            path = Path(entry.path)
            try:
                if is_of_the_system(entry.name):
                    self.passed_over[OF_THE_SYSTEM] += 1
                elif not stat.S_ISDIR((status := entry.stat()).st_mode):
                    yield from self._file(path, status)
                elif entry.name.startswith("."):
                    self.passed_over[HIDDEN] += 1
                elif entry.is_symlink() and not self._follow_links:
                    self.passed_over[LINKED] += 1
                else:
                    yield from self._enter(path, status, waiting)
            except OSError as error:
                if is_of_an_image(extension(entry.name)) or extension(entry.name) == NO_EXTENSION:
                    broken = entry.is_symlink() and isinstance(error, FileNotFoundError)
                    kind = "folder" if entry.is_dir(follow_symlinks=False) else "file"
                    yield Found(path, BROKEN_LINK if broken else _not_opened(kind, error))
                else:
                    self.passed_over[extension(entry.name)] += 1

    def _enter(self, folder: Path, status: os.stat_result, waiting: list[os.DirEntry[str]]) -> Iterator[Found]:
        """Add the entries of a folder to those waiting, unless it has been searched already, as in a loop of links."""
        if (key := _identity(folder, status)) in self._folders:
            self.passed_over[AGAIN] += 1
            return
        self._folders.add(key)
        try:
            with os.scandir(folder) as entries:
                waiting += sorted(entries, key=lambda entry: entry.name, reverse=True)
        except OSError as error:
            yield Found(folder, _not_opened("folder", error))

    def _file(self, path: Path, status: os.stat_result) -> Iterator[Found]:
        kind = extension(path.name)
        if not stat.S_ISREG(status.st_mode):
            self.passed_over[SPECIAL] += 1
        elif is_of_an_image(kind):
            yield self._once(path, status)
        else:
            with path.open("rb") as file:
                head = file.read(_HEAD)
            if is_dicomdir(head):
                self.passed_over[DICOMDIR] += 1
            elif is_dicom(head) or (kind == NO_EXTENSION and is_picture(head)):
                yield self._once(path, status)
            else:
                self.passed_over[kind] += 1

    def _once(self, path: Path, status: os.stat_result) -> Found:
        key = _identity(path, status)
        if (before := self._files.get(key)) is not None:
            return Found(path, f"{SAME_FILE} {before}", again=True)
        self._files[key] = name_text(path)
        return Found(path)


def expanded(paths: Iterable[Path]) -> Iterator[Path]:
    """The paths, with those that do not exist and hold ``*``, ``?`` or ``[`` taken as patterns, as a shell expands them
    (``**`` for folders at any depth): what matches, sorted. A file whose name holds such a character is meant itself.

    Raises CxrflowError if nothing matches a pattern.
    """
    for path in paths:
        pattern = str(path)
        if not glob.has_magic(pattern) or os.path.lexists(path):
            yield path
            continue
        matches = sorted(glob.iglob(pattern, recursive=True))
        if not matches:
            raise CxrflowError(f"{name_text(path)}: no file or folder matches this pattern.")
        yield from map(Path, matches)


def is_of_the_system(name: str) -> bool:
    """Whether a file or folder of this name is left behind by an operating system or an archiver."""
    return name.startswith("._") or name.lower() in _OF_THE_SYSTEM


def extension(name: str) -> str:
    """The extension of a file name in lower case, with its dot; NO_EXTENSION if there is none. A packed file has two:
    ``.dcm.gz``."""
    found = _ENDING.search(name)
    if not found:
        return NO_EXTENSION
    last = found[1].lower()
    packed = extension(name[: found.start(1)]) if last in _PACKED else NO_EXTENSION
    return last if packed == NO_EXTENSION else packed + last


def is_of_an_image(kind: str) -> bool:
    """Whether an extension, as ``extension`` gives it, is one of image files, packed or not."""
    unpacked = next((kind.removesuffix(packed) for packed in _PACKED if kind.endswith(packed)), kind)
    return kind in EXTENSIONS or unpacked in EXTENSIONS


def counted(kinds: Counter[str]) -> str:
    """Counts by extension or kind in words, the most frequent first: ``12 .txt, 3 .pdf, 2 without extension``."""
    shown = [f"{count:,} {clean(kind)}" for kind, count in sorted(kinds.items(), key=lambda item: (-item[1], item[0]))]
    more = sum(sorted(kinds.values(), reverse=True)[_SHOWN:])
    return ", ".join(
        shown[:_SHOWN] + ([f"{more:,} with {number_of(len(shown) - _SHOWN, 'other extension')}"] if more else [])
    )


def _identity(path: Path, status: os.stat_result) -> tuple[int, int] | str:
    """Equal for two paths of one file or folder. Some network drives give no inode numbers."""
    return (status.st_dev, status.st_ino) if status.st_ino else os.path.realpath(path)


def _not_opened(what: str, error: Exception) -> str:
    return f"{what} cannot be opened: {getattr(error, 'strerror', None) or error}"
