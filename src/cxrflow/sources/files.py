"""The files of a collection's folder: found by what its tables call them, and counted where no row lists them."""

import os
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from cxrflow.errors import LeftOut
from cxrflow.files import below
from cxrflow.folders import NO_EXTENSION, Search, counted, extension
from cxrflow.terminal import console
from cxrflow.text import name_text, number_of


@dataclass
class _Listing:
    """The names in a folder, each with whether a row lists it."""

    names: dict[str, bool]

    @cached_property
    def alike(self) -> dict[str, list[str]]:
        """The names by how they compare."""
        groups: dict[str, list[str]] = {}
        for name in sorted(self.names):
            groups.setdefault(compared(name), []).append(name)
        return groups


@dataclass
class Files:
    """The files of a collection.

    folder        of the collection
    follow_links  whether links may lead out of it
    respelled     number of paths that were found in another spelling, and the first of them: as listed, as found
    """

    folder: Path
    follow_links: bool = False
    respelled: int = 0
    example: tuple[str, str] | None = None
    _by_path: dict[str, _Listing | None] = field(default_factory=dict, repr=False)
    _by_identity: dict[tuple[int, int], _Listing] = field(default_factory=dict, repr=False)

    def find(self, listed: str) -> str:
        """The path, relative to the folder, of the file that a table lists; with slashes, but otherwise as listed, if
        there is no such file.

        Tables come from other systems than files: if there is no file of exactly this path, backslashes count as
        slashes, and one that differs only in capitals, in the Unicode form of accented letters (macOS decomposes them),
        or in letters stored in Latin-1 is taken. Each folder is read once.
        Raises LeftOut if several files fit so.
        """
        folder, _, name = listed.rpartition("/")
        if not name:  # the row names no file
            return listed
        listing = self._listing(folder)
        if listing is not None and name in listing.names:
            listing.names[name] = True
            return listed
        path = [part for part in listed.replace("\\", "/").split("/") if part not in ("", ".")]
        if listed.startswith(("/", "\\")) or ".." in path:
            return listed
        found: list[str] = []
        for part in path:
            listing = self._listing("/".join(found))
            fits = [] if listing is None else [part] if part in listing.names else listing.alike.get(compared(part), [])
            if len(fits) > 1:
                names = ", ".join(name_text(name) for name in fits)
                raise LeftOut(f"file is not certain: several differ only in capitals or accents from it ({names})")
            if not fits:
                return "/".join(path)
            found += fits
        if listing is not None and found:
            listing.names[found[-1]] = True
            self.respelled += 1
            self.example = self.example or (listed, "/".join(found))
        return "/".join(found)

    def holds(self, path: str) -> bool:
        """Whether a file or folder of exactly this path is there."""
        folder, _, name = path.rpartition("/")
        listing = self._listing(folder)
        return listing is not None and name in listing.names

    @cached_property
    def unlisted(self) -> Counter[str]:
        """Images of the folder that ``find`` has not been asked for, by top folder and extension: ``images/*.png``."""
        counts: Counter[str] = Counter()
        for path, left_out, _ in Search(self.follow_links).images([self.folder]):
            folder = str(path.parent)[len(str(self.folder)) + 1 :]
            listing = self._listing(folder)
            if left_out is None and not (listing and listing.names.get(path.name)):
                top, kind = folder.partition("/")[0], extension(path.name)
                place = f"{name_text(top)}/*" if top else "*"
                counts[f"{place} {kind}" if kind == NO_EXTENSION else f"{place}{kind}"] += 1
        return counts

    def _listing(self, folder: str) -> _Listing | None:
        """The names in a folder, None if it cannot be read or lies elsewhere; the same for all paths of one folder."""
        if folder not in self._by_path:
            self._by_path[folder] = self._read(folder)
        return self._by_path[folder]

    def _read(self, folder: str) -> _Listing | None:
        try:
            path = below(self.folder, folder, self.follow_links)
            status = path.stat()
            key = (status.st_dev, status.st_ino) if status.st_ino else (0, len(self._by_path))
            if key not in self._by_identity:
                self._by_identity[key] = _Listing(dict.fromkeys(os.listdir(path), False))
            return self._by_identity[key]
        except (LeftOut, OSError, ValueError):
            return None


def print_files(files: dict[str, Files]) -> None:
    """Print, by folder, how many paths were found in another spelling, and which images no row lists."""
    for folder, known in files.items():
        if known.example is not None:
            listed, found = (name_text(path) for path in known.example)
            paths = number_of(known.respelled, "path")
            console().print(
                f"{folder}: {paths} spelt otherwise than the files, such as {listed} ({found}).",
                markup=False,
            )
        if known.unlisted:
            console().print(f"{folder}: images that no row lists: {counted(known.unlisted)}.", markup=False)


def compared(name: str) -> str:
    """Equal for names that differ only in capitals, in the Unicode form of letters, or in Latin-1 against UTF-8."""
    if not name.isascii():
        if any("\udc80" <= character <= "\udcff" for character in name):
            name = os.fsencode(name).decode("latin-1")
        name = unicodedata.normalize("NFD", name)
    return unicodedata.normalize("NFC", name.casefold())
