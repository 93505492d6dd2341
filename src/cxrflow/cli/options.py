"""Options and paths shared by several commands."""

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Literal, ParamSpec, TypeVar

import typer

from cxrflow.params import Params
from cxrflow.params_file import DEFAULTS, load_params
from cxrflow.running import only_run

DATA, RESULTS = Path("data"), Path("results")
RECORDS, IMAGES, FEATURES = DATA / "metadata" / "records.csv", DATA / "images", DATA / "features"
BUNDLE = RESULTS / "training" / "bundle"
EVALUATION = RESULTS / "evaluation"
LEDGER = EVALUATION / "ledger.csv"

ParamsFile = Annotated[Path, typer.Option("--params", help="Parameter file.")]
BundleFolder = Annotated[Path, typer.Option("--bundle", help="Folder of the bundle.")]
EngineName = Annotated[Literal["local", "spark"] | None, typer.Option(help="Overrides engine in the parameter file.")]
LedgerFile = Annotated[Path, typer.Option(help="Ledger of evaluations on test sets.")]
BurnedInText = Annotated[
    bool,
    typer.Option(
        "--burned-in-text",
        help="Look for text burned into the pictures, such as names, and flag it: half a second for each (extra text).",
    ),
]
Kinds = Annotated[
    str,
    typer.Option(
        help="DICOM objects to make, with commas: sr (structured report), sc (Secondary Capture with the heat map over "
        "the image), map (parametric map of the heat)."
    ),
]
Collections = Annotated[Path, typer.Option(help="Folder that holds the collections.")]
Folds = Annotated[int, typer.Option(min=2, help="Number of folds, by group.")]
Trainings = Annotated[Path, typer.Option(help="Folder for the trainings and the figures.")]
WithoutTest = Annotated[bool, typer.Option(help="Leave out the groups of the test split, as when choosing a recipe.")]
PARAMS = Path("params.yaml")
#: Groups of commands in ``cxrflow --help``.
Panel = Literal["Study", "Collections and parts", "Flow", "Use", "Validate", "Maintain"]

Given = ParamSpec("Given")
Done = TypeVar("Done")


def command(
    commands: typer.Typer, panel: Panel, *examples: str, name: str | None = None
) -> Callable[[Callable[Given, Done]], Callable[Given, Done]]:
    """Decorator of a command: the panel of ``cxrflow --help`` that it stands in, and the examples in its own help."""
    epilog = "\n\n".join(["Example:" if len(examples) == 1 else "Examples:", *examples])
    return commands.command(name, rich_help_panel=panel, epilog=epilog)


def alone_in(folder: Path | None = None) -> Callable[[Callable[Given, Done]], Callable[Given, Done]]:
    """Decorator of a command that writes into its option ``out``, or into ``folder``: one run at a time."""

    def decorate(command: Callable[Given, Done]) -> Callable[Given, Done]:
        @wraps(command)
        def alone(*args: Given.args, **options: Given.kwargs) -> Done:
            out = options.get("out") or folder
            # Under torchrun, rank 0 holds the folder for all.
            if out is None or os.environ.get("RANK", "0") != "0":
                return command(*args, **options)
            with only_run(Path(str(out))):
                return command(*args, **options)

        return alone

    return decorate


def load(path: Path, engine: str | None = None, overrides: list[str] | None = None, anywhere: bool = False) -> Params:
    """The parameters in ``path``, with ``engine`` and the names of the overrides replaced if given.

    anywhere  whether the command does without a study: outside of one, the defaults hold
    """
    if anywhere and path == PARAMS and not path.exists():
        path = DEFAULTS
    params = load_params(path, overrides or None)
    return params.model_copy(update={"engine": engine}) if engine else params
