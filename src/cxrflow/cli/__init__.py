"""The command line: one file per group of commands; each command calls one function."""

import io
import os
import signal
import sys
from types import FrameType
from typing import Annotated

import typer

# How long a thread of GNU's OpenMP, which PyTorch uses, spins before it sleeps. The default is so long that two threads
# beside other work were six times slower (docs/speed.md). It has to be set before PyTorch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "30000")

from cxrflow import __version__
from cxrflow.cli import check, collections, flow, lists, packages, pacs, pipeline, studies, use
from cxrflow.errors import CxrflowError
from cxrflow.files import refused
from cxrflow.terminal import set_quiet
from cxrflow.text import clean

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="From collections of chest radiographs to a trained, evaluated, explained and audited classifier. "
    "Research software, not a diagnostic device.",
)
for group in (flow, check, lists, collections, pipeline, use, pacs, studies, packages):
    app.add_typer(group.commands)


@app.callback(invoke_without_command=True)
def common(
    context: typer.Context,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print results and errors only: no progress.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """Options of all commands."""
    set_quiet(quiet)
    if version:
        typer.echo(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), nl=False)  # empty where rich has printed it
        raise typer.Exit(2)  # as without options


class _Stopped(SystemExit):
    """A signal asks this process to end. A SystemExit, because Lightning swallows KeyboardInterrupt."""


def main() -> None:
    """Entry point. An error prints one sentence to standard error, with exit status 1.

    SIGINT (Ctrl-C) and SIGTERM print one sentence, too, with exit status 130 and 143. Characters that the terminal's
    encoding lacks are printed as escapes.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as for a job in the background
            signal.signal(number, _stop)
    try:
        app()
    except CxrflowError as error:
        sys.exit(clean(f"cxrflow: {error}"))
    except OSError as error:
        named = error.filename or error.filename2 or "file"
        sys.exit(clean(f"cxrflow: {refused(error, os.fsdecode(named) if isinstance(named, bytes) else str(named))}"))
    except _Stopped as stopped:
        sys.stderr.write("cxrflow: stopped before the end; run the same command again to go on.\n")
        sys.exit(stopped.code)
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        if "cxrflow.workers" in sys.modules:
            from cxrflow.workers import end_all

            end_all()


def _stop(number: int, frame: FrameType | None) -> None:
    raise _Stopped(128 + number)
