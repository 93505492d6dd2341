"""The page of every parameter: type and range from the models (params.py), default and meaning from their file."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from cxrflow.params import Params
from cxrflow.params_file import DEFAULTS

_KEY = re.compile(r"^( *)([\w-]+):(?: +([^#]*?))? *(?:# ?(.*))?$")


class Parameter(NamedTuple):
    """A parameter: its path in the file, type with range in words, default as YAML, and meaning."""

    path: str
    kind: str
    default: str
    meaning: str


def parameters_page() -> str:
    """Every parameter once, in the order of the file, a table for each of its sections."""
    meanings, schema = comments(DEFAULTS), Params.model_json_schema()
    parts = [
        "# Every parameter",
        "*For people who write a `params.yaml`: what each key means, what it may be, and what it is unless set.*",
        "A study's `params.yaml` sets what differs from these defaults and nothing else. An unknown key, a value out "
        "of range or a contradiction stops the run before any work, with the name of the key. In a table, `a.b` is the "
        "key `b` under `a`.",
    ]
    alone = [each for each in parameters() if "." not in each.path]
    parts += ["## The study as a whole", _table(alone, "")]
    for name, section in schema["properties"].items():
        if inside := [each for each in parameters() if each.path.startswith(f"{name}.")]:
            about = _resolved(section, schema).get("description", "").split("\n\n")[0]
            parts += [f"## {name}", _linked(f"{about} {_sentence(meanings.get(name, ''))}".strip())]
            parts += [_table(inside, f"{name}.")]
    return "\n\n".join(parts) + "\n"


def parameters() -> list[Parameter]:
    """Every parameter that the models know, in the order of the models."""
    schema = Params.model_json_schema()
    values, meanings = yaml.safe_load(DEFAULTS.read_text(encoding="utf-8")), comments(DEFAULTS)

    def walk(model: dict[str, Any], above: str, there: Any) -> Iterator[Parameter]:
        for name, part in model["properties"].items():
            path, each = f"{above}{name}", _resolved(part, schema)
            value = there.get(name, part.get("default")) if isinstance(there, dict) else part.get("default")
            if "properties" in each:
                yield from walk(each, f"{path}.", value)
            else:
                default = yaml.safe_dump(
                    value, default_flow_style=True, width=1000, sort_keys=False, allow_unicode=True
                )
                default = default.removesuffix("...\n").strip()
                yield Parameter(path, _kind(each, schema), default, meanings.get(path, ""))

    return list(walk(schema, "", values))


def comments(file: Path) -> dict[str, str]:
    """The comment of each key of a YAML file by the path of the key: the lines above it, or those beside and below it
    that begin in one column."""
    found: dict[str, str] = {}
    above: list[str] = []
    open_keys: list[tuple[int, str]] = []
    path, column = "", -1
    for line in file.read_text(encoding="utf-8").splitlines():
        text = line.strip()
        if text.startswith("#"):
            words = text.removeprefix("#").strip()
            if line.index("#") == column:
                found[path] += f" {words}"
            else:
                above, column = [*above, words], -1
        elif key := _KEY.match(line):
            indent = len(key[1])
            open_keys = [*((at, name) for at, name in open_keys if at < indent), (indent, key[2])]
            path = ".".join(name for _, name in open_keys)
            column = line.index("#", key.start(4) - 2) if key[4] is not None else -1
            if words := " ".join([*above, *filter(None, [key[4]])]):
                found[path] = words
            above = []
        else:
            above, column = [], -1
    return found


def _resolved(part: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """A part of the schema with its reference followed."""
    while "$ref" in part:
        part = schema["$defs"][part["$ref"].rpartition("/")[2]]
    return part


def _kind(part: dict[str, Any], schema: dict[str, Any]) -> str:
    """Type and range of a part of the schema, in words."""
    part = _resolved(part, schema)
    if "anyOf" in part:
        return " or ".join(dict.fromkeys(_kind(each, schema) for each in part["anyOf"]))
    if "const" in part or "enum" in part:
        return "one of " + ", ".join(f"`{each}`" for each in part.get("enum", [part.get("const")]))
    if part.get("type") == "array":
        return " ".join(
            filter(None, [f"list of {_kind(part['items'], schema)}", _limit(", at most", part.get("maxItems"))])
        )
    if part.get("type") == "object":
        values = part.get("additionalProperties")
        return f"mapping to {_kind(values, schema)}" if isinstance(values, dict) and values else "mapping"
    names = {"integer": "whole number", "string": "text", "boolean": "`true` or `false`", "null": "`null`"}
    limits = [
        _limit("from", part.get("ge", part.get("minimum"))),
        _limit("above", part.get("gt", part.get("exclusiveMinimum"))),
        _limit("to", part.get("le", part.get("maximum"))),
        _limit("below", part.get("lt", part.get("exclusiveMaximum"))),
    ]
    return " ".join([names.get(part["type"], part["type"]), *filter(None, limits)])


def _limit(word: str, value: float | None) -> str:
    return "" if value is None else f"{word} {value:,}" if isinstance(value, int) else f"{word} {value:.15g}"


def _table(found: list[Parameter], above: str) -> str:
    rows = ["| key | meaning | value | default |", "|---|---|---|---|"]
    for each in found:
        cells = [f"`{each.path.removeprefix(above)}`", _linked(each.meaning), each.kind, f"`{each.default}`"]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def _linked(comment: str) -> str:
    """A comment as Markdown: a page that it names is a link, and what would be taken for HTML or emphasis is not."""
    plain = re.sub(r"([<*_])(?=[^`]*(?:`[^`]*`[^`]*)*$)", r"\\\1", comment.replace("``", "`"))
    return re.sub(r"docs/([a-z-]+)\.md", r"[\1](\1.md)", plain)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:].rstrip('.')}." if text else ""
