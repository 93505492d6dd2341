"""Docstrings of this project as Markdown, for mkdocstrings: their aligned lines ``name  meaning`` become a list."""

import re
from collections.abc import Iterator
from typing import Any

import griffe

_ITEM = re.compile(r"([\w*][\w*, ]*?) {2,}(\S.*)")


def as_markdown(docstring: str) -> str:
    """A docstring in which a line of a name, two spaces or more, and its meaning is an item of a list; the indented
    lines after it belong to it."""
    return "\n".join(_lines(docstring)).strip()


def _lines(docstring: str) -> Iterator[str]:
    inside = False
    for line in docstring.splitlines():
        if found := _ITEM.fullmatch(line):
            if not inside:
                yield ""
            inside = True
            names = ", ".join(f"`{name}`" for name in re.split(r", *", found[1]))
            yield f"- {names}: {found[2]}"
        elif inside and line.startswith("  "):
            yield f"  {line.strip()}"
        else:
            if inside:
                yield ""
            inside = False
            yield line


class Described(griffe.Extension):
    """Applies ``as_markdown`` to every docstring that griffe collects."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called for each module, class, function and attribute once its members are known."""
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)
