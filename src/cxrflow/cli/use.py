"""What a trained bundle is used for."""

from pathlib import Path
from typing import Annotated

import typer

from cxrflow.cli.options import BUNDLE, LEDGER, PARAMS, BundleFolder, EngineName, LedgerFile, ParamsFile, load, say

commands = typer.Typer()


@commands.command()
def predict(
    paths: Annotated[list[Path], typer.Argument(help="Pictures, DICOM files, or folders of them.")],
    bundle: BundleFolder = BUNDLE,
    out: Annotated[Path, typer.Option(help="CSV file to write.")] = Path("predictions.csv"),
) -> None:
    """Score radiographs with a bundle. Research software: not for diagnosis."""
    from cxrflow.predict import predict_files

    say(f"{predict_files(bundle, paths, out)}: {out}")


@commands.command("validate-external")
def validate_external(
    sources: Annotated[Path, typer.Option(help="Folder of collections that the bundle has not seen.")],
    out: Annotated[Path, typer.Option(help="Folder for the figures and the page.")],
    bundle: BundleFolder = BUNDLE,
    params: ParamsFile = PARAMS,
    engine: EngineName = None,
    ledger: LedgerFile = LEDGER,
) -> None:
    """Figures of a bundle on collections that it has not seen, with Grad-CAM and the page."""
    from cxrflow.engines import open_engine
    from cxrflow.report.external import validate

    loaded = load(params, engine)
    loaded = loaded.model_copy(
        update={"sources": loaded.sources.model_copy(update={"root": str(sources), "collections": None})}
    )
    with open_engine(loaded) as opened:
        say(f"Page: {validate(bundle, loaded, opened, out, ledger).absolute()}")


commands.command("evaluate", hidden=True)(validate_external)
