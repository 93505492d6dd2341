"""Options and paths shared by several commands."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from cxrflow.params import Params, load_params
from cxrflow.text import clean

DATA, RESULTS = Path("data"), Path("results")
RECORDS, IMAGES = DATA / "metadata" / "records.csv", DATA / "images"
BUNDLE = RESULTS / "training" / "bundle"
EVALUATION = RESULTS / "evaluation"
LEDGER = EVALUATION / "ledger.csv"

ParamsFile = Annotated[Path, typer.Option("--params", help="Parameter file.")]
BundleFolder = Annotated[Path, typer.Option("--bundle", help="Folder of the bundle.")]
EngineName = Annotated[Literal["local", "spark"] | None, typer.Option(help="Overrides engine in the parameter file.")]
LedgerFile = Annotated[Path, typer.Option(help="Ledger of evaluations on test sets.")]
Collections = Annotated[Path, typer.Option(help="Folder that holds the collections.")]
Folds = Annotated[int, typer.Option(min=2, help="Number of folds, by group.")]
Trainings = Annotated[Path, typer.Option(help="Folder for the trainings and the figures.")]
WithoutTest = Annotated[bool, typer.Option(help="Leave out the groups of the test split, as when choosing a recipe.")]
PARAMS = Path("params.yaml")


def load(path: Path, engine: str | None = None) -> Params:
    """The parameters in ``path``, with ``engine`` replaced if given."""
    params = load_params(path)
    return params.model_copy(update={"engine": engine}) if engine else params


def say(text: str) -> None:
    """Print a line verbatim, without markup or wrapping; control characters are escaped."""
    Console().print(clean(text), markup=False, highlight=False, soft_wrap=True)
