"""The command that looks before any work."""

from pathlib import Path
from typing import Annotated

import typer

from cxrflow.cli.options import DATA, PARAMS, RESULTS, ParamsFile, alone_in, command
from cxrflow.errors import CxrflowError

commands = typer.Typer()


@command(commands, "Study", "cxrflow check", "cxrflow check --hours 2")
@alone_in(DATA / "metadata")
def check(
    hours: Annotated[float, typer.Option(min=0.01, help="Hours that all trainings together may take.")] = 8.0,
    text: Annotated[
        bool, typer.Option("--text", help="Look for burned-in text in 40 images of each source (extra text).")
    ] = False,
    params: ParamsFile = PARAMS,
) -> None:
    """Before any work: what the data are, what they cannot answer, and a plan with its cost on this machine; exit
    status 1 if the study would stop before training."""
    from cxrflow.check.check import check as look
    from cxrflow.params_file import load_params

    root = Path(load_params(params).sources.root)
    if root == DATA / "demo" and not root.exists():
        raise CxrflowError(f"check: {root} is not drawn yet; run `cxrflow demo` first.")
    if not look(params, DATA / "metadata", RESULTS / "check", hours, text):
        raise typer.Exit(1)
