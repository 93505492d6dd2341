"""Use of a trained bundle: prediction and external validation."""

from pathlib import Path
from typing import Annotated

import typer

from cxrflow.cli.options import (
    BUNDLE,
    LEDGER,
    PARAMS,
    BundleFolder,
    EngineName,
    LedgerFile,
    ParamsFile,
    alone_in,
    command,
    load,
)
from cxrflow.terminal import say
from cxrflow.text import name_text

commands = typer.Typer()


@command(
    commands,
    "Use",
    "cxrflow predict scan.dcm folder",
    "cxrflow predict folder --bundle results/training/bundle --out results/predictions.csv",
)
def predict(
    paths: Annotated[list[Path], typer.Argument(help="Image files, DICOM files, or folders of them.")],
    bundle: BundleFolder = BUNDLE,
    out: Annotated[Path, typer.Option(help="CSV file to write.")] = Path("predictions.csv"),
    member: Annotated[int | None, typer.Option(help="Use one network of the bundle alone, from 1.")] = None,
) -> None:
    """Score radiographs with a bundle; exit status 1 if none could be scored. Research software: not for diagnosis."""
    from cxrflow.engines import LocalEngine

    LocalEngine().start()  # a worker process starts while this one imports PyTorch
    from cxrflow.predict import predict_files

    counts = predict_files(bundle, paths, out, member)
    say(f"{name_text(out)}: {counts}")
    if not counts.scored:
        raise typer.Exit(1)


@command(
    commands,
    "Use",
    "cxrflow validate-external --sources other-hospital --out results/other-hospital",
    name="validate-external",
)
@alone_in()
def validate_external(
    sources: Annotated[Path, typer.Option(help="Folder of collections that the bundle was not trained on.")],
    out: Annotated[Path, typer.Option(help="Folder for the figures and the report.")],
    bundle: BundleFolder = BUNDLE,
    params: ParamsFile = PARAMS,
    engine: EngineName = None,
    ledger: LedgerFile = LEDGER,
) -> None:
    """Evaluate a bundle on collections that it was not trained on, with Grad-CAM and a report."""
    from cxrflow.engines import open_engine
    from cxrflow.report.external import validate

    loaded = load(params, engine)
    loaded = loaded.model_copy(
        update={"sources": loaded.sources.model_copy(update={"root": str(sources), "collections": None})}
    )
    with open_engine(loaded) as opened:
        say(f"Page: {validate(bundle, loaded, opened, out, ledger).absolute()}")


commands.command("evaluate", hidden=True)(validate_external)
