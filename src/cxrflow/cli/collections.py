"""The public collections: fetch them, and check what one has."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from cxrflow.cli.options import command

commands = typer.Typer()


@command(
    commands,
    "Collections and parts",
    "cxrflow fetch hannover --to collections",
    "cxrflow fetch nih kermany --accept-licence",
)
def fetch(
    names: Annotated[list[str], typer.Argument(help="Collections, as `cxrflow sources` lists them.")],
    to: Annotated[Path, typer.Option(help="Folder for the collections, each in its published folder.")] = Path(
        "collections"
    ),
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="You have read the licences, and accept them: do not ask.")
    ] = False,
) -> None:
    """Download public collections, after their licence and citation; what was interrupted goes on. Exit status 3 if one
    is not fetched: it has to be had by hand, and the steps are printed, or its licence was not accepted."""
    from cxrflow.fetching.fetch import fetch as fetch_all

    ask = typer.confirm if sys.stdin.isatty() else None
    if fetch_all(names, to, accept_licence, ask):
        raise typer.Exit(3)


@command(commands, "Collections and parts", "cxrflow verify kermany collections/chest_xray")
def verify(
    name: Annotated[str, typer.Argument(help="The collection, as `cxrflow sources` lists it.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Its folder, or the folder that this one is in.")],
) -> None:
    """Check whether a collection is complete and undamaged, by counts and, where there are any, checksums; exit status
    1 if not."""
    from cxrflow.fetching.verify import verify as check

    if not check(name, folder):
        raise typer.Exit(1)
