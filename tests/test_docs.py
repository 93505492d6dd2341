"""Links and anchors of the documentation lead somewhere, the index names every page, and quoted messages exist."""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from urllib.parse import unquote

import pytest
from pydantic import BaseModel

from cxrflow import records
from cxrflow.audit.registry import TESTS
from cxrflow.bundle import Bundle, LeftOutScores, Network, OperatingPoint, PredictionSets
from cxrflow.evaluation import ledger
from cxrflow.metadata import remembered

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
_FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.M | re.S)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_ELSEWHERE = ("http://", "https://", "mailto:")


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings as GitHub makes them: lower case, without punctuation, spaces as hyphens; a
    heading that is there again gets a number."""
    made: list[str] = []
    for heading in re.findall(r"^#{1,6} +(.+?)\s*$", _FENCE.sub("", text), re.M):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").replace("*", "").lower()
        made.append(re.sub(r"[^\w\- ]", "", words).replace(" ", "-"))
    return {name if made[:at].count(name) == 0 else f"{name}-{made[:at].count(name)}" for at, name in enumerate(made)}


def broken(page: Path) -> list[str]:
    """The links of a page that lead to no file, or to no heading of a page."""
    links = _LINK.findall(_FENCE.sub("", page.read_text(encoding="utf-8")))
    return [link for link in links if not link.startswith(_ELSEWHERE) and not _leads(page, link)]


def _leads(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    there = page.parent / unquote(path) if path else page
    if not there.exists():
        return False
    return not anchor or there.suffix != ".md" or anchor in anchors(there.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name if page.parent == ROOT else f"docs/{page.name}")
def test_every_link_leads_somewhere(page: Path) -> None:
    assert broken(page) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "two.md").write_text(
        "# Two `b`, and 3\n\n## Same\n\n## Same\n\n```\n# no heading, [no](link.md)\n```\n"
    )
    good = "[a](two.md) [b](two.md#two-b-and-3) [c](#one) [d](https://nowhere.example/x) [e](two.md#same-1)"
    page = tmp_path / "one.md"
    page.write_text(f"# One\n\n{good}\n")
    assert broken(page) == []
    bad = ["three.md", "two.md#three", "#two", "two.md#same-2", "two.md#none-no"]
    page.write_text(f"# One\n\n{good} {' '.join(f'[x]({link})' for link in bad)} ![picture](absent.png)\n")
    assert broken(page) == [*bad, "absent.png"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_table_has_its_header(page: Path) -> None:
    """A blank line ends a table, and the rows after it are shown as text."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    tables = [part for part in re.split(r"\n\s*\n", text) if part.startswith("|")]
    assert [table[:80] for table in tables if not re.match(r"\|.*\n\|[-:| ]+(\n|$)", table)] == []


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_every_page_is_in_the_index_and_says_for_whom_it_is(page: Path) -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    assert page.name == "README.md" or f"]({page.name})" in index
    first = page.read_text(encoding="utf-8").splitlines()[2]
    assert re.fullmatch(r"\*For .+\*", first), f"{page.name}: its third line does not say for whom it is"


#: Between these, a quoted message is as in the code: names that the code inserts, and ends of sentences.
_INSERTED = re.compile(r"…|[:;,.()]|columns\.yaml|trained_on\.csv|bundle\.json|sha256|parameter file")


def quoted(page: str) -> list[tuple[str, ...]]:
    """The messages quoted in the first column of the tables, each as its parts in order, without what differs."""
    messages = [
        message for row in re.findall(r"^\| (`.*?) \| ", page, re.M) for message in re.findall(r"`([^`]+)`", row)
    ]
    parts = [tuple(part.strip(" '") for part in _INSERTED.split(message)) for message in messages]
    return [kept for each in parts if (kept := tuple(part for part in each if len(part) > 3))]


def assigned(tree: ast.AST) -> dict[str, str]:
    """The texts of each name that some code assigns."""
    return {
        ast.unparse(node.targets[0]): "…".join(filter(None, map(_constant, ast.walk(node.value))))
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
    }


def said(code: str, named: Mapping[str, str] = MappingProxyType({})) -> Iterator[str]:
    """Each text of some code, docstrings left out. An f-string is one text, with … for what it inserts, or with the
    texts of a name that it inserts and that the code assigns, or imports (``named``)."""
    tree = ast.parse(code)
    left_out = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
    texts = {**named, **assigned(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            left_out |= {id(part) for part in node.values}
            yield "".join(
                texts.get(ast.unparse(part.value), "…") if isinstance(part, ast.FormattedValue) else _constant(part)
                for part in node.values
            )
        elif id(node) not in left_out:
            yield _constant(node)


def _constant(node: ast.AST) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def unsaid(messages: list[tuple[str, ...]], texts: list[str]) -> list[tuple[str, ...]]:
    """The messages whose parts are in no text one after the other."""
    patterns = {message: re.compile(".*?".join(map(re.escape, message)), re.S) for message in messages}
    return [message for message, pattern in patterns.items() if not any(map(pattern.search, texts))]


def test_messages_are_quoted_as_the_program_says_them() -> None:
    rows = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8").splitlines()
    messages = quoted("\n".join(row for row in rows if "` (DVC)" not in row))
    assert len(messages) > 40
    code = [file.read_text(encoding="utf-8") for file in sorted((ROOT / "src").rglob("*.py"))]
    named = {name: text for each in code for name, text in assigned(ast.parse(each)).items() if name.isupper()}
    texts = [text for each in code for text in said(each, named)]
    assert unsaid(messages, [*texts, *(ROOT / "Makefile").read_text(encoding="utf-8").splitlines()]) == []


def test_a_message_that_is_reordered_mixed_or_of_a_docstring_is_found() -> None:
    code = '''def f(): """the disk is gone"""; return f"{x}: the file is damaged ({y}); restore it.", "name another"'''
    good, *bad = [
        "| `…: the file is damaged (…); restore it.` | a |",
        "| `restore it (…); the file is damaged` | a |",
        "| `the file is damaged; name another` | a |",
        "| `the disk is gone` | a |",
    ]
    assert unsaid(quoted(good), list(said(code))) == []
    assert [unsaid(quoted(row), list(said(code))) for row in bad] == [quoted(row) for row in bad]


def test_every_column_and_key_that_the_code_lists_is_documented() -> None:
    columns = [*records.COLUMNS, *remembered.COLUMNS, *ledger.COLUMNS, *TESTS]
    models: list[type[BaseModel]] = [Bundle, Network, OperatingPoint, PredictionSets, LeftOutScores]
    keys = [name for model in models for name in model.model_fields]
    page = (ROOT / "docs" / "outputs.md").read_text(encoding="utf-8")
    assert [name for name in dict.fromkeys([*columns, *keys]) if f"`{name}`" not in page] == []
