"""Images found by their name, for tables that give it without folder, extension, or as on another machine."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from cxrflow.errors import LeftOut
from cxrflow.folders import NO_EXTENSION, Search, extension, is_of_an_image
from cxrflow.sources.files import compared
from cxrflow.text import name_text

Parts = tuple[str, ...]


class ByName:
    """The images of a folder by name. The folder is read when a path is first looked for."""

    def __init__(self, folder: Path, follow_links: bool = False) -> None:
        self._folder, self._follow_links = folder, follow_links
        self._dropped: Parts | None = None

    def find(self, listed: str, patient: str) -> str | None:
        """The path, relative to the folder, of the one image that a row lists; None if there is none.

        An image fits if its path, compared from its end and without the extension of an image, is the listed one: the
        listed path may lack the first folders, or begin with folders of another machine, the same ones in all rows.
        Of several that fit, those count that lie below a folder with the name of the patient, and of several in one
        folder the one with the extension as listed. Raises LeftOut if several are left.
        """
        if not self._images:
            return None
        parts = tuple(part for part in listed.replace("\\", "/").split("/") if part not in ("", "."))
        if not parts or ".." in parts or not (alike := self.named(parts[-1])):
            return None
        wanted = _compared(parts)
        fits = [path for path in alike if self._fit(wanted, _compared(Path(path).parts))]
        if len(fits) > 1 and patient:
            fits = [path for path in fits if compared(patient) in map(compared, Path(path).parts[:-1])] or fits
        if len({Path(path).parent for path in fits}) == 1:
            fits = [path for path in fits if compared(Path(path).name) == compared(parts[-1])] or fits
        if len(fits) > 1:
            names = ", ".join(map(name_text, fits[:3]))
            raise LeftOut(f"file is not certain: {len(fits):,} have this name ({names}{', ...' * (len(fits) > 3)})")
        if not fits:
            return None
        self._dropped = self._dropped or wanted[: len(wanted) - len(Path(fits[0]).parts)] or None
        return fits[0]

    def named(self, name: str) -> list[str]:
        """The paths of the images with this name, whatever their extension."""
        return self._images.get(_stem(name), [])

    def paths(self) -> Iterator[str]:
        """The paths of all images."""
        for paths in self._images.values():
            yield from paths

    def _fit(self, wanted: Parts, path: Parts) -> bool:
        if len(wanted) <= len(path):
            return path[len(path) - len(wanted) :] == wanted
        dropped = wanted[: len(wanted) - len(path)]
        return wanted[len(dropped) :] == path and self._dropped in (None, dropped)

    @cached_property
    def _images(self) -> dict[str, list[str]]:
        images: dict[str, list[str]] = {}
        start = len(str(self._folder)) + 1
        for path, left_out, _ in Search(self._follow_links).images([self._folder]):
            if left_out is None:
                images.setdefault(_stem(path.name), []).append(str(path)[start:])
        return images


def _compared(parts: Parts) -> Parts:
    return (*map(compared, parts[:-1]), _stem(parts[-1]))


def _stem(name: str) -> str:
    """A file name as it is compared, without the extension of an image."""
    kind = extension(name)
    return compared(name[: -len(kind)] if kind != NO_EXTENSION and is_of_an_image(kind) else name)
