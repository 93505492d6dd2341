"""YAML that is hostile or says something else than it seems: one sentence with file and line, at once."""

import time
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cxrflow.errors import CxrflowError
from cxrflow.yaml_files import read_yaml

BOMB = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))
PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
VALUES = st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner), max_leaves=20)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "line 2: .a0 is an alias"),
        ("a: &a [*a]\n", "line 1: .a is an alias"),
        ("a: " + "[" * 20_000, "line 1: nested more than 20 deep"),
        ("a: " + "[" * 10 + "\n" + "{b: " * 20_000, "line 2: nested more than 20 deep"),
        ("- " * 20_000, "line 1: nested more than 20 deep"),
        ("a: 1\nb: 2\na: 3\n", "line 3: the key a is there twice"),
        ("a: {<<: {b: 1}}\n", "<< is a merge key"),
        ("no: [no finding]\n", "line 1: the key no is not read as text; put it in quotes"),
        ("2020-01-01: x\n", "the key 2020-01-01 is not read as text"),
        ("1: x\n", "the key 1 is not read as text"),
        ("? [a]\n: x\n", "the key a list or mapping is not read as text"),
        ("a: !!python/object/apply:os.system [true]\n", "is a tag; remove it"),
        ("a: !!int x\n", "is a tag; remove it"),
        ("a: 2020-13-45\n", "line 1: 2020-13-45 is no value; put it in quotes"),
        (f"a: {'9' * 5000}\n", "is no value; put it in quotes"),
        ("a: 0b_\n", "is no value; put it in quotes"),
        ("a:\n\tb: 1\n", "not valid YAML: line 2: .*a tab; indent by spaces"),
        ("a: \0\n", "not valid YAML"),
        ("a: 1\n---\na: 2\n", "not valid YAML: .*single document"),
        ("[a, b]\n", "expected sections of keys, found list"),
        ("", "expected sections of keys, found NoneType"),
        ("x" * (2**20 + 1), "larger than 1 MB"),
    ],
)  # fmt: skip
def test_what_is_refused_is_one_sentence_at_once(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "hostile.yaml"
    path.write_text(text)
    started = time.monotonic()
    with pytest.raises(CxrflowError, match=rf"hostile\.yaml: .*{said}") as stopped:
        read_yaml(path)
    assert time.monotonic() - started < 2
    assert "\n" not in str(stopped.value)
    assert len(str(stopped.value)) < 500 + len(str(path))


def test_only_utf_8_text_is_read_with_or_without_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: é\n", encoding="utf-8-sig")
    assert read_yaml(path) == {"a": "é"}
    for encoding in ("utf-16", "latin-1"):
        path.write_text("a: é\n", encoding=encoding)
        with pytest.raises(CxrflowError, match="save it as UTF-8"):
            read_yaml(path)


def test_a_folder_and_nothing_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(CxrflowError, match="not a file"):
        read_yaml(tmp_path)
    with pytest.raises(CxrflowError, match=r"none\.yaml: no such parameter file"):
        read_yaml(tmp_path / "none.yaml", "parameter file")


@given(st.dictionaries(st.text(max_size=5), VALUES))
def test_plain_values_are_read_as_written(tmp_path_factory: pytest.TempPathFactory, values: dict) -> None:
    class Written(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:
            return True

    path = tmp_path_factory.getbasetemp() / "plain.yaml"
    path.write_text(yaml.dump(values, Dumper=Written, allow_unicode=False))
    assert read_yaml(path) == values


@given(st.binary(max_size=300) | st.text("[]{}:-,&*!|>'\"#%@`?\t\n ~0e.<=abn", max_size=60).map(str.encode))
def test_any_bytes_give_values_or_a_sentence(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content)
    with suppress(CxrflowError):
        assert isinstance(read_yaml(path), dict)
