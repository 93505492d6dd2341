"""YAML that people write, read with its size, depth and repetitions bounded, and without surprises.

YAML 1.1 reads ``no`` as false and lets a file of one kilobyte stand for thousands of millions of values.
"""

from pathlib import Path
from typing import Any

import yaml

from cxrflow.errors import CxrflowError, one_line

_MOST_BYTES, _DEEPEST = 2**20, 20
# The parser in C accepts the same, twenty times faster.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: Path, purpose: str = "file") -> dict[str, Any]:
    """The mapping in a YAML file; plain values, mappings with text keys, and lists.

    purpose  what the file is for, in the error about an absent one
    Raises CxrflowError with file and line: absent, no UTF-8 text, above 1 MB, not YAML, nested more than 20 deep, an
    alias, a merge key or a tag, a key twice, or a key that YAML does not read as text (``no``, ``1``, a date).
    """
    if not path.is_file():
        what = "not a file" if path.exists() else f"no such {purpose}"
        raise CxrflowError(f"{path}: {what}; name another, or run in the folder of a study.")
    with path.open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise CxrflowError(f"{path}: larger than 1 MB, so it is no {purpose}; name another.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise CxrflowError(f"{path}: not UTF-8 text; save it as UTF-8.") from None
    try:
        _check_events(text)
        values = _value(yaml.compose(text, _Loader))
    except yaml.YAMLError as error:
        raise CxrflowError(f"{path}: not valid YAML: {_problem(error, text)}.") from None
    except _Refused as reason:
        raise CxrflowError(f"{path}: {reason}.") from None
    if not isinstance(values, dict):
        raise CxrflowError(f"{path}: expected sections of keys, found {type(values).__name__}.")
    return values


class _Refused(Exception):
    """What is wrong, with its line and what to do."""

    def __init__(self, mark: Any, said: str) -> None:
        super().__init__(f"line {mark.line + 1}: {said}")


def _check_events(text: str) -> None:
    """Check depth, aliases and tags on the stream of events, before anything nested is built."""
    depth = 0
    for event in yaml.parse(text, _Loader):
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            depth += 1
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            depth -= 1
        if depth > _DEEPEST:
            raise _Refused(event.start_mark, f"nested more than {_DEEPEST} deep; remove brackets or indentation")
        if isinstance(event, yaml.AliasEvent):
            raise _Refused(event.start_mark, f"*{_short(event.anchor)} is an alias; write its value out, or in quotes")
        if tag := getattr(event, "tag", None):
            raise _Refused(event.start_mark, f"{_short(tag)} is a tag; remove it")


def _value(node: Any) -> Any:
    """The value of a node; numbers, booleans and dates are resolved as PyYAML's safe loader does."""
    if node is None:
        return None
    if isinstance(node, yaml.SequenceNode):
        return [_value(item) for item in node.value]
    if not isinstance(node, yaml.MappingNode):
        try:
            return _Scalars.value(node)
        except (ValueError, OverflowError):  # 2021-13-45, or a number of thousands of digits
            raise _Refused(node.start_mark, f"{_short(node.value)} is no value; put it in quotes") from None
    values: dict[str, Any] = {}
    for key_node, value_node in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            raise _Refused(key_node.start_mark, "<< is a merge key; write the keys out")
        key = _value(key_node)
        if not isinstance(key, str):
            said = _short(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "a list or mapping"
            raise _Refused(key_node.start_mark, f"the key {said} is not read as text; put it in quotes")
        if key in values:
            raise _Refused(key_node.start_mark, f"the key {_short(key)} is there twice; keep one")
        values[key] = _value(value_node)
    return values


class _Scalars(yaml.constructor.SafeConstructor):
    @classmethod
    def value(cls, node: Any) -> Any:
        return cls().construct_object(node)


def _problem(error: yaml.YAMLError, text: str) -> str:
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if mark is None or problem is None:
        return one_line(str(error))
    said = f"line {mark.line + 1}: {' '.join(filter(None, (getattr(error, 'context', None), problem)))}"
    return f"{said}, a tab; indent by spaces" if text[mark.index : mark.index + 1] == "\t" else said


def _short(text: object) -> str:
    return one_line(str(text), 40)
