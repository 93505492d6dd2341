"""Use of a trained bundle: prediction and external validation."""

from pathlib import Path
from typing import Annotated

import typer

from cxrflow.cli.options import (
    BUNDLE,
    IMAGES,
    LEDGER,
    PARAMS,
    RECORDS,
    RESULTS,
    BundleFolder,
    EngineName,
    LedgerFile,
    ParamsFile,
    alone_in,
    command,
    load,
)
from cxrflow.params_file import load_params
from cxrflow.terminal import say
from cxrflow.text import name_text

commands = typer.Typer()
#: Exit status of a prediction that scored some of the files and left out others.
SOME_LEFT_OUT = 3
INT8 = RESULTS / "export" / "int8.onnx"


@command(
    commands,
    "Use",
    "cxrflow predict scan.dcm folder",
    "cxrflow predict folder --out results/predictions.csv --paths --json results/predictions.jsonl --heatmaps pictures",
)
def predict(
    paths: Annotated[list[Path], typer.Argument(help="Image files, DICOM files, or folders of them.")],
    bundle: BundleFolder = BUNDLE,
    out: Annotated[Path, typer.Option(help="CSV file to write.")] = Path("predictions.csv"),
    json: Annotated[Path | None, typer.Option(help="Write the results as JSON lines, too, into this file.")] = None,
    heatmaps: Annotated[
        Path | None, typer.Option(help="Write a picture of each image into this folder, the heat map over it.")
    ] = None,
    with_paths: Annotated[
        bool, typer.Option("--paths", help="Name files by their paths, too, not by their SHA-256 alone.")
    ] = False,
    member: Annotated[int | None, typer.Option(help="Use one network of the bundle alone, from 1.")] = None,
) -> None:
    """Score radiographs with a bundle. Research software: not for diagnosis.

    Exit status 3 if some files could not be scored or drawn, 1 if none could be scored. An interrupted prediction
    resumes.
    """
    from cxrflow.engines import LocalEngine

    LocalEngine().start()  # a worker process starts while this one opens the bundle
    from cxrflow.outputs.words import DRAWN
    from cxrflow.predict import Outputs, predict_files

    counts = predict_files(bundle, paths, Outputs(out, json, heatmaps, with_paths), member)
    say(f"{name_text(out)}: {counts}")
    if counts.drawn:
        say(DRAWN)
    if counts.failed or not counts.scored:
        raise typer.Exit(SOME_LEFT_OUT if counts.scored else 1)


@command(commands, "Use", "cxrflow explain scan.dcm", "cxrflow explain scan.png --out seen.png")
def explain(
    image: Annotated[Path, typer.Argument(help="An image file or DICOM file.")],
    bundle: BundleFolder = BUNDLE,
    out: Annotated[Path, typer.Option(help="Picture to write: the heat map over the radiograph.")] = Path("heat.png"),
) -> None:
    """Explain one radiograph: scores in words, and a heat map over it. Research software: not for diagnosis."""
    from cxrflow.predict import explain_file

    result, words = explain_file(bundle, image, out)
    for line in words:
        say(line)
    if result.left_out is not None:
        raise typer.Exit(1)


@command(commands, "Use", "cxrflow export --out there/model.onnx", "cxrflow export --int8")
def export(
    bundle: BundleFolder = BUNDLE,
    out: Annotated[
        Path | None,
        typer.Option(help=f"ONNX file to write: model.onnx in the bundle's folder, or with --int8 {INT8}."),
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="8-bit weights and activations, and what they change on val.")
    ] = False,
    params: ParamsFile = PARAMS,
) -> None:
    """Write a bundle as one ONNX file, its image steps beside it (docs/export.md)."""
    if int8:
        from cxrflow.dataset import Dataset
        from cxrflow.exporting.int8 import export_int8, print_changes

        loaded = load_params(params)
        dataset = Dataset.open(RECORDS, IMAGES, loaded.task)
        print_changes(export_int8(bundle, dataset, loaded.evaluation, out or INT8), out or INT8)
        return
    from cxrflow.exporting.export import export as write

    file, difference = write(bundle, out)
    say(f"{name_text(file)}: {file.stat().st_size / 1e6:.0f} MB; differs from PyTorch by up to {difference:.1e}")


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
