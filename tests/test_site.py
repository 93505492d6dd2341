"""The site of the documentation: built strictly, links followed, nothing fetched from elsewhere, nothing missing."""

import re
import sys
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag

import pytest
import yaml
from pydantic import ValidationError

from cxrflow.params import Params
from cxrflow.params_file import DEFAULTS

ROOT = Path(__file__).parents[1]
VALUES = yaml.safe_load(DEFAULTS.read_text(encoding="utf-8"))
#: Attributes by which a page has a browser fetch something. A link that a reader may follow is none of them.
_FETCHED = {("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("link", "href")}
#: Links of the head that name a page and fetch nothing.
_NAMES = {"canonical", "next", "prev", "alternate"}


@pytest.fixture(scope="module", autouse=True)
def _importable() -> Iterator[None]:
    """The package ``website`` is beside the tests, not installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        yield
        for name in [name for name in sys.modules if name.partition(".")[0] == "website"]:
            del sys.modules[name]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from website.build import build

    return build(tmp_path_factory.mktemp("site"))


class Page(HTMLParser):
    """What a page links to, what it fetches, and the anchors that it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        for name in ("href", "src"):
            if name in found:
                self.links.append(found[name])
                if (tag, name) in _FETCHED and found.get("rel", "") not in _NAMES:
                    self.fetched.append(found[name])


def pages(folder: Path) -> dict[Path, Page]:
    return {path: Page(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.html"))}


def broken(folder: Path) -> list[tuple[str, str]]:
    """The links of the pages in a folder that lead to no file in it, or to no anchor of a page."""
    found, missing = pages(folder), []
    for path, page in found.items():
        for link in page.links:
            if re.match(r"[a-z]+:|//", link) or path.name == "404.html":  # the latter's are absolute
                continue
            name, anchor = urldefrag(unquote(link))
            there = (path.parent / name).resolve() if name else path
            there = there / "index.html" if there.is_dir() else there
            known = there in found and (not anchor or anchor in found[there].anchors)
            if not (known if there.suffix == ".html" else there.is_file()):
                missing.append((path.relative_to(folder).as_posix(), link))
    return missing


def elsewhere(folder: Path) -> list[str]:
    """What pages and style sheets in a folder have a browser fetch from another place."""
    asked = [link for page in pages(folder).values() for link in page.fetched]
    for sheet in folder.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        asked += re.findall(r"url\([\"']?([^\"')]+)", text) + re.findall(r"@import [\"']([^\"']+)", text)
    return [link for link in asked if re.match(r"(?!data:)[a-z]+:|//", link)]


def test_every_link_of_the_site_leads_somewhere(site: Path) -> None:
    assert len(pages(site)) > 40
    assert broken(site) == []


def test_a_broken_link_of_a_site_is_found(tmp_path: Path) -> None:
    (tmp_path / "two.html").write_text('<h1 id="here">Two</h1>')
    good = '<a href="two.html#here">1</a><a href="#top">2</a><a id="top" href="https://nowhere.example/">3</a>'
    bad = '<a href="two.html#gone">4</a><a href="three.html">5</a><img src="gone.png"><a href="#nowhere">6</a>'
    (tmp_path / "one.html").write_text(good + bad)
    assert [link for _, link in broken(tmp_path)] == ["two.html#gone", "three.html", "gone.png", "#nowhere"]


def test_nothing_is_fetched_from_elsewhere(site: Path, tmp_path: Path) -> None:
    assert elsewhere(site) == []
    asks = '<script src="https://a.example/x.js"></script><link rel="stylesheet" href="//b.example/x.css">'
    (tmp_path / "x.html").write_text(f'{asks}<img src="x.png"><a href="https://c.example/">a link to follow</a>')
    (tmp_path / "x.css").write_text("@import 'https://d.example/y.css'; a { background: url(https://e.example/z.png) }")
    assert [re.sub(r".*//(\w).*", r"\1", link) for link in elsewhere(tmp_path)] == ["a", "b", "e", "d"]


def test_the_navigation_has_every_page_and_the_reference(site: Path) -> None:
    listed = yaml.safe_load((site.parent / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    names = [name for section in listed for each in section.values() for page in each for name in page.values()]
    docs = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    roots = {"index.md", "contents.md", "changelog.md", "contributing.md", "security.md"}
    assert docs | roots | {"parameters.md", "commands.md", "interface.md"} == set(names)
    assert max(Counter(names).values()) == 1


def leaves(values: Any, above: str = "") -> Iterator[str]:
    """The paths of the keys of a model's values that are no sections, from the model itself."""
    for name in type(values).model_fields:
        value = getattr(values, name)
        yield from leaves(value, f"{above}{name}.") if hasattr(type(value), "model_fields") else [f"{above}{name}"]


def test_every_parameter_stands_once_with_its_default_and_what_it_means(site: Path) -> None:
    from website.parameters import parameters

    listed = parameters()
    assert [each.path for each in listed] == list(leaves(Params.model_validate(VALUES)))
    assert [each.path for each in listed if not each.meaning] == []
    for each in listed:
        value = VALUES
        for key in each.path.split("."):
            value = value[key]
        assert yaml.safe_load(each.default) == value, each.path
    page = (site / "parameters.html").read_text(encoding="utf-8")
    assert page.count("<tr>") == len(listed) + page.count("<thead>")


def test_the_ranges_are_those_that_are_enforced(site: Path) -> None:
    """At each end that the page gives, a value passes or not, as it says."""
    from website.parameters import parameters

    tried = 0
    for each in parameters():
        for word, number in re.findall(r"\b(from|to|above|below|at most) ([\d,.e-]+)", each.kind):
            end = float(number.replace(",", "")) if re.search("[.e]", number) else int(number.replace(",", ""))
            beyond = {"from": end - 1, "to": end + 1, "above": end, "below": end}
            outside = beyond.get(word, [{}] * 21)
            tried += 1
            assert _names_the_key(each.path, outside), f"{each.path}: {outside} passes"
            if word in ("from", "to"):
                assert not _names_the_key(each.path, end), f"{each.path}: {end} does not pass"
    assert tried > 80


def _names_the_key(path: str, value: Any) -> bool:
    """Whether the models refuse a value of one key, beside the defaults, for being out of range."""
    values = deepcopy(VALUES)
    *sections, key = path.split(".")
    there = values
    for name in sections:
        there = there[name]
    there[key] = {next(iter(values["task"]["classes"])): value} if isinstance(there[key], dict) else value
    try:
        Params.model_validate(values)
    except ValidationError as error:
        return any(
            ".".join(map(str, found["loc"])).startswith(path) and found["type"] != "value_error"
            for found in error.errors()
        )
    return False


def test_every_command_stands_with_its_options_and_examples(site: Path) -> None:
    import typer

    from cxrflow.cli import app

    page = (site / "commands.html").read_text(encoding="utf-8")
    text = re.sub(r"<[^>]+>", "", page)
    group: Any = typer.main.get_command(app)
    for name, command in group.commands.items():
        assert command.hidden or f'id="cxrflow-{name}"' in page
        for parameter in command.params if not command.hidden else []:
            assert parameter.opts[0] in text, f"{name}: {parameter.opts[0]}"


def test_every_picture_of_the_gallery_stands_below_its_command() -> None:
    parts = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8").split("\n\n")
    shown = [at for at, part in enumerate(parts) if part.startswith("![")]
    assert len(shown) > 8
    for at in shown:
        above = next(part for part in reversed(parts[:at]) if not part.startswith("!["))
        assert re.match(r"`(cxrflow|dvc|python benchmarks/)", above), parts[at]


def test_docstrings_become_lists(site: Path) -> None:
    from website.described import as_markdown

    given = "Reads it.\n\npath  where it is,\n      a file\na, b  two of them\nRaises an error.\n"
    said = "Reads it.\n\n\n- `path`: where it is,\n  a file\n- `a`, `b`: two of them\n\nRaises an error."
    assert as_markdown(given) == said
    page = (site / "interface.html").read_text(encoding="utf-8")
    assert re.search(r"<li>\s*<p><code>features</code>: cache|<li><code>features</code>: cache", page)


def test_lists_nest_by_two_spaces_and_files_that_pages_link_to_are_shown(site: Path) -> None:
    nested = (site / "add-a-source.html").read_text(encoding="utf-8")
    assert re.search(r"<ol>\s*<li>(?:(?!</ol>).)*<ul>\s*<li>One <code>Record</code>", nested, re.S)
    assert "ExecStart" in (site / "files/deploy.html").read_text(encoding="utf-8")
