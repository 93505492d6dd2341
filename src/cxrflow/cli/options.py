"""Options and places that several commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from cxrflow.params import Params, load_params

DATA, RESULTS = Path("data"), Path("results")
RECORDS, IMAGES = DATA / "metadata" / "records.csv", DATA / "images"
BUNDLE = RESULTS / "training" / "bundle"
EVALUATION = RESULTS / "evaluation"
LEDGER = EVALUATION / "ledger.csv"

ParamsFile = Annotated[Path, typer.Option("--params", help="Parameter file.")]
BundleFolder = Annotated[Path, typer.Option("--bundle", help="Folder of the bundle.")]
EngineName = Annotated[Literal["local", "spark"] | None, typer.Option(help="Instead of the parameter file's engine.")]
LedgerFile = Annotated[Path, typer.Option(help="Ledger of looks at test sets.")]
WithoutTest = Annotated[bool, typer.Option(help="Leave the test split's groups out: for choosing a recipe.")]
PARAMS = Path("params.yaml")


def load(path: Path, engine: str | None = None) -> Params:
    """The parameters in ``path``, with another engine where one is named."""
    params = load_params(path)
    return params.model_copy(update={"engine": engine}) if engine else params


def say(text: str) -> None:
    """Print a line as it is: no markup, no breaks."""
    Console().print(text, markup=False, highlight=False, soft_wrap=True)
