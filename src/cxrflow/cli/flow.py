"""A study: making one, and running it without DVC."""

from pathlib import Path
from typing import Annotated

import typer

from cxrflow.cli.options import RESULTS, command
from cxrflow.running import only_run
from cxrflow.terminal import say

commands = typer.Typer()


@command(
    commands,
    "Study",
    "cxrflow init my-study",
    "cxrflow init my-study --sources /data/collections --task pneumonia",
)
def init(
    folder: Annotated[Path, typer.Argument(help="Folder of the study; must not exist yet, or be empty.")],
    sources: Annotated[
        Path | None, typer.Option(help="Folder that holds the collections; without it, radiographs are drawn.")
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="Another question than the default one: a task that ships with cxrflow.")
    ] = None,
) -> None:
    """Make a study: a folder with its parameters and stages, git and DVC initialised."""
    from cxrflow.flow.init import make_study

    make_study(folder, sources, task)
    say(f"Study: {folder.absolute()}")
    say(f"Next: cd {folder} && dvc repro   (or `cxrflow run`; `cxrflow check` first says what it takes)")


@command(commands, "Study", "cxrflow run", "cxrflow run training")
def run(
    stages: Annotated[
        list[str] | None, typer.Argument(help="Stages of dvc.yaml, each with what it needs; without any, all.")
    ] = None,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Say what would run first, and why; run only what always runs (params).")
    ] = False,
) -> None:
    """Run the stages that are not current, in their order, without DVC."""
    from cxrflow.flow.run import run_study

    with only_run(RESULTS / "run"):
        run_study(Path(), stages or (), dry)
    if not dry and (page := RESULTS / "report" / "index.html").exists():
        say(f"Report: {page.absolute()}")
