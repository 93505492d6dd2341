"""No class of the default task is built into the code: it stands in defaults.yaml, the sources and the vocabulary."""

import ast
import re
from pathlib import Path

import pytest
import yaml

from cxrflow.params_file import DEFAULTS

PROJECT = Path(__file__).parents[1]
PACKAGE = PROJECT / "src" / "cxrflow"
#: Published words are the sources' business, and titles that of where they are published; drawn ones the demo's; the
#: vocabulary holds every finding.
MAY_NAME = ("sources", "fetching/places.py", "synthetic", "findings.py")
#: Names of networks and of a collection, which are no classes.
NO_CLASS = re.compile(r"covid[-_ ]?net|covidx|covid[-_]chestxray", re.IGNORECASE)
TASK = yaml.safe_load(DEFAULTS.read_text())["task"]
CLASSES = {*TASK["classes"], *TASK["names"].values()}


def files(*extensions: str) -> list[Path]:
    found = [path for path in sorted(PACKAGE.rglob("*")) if path.suffix in extensions]
    return [path for path in found if not any(path.is_relative_to(PACKAGE / place) for place in MAY_NAME)]


def docstrings(tree: ast.AST) -> set[int]:
    """The nodes, by id, of strings that stand alone: docstrings."""
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}


@pytest.mark.parametrize("path", files(".py"), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_class_is_named_in_the_code(path: Path) -> None:
    tree = ast.parse(path.read_text())
    texts = docstrings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in texts:
            text = NO_CLASS.sub("", node.value)
            assert text not in CLASSES, f"line {node.lineno}: {node.value!r}"
            assert "covid" not in text.lower(), f"line {node.lineno}: {node.value!r}"
        name = getattr(node, "id", None) or getattr(node, "attr", None) or getattr(node, "arg", None)
        if isinstance(name, str):
            assert name not in ("CLASSES", "NAMES", "PAIRS"), f"line {node.lineno}: {name}"
            assert "covid" not in NO_CLASS.sub("", name).lower(), f"line {node.lineno}: {name}"


@pytest.mark.parametrize("path", files(".html", ".css", ".md"), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_class_is_named_in_what_people_read(path: Path) -> None:
    text = NO_CLASS.sub("", path.read_text())
    for name in CLASSES - {"normal"}:  # an English word, and a keyword of style sheets
        assert not re.search(rf"\b{re.escape(name)}\b", text, re.IGNORECASE), name
    assert "figures.test.normal" not in text


def test_the_check_sees_what_it_looks_for(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text('SCORE = "covid"\n')
    with pytest.raises(AssertionError):
        test_no_class_is_named_in_the_code(bad)
    bad.write_text('"""COVID-19 may be spoken of."""\nMODEL = "covidnet_small"\n')
    test_no_class_is_named_in_the_code(bad)
