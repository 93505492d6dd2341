"""What there is to choose from: parts of all kinds, sources, findings, models."""

from pathlib import Path
from typing import Annotated

import typer

from cxrflow.cli.options import PARAMS, ParamsFile, command
from cxrflow.params_file import load_params

commands = typer.Typer()


@command(commands, "Collections and parts", "cxrflow list", "cxrflow list --json", name="list")
def list_parts(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: a list of objects.")] = False,
    params: ParamsFile = PARAMS,
) -> None:
    """List all sources, networks, image steps, audit tests and outputs, with the package or file they come from."""
    from cxrflow.parts import print_parts

    print_parts(load_params(params) if params.exists() else None, as_json)


@command(commands, "Collections and parts", "cxrflow sources", "cxrflow sources export --write")
def sources(
    folder: Annotated[Path | None, typer.Argument(help="Folder to look into: what would be read, what not.")] = None,
    write: Annotated[bool, typer.Option(help="Write the columns.yaml to start from, where none is.")] = False,
    params: ParamsFile = PARAMS,
) -> None:
    """List the collections that cxrflow reads; with a folder, show what it holds and how it would be read; exit
    status 1 if something cannot be read."""
    from cxrflow.sources import print_sources

    if folder is None:
        print_sources()
        return
    from cxrflow.sources import extra_collections
    from cxrflow.sources.collection import Options
    from cxrflow.sources.look import look
    from cxrflow.sources.words import finding_of

    options = Options()
    if params.exists():
        loaded = load_params(params)
        options = Options(
            finding_named=lambda word: loaded.task.finding_named(word) or finding_of(word),
            follow_links=loaded.sources.follow_links,
            rsna_without_patients=loaded.sources.rsna_without_patients,
            columns=loaded.sources.columns,
            extra=extra_collections(loaded.sources.extra),
        )
    if not look(folder, options, write):
        raise typer.Exit(1)


@command(commands, "Collections and parts", "cxrflow findings")
def findings() -> None:
    """List the findings that a task may use, each with the publication that defines it."""
    from cxrflow.findings import FINDINGS

    width = max(map(len, FINDINGS))
    for finding, published in FINDINGS.items():
        typer.echo(f"{finding:{width}}  {published}")


@command(commands, "Collections and parts", "cxrflow models", "cxrflow models --json")
def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: a list of objects.")] = False,
) -> None:
    """List the networks available as training.model."""
    from cxrflow.models.measure import print_models

    print_models(as_json)
