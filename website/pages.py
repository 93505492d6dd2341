"""The pages of the site: the Markdown files of the repository, with links that hold in the site too.

On a code host a page links to what lies in the repository: ``../README.md``, ``../deploy/cxrflow-serve.service``. In
the site a Markdown file has its page, a file that a reference page is made from has that page (reference.py), and any
other file or folder that a page links to gets one that shows it.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from website.reference import MADE

ROOT = Path(__file__).resolve().parents[1]
#: Pages outside of docs/, and their names in the site.
_NAMED = {
    "README.md": "index.md",
    "docs/README.md": "contents.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
}
_FENCE = re.compile(r"^( *)(```|~~~).*?^\1\2\s*$", re.M | re.S)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_ROW = re.compile(r"^\| \[([^\]]+)\]\(([^)#\s]+)\) \|", re.M)


def markdown() -> dict[str, str]:
    """The Markdown files that are pages, by their path in the repository, each with its name in the site."""
    docs = {f"docs/{path.name}": path.name for path in sorted((ROOT / "docs").glob("*.md"))}
    return docs | {name: site for name, site in _NAMED.items() if (ROOT / name).exists()}


def page_of(path: str) -> str:
    """The name in the site of a file or folder of the repository."""
    if path in MADE:
        return MADE[path][0]
    if path.startswith("docs/pictures/"):
        return path.removeprefix("docs/")
    return markdown().get(path) or f"files/{path}.md"


def prepared() -> dict[str, bytes]:
    """Every file of the site by its name: pages, pictures, reference pages, and pages that show a linked file."""
    shown: set[str] = set()
    files = {site: _relinked(path, site, shown).encode() for path, site in markdown().items()}
    files |= {name: make().encode() for name, make in MADE.values()}
    files |= {f"pictures/{path.name}": path.read_bytes() for path in (ROOT / "docs/pictures").iterdir()}
    files |= {page_of(path): _showing(path).encode() for path in shown}
    return files | {name: (ROOT / "website" / name).read_bytes() for name in ("style.css", "iframe-worker.js")}


def navigation() -> list[dict[str, Any]]:
    """The sections of docs/README.md, each with the pages that its table lists, in their order."""
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    sections: list[dict[str, Any]] = [{"Home": [{"cxrflow": "index.md"}, {"All pages": "contents.md"}]}]
    for part in re.split(r"^## ", index, flags=re.M)[1:]:
        title = part.splitlines()[0]
        if rows := _ROW.findall(part):
            listed = [{text.replace("`", ""): page_of(_target("docs/README.md", link))} for text, link in rows]
            sections.append({title: listed})
    return sections


def _relinked(path: str, site: str, shown: set[str]) -> str:
    """The text of a page, its links changed to those of the site; what it links to that is no page is put into
    ``shown``."""

    def change(found: re.Match[str]) -> str:
        link, _, anchor = found[1].partition("#")
        if not link or re.match(r"[a-z]+:", found[1]):
            return found[0]
        target = _target(path, link)
        if not (ROOT / target).exists():
            return found[0]  # for Zensical to name, with page and line
        name = page_of(target)
        if name.startswith("files/"):
            shown.add(target)
        there = os.path.relpath(name, PurePosixPath(site).parent)
        return f"]({there}{'#' + anchor if anchor else ''})"

    return outside_fences((ROOT / path).read_text(encoding="utf-8"), lambda text: _LINK.sub(change, text))


def outside_fences(text: str, change: Callable[[str], str]) -> str:
    """A Markdown text with ``change`` applied to all but its fenced blocks."""
    parts, at = [], 0
    for fence in _FENCE.finditer(text):
        parts += [change(text[at : fence.start()]), fence[0]]
        at = fence.end()
    return "".join([*parts, change(text[at:])])


def _target(path: str, link: str) -> str:
    """The path in the repository that a link of a page leads to."""
    return os.path.normpath(PurePosixPath(path).parent / link)


def _showing(path: str) -> str:
    """A page that shows a file, or all files of a folder that are text."""
    there = ROOT / path
    files = sorted(there.rglob("*.*")) if there.is_dir() else [there]
    kinds = {".py": "python", ".yaml": "yaml", ".toml": "toml", ".service": "ini", ".sh": "sh", ".csv": "text"}
    text = f"# `{path}`\n"
    for file in files:
        if file.is_dir() or b"\0" in file.read_bytes():
            continue
        name = file.relative_to(ROOT).as_posix()
        heading = f"\n## `{name}`\n" if there.is_dir() else ""
        text += f"{heading}\n````{kinds.get(file.suffix, 'text')}\n{file.read_text(encoding='utf-8').rstrip()}\n````\n"
    return text
