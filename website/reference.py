"""Reference pages that are made from the code: every parameter, every command, the Python interface."""

import inspect
from collections.abc import Callable, Iterator

import typer
from typer.cli import get_docs_for_click
from typer.core import TyperGroup

from cxrflow import testing
from website.parameters import parameters_page

#: What programs may rely on: title of a section, a sentence, and the objects.
INTERFACE: list[tuple[str, str, list[str]]] = [
    (
        "Use a bundle",
        "`from cxrflow import Predictor`; [examples](python.md).",
        ["cxrflow.predictor.Predictor", "cxrflow.result.Result", "cxrflow.result.Look"],
    ),
    (
        "Errors",
        "Both can be imported from `cxrflow`.",
        ["cxrflow.errors.CxrflowError", "cxrflow.errors.LeftOut"],
    ),
    (
        "A source",
        "What a public collection is made of; [how to add one](add-a-source.md).",
        ["cxrflow.sources.collection.Collection", "cxrflow.sources.collection.Options", "cxrflow.records.Record"],
    ),
    (
        "A network",
        "[How to add one](add-a-model.md).",
        ["cxrflow.models.model.Model"],
    ),
    (
        "The contract tests",
        "For [parts of your own](plug-ins.md): each raises AssertionError, with what is broken and what to do.",
        [f"cxrflow.testing.{name}" for name in testing.__all__],
    ),
    (
        "A bundle on disk",
        "What `bundle.json` holds; [the file](outputs.md).",
        ["cxrflow.bundle.Bundle", "cxrflow.bundle.Network", "cxrflow.task.Task"],
    ),
]


def interface_page() -> str:
    """The page that mkdocstrings fills with signatures and docstrings."""
    parts = ["# Python interface", "*For people who write programs with cxrflow, or parts for it.*"]
    for title, sentence, objects in INTERFACE:
        parts += [f"## {title}", sentence, *(f"::: {name}" for name in objects)]
    return "\n\n".join(parts) + "\n"


def commands_page() -> str:
    """The page of every command with its arguments, options and examples, as ``cxrflow COMMAND --help`` says them."""
    return "\n\n".join(_commands()) + "\n"


def _commands() -> Iterator[str]:
    from cxrflow.cli import app

    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    yield "# Every command"
    yield "*For people who look for a command or an option; the same stands in `cxrflow COMMAND --help`.*"
    panels: dict[str, list[str]] = {}
    for name, command in group.commands.items():
        if not command.hidden:
            panels.setdefault(str(getattr(command, "rich_help_panel", "")), []).append(name)
    for panel, names in panels.items():
        yield f"## {panel}"
        for name in names:
            command = group.commands[name]
            with group.make_context("cxrflow", [name]) as parent, typer.Context(command, parent, name) as context:
                text = get_docs_for_click(obj=command, ctx=context, indent=2, name=f"cxrflow {name}")
            if command.epilog:
                heading, *examples = command.epilog.split("\n\n")
                text = text.replace(command.epilog, "**{}**\n\n```sh\n{}\n```".format(heading, "\n".join(examples)))
            yield inspect.cleandoc(text)


#: A path of the repository that pages link to, the name of the page that stands for it in the site, and its maker.
MADE: dict[str, tuple[str, Callable[[], str]]] = {
    "src/cxrflow/overrides/defaults.yaml": ("parameters.md", parameters_page),
    "src/cxrflow/cli": ("commands.md", commands_page),
    "src/cxrflow/__init__.py": ("interface.md", interface_page),
}
