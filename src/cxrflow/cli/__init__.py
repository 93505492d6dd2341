"""The command line: one file per group of commands; each command calls one function."""

import io
import sys
from typing import Annotated

import typer

from cxrflow import __version__
from cxrflow.cli import packages, pipeline, studies, use
from cxrflow.errors import CxrflowError
from cxrflow.text import clean

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="From collections of chest radiographs to a trained, evaluated, explained and audited classifier. "
    "Research software, not a diagnostic device.",
)
for group in (pipeline, use, studies, packages):
    app.add_typer(group.commands)


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    """Print the version with ``--version``."""
    if show:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Entry point. An error prints one sentence to standard error, with exit status 1; an interruption gives 130.

    Characters that the terminal's encoding lacks are printed as escapes.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app()
    except CxrflowError as error:
        sys.exit(clean(f"cxrflow: {error}"))
    except OSError as error:
        sys.exit(clean(f"cxrflow: {error.filename or 'file'}: {error.strerror or error}."))
    except KeyboardInterrupt:
        sys.exit(130)
