"""Use of a trained bundle: prediction, external validation, the service."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from cxrflow.cli.options import (
    BUNDLE,
    IMAGES,
    LEDGER,
    PARAMS,
    RECORDS,
    RESULTS,
    BundleFolder,
    BurnedInText,
    EngineName,
    Kinds,
    LedgerFile,
    ParamsFile,
    alone_in,
    command,
    load,
)
from cxrflow.errors import CxrflowError
from cxrflow.params_file import load_params
from cxrflow.terminal import say
from cxrflow.text import name_text

commands = typer.Typer()
#: Exit status of a prediction that scored some of the files and left out others.
SOME_LEFT_OUT = 3
INT8 = RESULTS / "export" / "int8.onnx"


def _named_output(given: str) -> tuple[str, Path]:
    name, equals, file = given.partition("=")
    if not (name and equals and file):
        raise CxrflowError(f"--output {given}: name an output and a file, such as --output NAME=FILE.")
    return name, Path(file)


def _release(given: str) -> str:
    if given not in ("R4", "R5"):
        raise typer.BadParameter(f"FHIR {given} cannot be written; name R4 or R5.")
    return given


@command(
    commands,
    "Use",
    "cxrflow predict scan.dcm folder 'archive/2026-*/**/*.dcm' --json predictions.jsonl --heatmaps pictures",
    "cxrflow predict study --dicom results/dicom --dicom-kinds sr,sc --fhir results/bundles.ndjson",
)
def predict(
    paths: Annotated[
        list[Path], typer.Argument(help="Image files, DICOM files, folders of them, or patterns in quotes.")
    ],
    bundle: BundleFolder = BUNDLE,
    out: Annotated[Path, typer.Option(help="CSV file to write.")] = Path("predictions.csv"),
    json: Annotated[Path | None, typer.Option(help="Also write the results into this file, as JSON lines.")] = None,
    heatmaps: Annotated[
        Path | None, typer.Option(help="Write each image with its Grad-CAM heat map over it into this folder, as PNG.")
    ] = None,
    dicom: Annotated[
        Path | None,
        typer.Option(
            help="Write the results of DICOM images into this folder, as DICOM objects of the same study (extra pacs)."
        ),
    ] = None,
    dicom_kinds: Kinds = "sr,sc,map",
    fhir: Annotated[
        Path | None, typer.Option(help="Write a FHIR bundle for each study into this file, one a line (NDJSON).")
    ] = None,
    fhir_version: Annotated[
        Literal["R4", "R5"], typer.Option(parser=_release, metavar="R4|R5", help="FHIR release.")
    ] = "R4",
    output: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE",
            help="Also write the results by this output of another package, or of file.py:name, into FILE; repeatable "
            "(`cxrflow list` shows which there are).",
        ),
    ] = None,
    with_paths: Annotated[
        bool, typer.Option("--paths", help="Also give the path of each file, beside its SHA-256.")
    ] = False,
    burned_in_text: BurnedInText = False,
    member: Annotated[int | None, typer.Option(help="Use one network of the bundle alone; 1 is the first.")] = None,
) -> None:
    """Score radiographs with a bundle. Research software: not for diagnosis.

    Exit status 3 if some files could not be scored or drawn, or have no DICOM objects, 1 if none could be scored. An
    interrupted prediction resumes.
    """
    from cxrflow.engines import LocalEngine

    LocalEngine().start()  # a worker process starts while this one opens the bundle
    from cxrflow.outputs.dicom_files import kinds_named
    from cxrflow.outputs.places import Outputs
    from cxrflow.outputs.words import DRAWN
    from cxrflow.predict import predict_files

    kinds, more = kinds_named(dicom_kinds), tuple(map(_named_output, output or ()))
    outputs = Outputs(out, json, heatmaps, with_paths, burned_in_text, dicom, kinds, fhir, fhir_version, more)
    counts = predict_files(bundle, paths, outputs, member)
    for line in counts.in_words(outputs):
        say(line)
    if counts.drawn:
        say(DRAWN)
    if counts.failed or not counts.scored:
        raise typer.Exit(SOME_LEFT_OUT if counts.scored else 1)


@command(commands, "Use", "cxrflow explain scan.dcm", "cxrflow explain scan.png --out seen.png")
def explain(
    image: Annotated[Path, typer.Argument(help="One image file or DICOM file.")],
    bundle: BundleFolder = BUNDLE,
    out: Annotated[Path, typer.Option(help="PNG to write: the image with the heat map over it.")] = Path("heat.png"),
) -> None:
    """Explain one radiograph: scores in words, and a Grad-CAM heat map. Research software: not for diagnosis."""
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
        bool,
        typer.Option(
            "--int8",
            help="8-bit weights and activations, calibrated and compared on val; run it where the bundle was trained.",
        ),
    ] = False,
    params: ParamsFile = PARAMS,
) -> None:
    """Write a bundle as one ONNX file, with its image steps (preprocessing) as Python beside it (docs/export.md)."""
    if int8:
        from cxrflow.dataset import Dataset
        from cxrflow.exporting.int8 import export_int8, print_changes

        if not params.exists():
            raise CxrflowError(
                f"--int8 calibrates on the val images of the bundle's training, and {name_text(params)} is absent; run "
                "it in the folder where the bundle was trained (params.yaml and data are in it)."
            )
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

    loaded = load(params, engine, anywhere=True)
    loaded = loaded.model_copy(
        update={"sources": loaded.sources.model_copy(update={"root": str(sources), "collections": None})}
    )
    with open_engine(loaded) as opened:
        say(f"Page: {validate(bundle, loaded, opened, out, ledger).absolute()}")


commands.command("evaluate", hidden=True)(validate_external)


@command(
    commands,
    "Use",
    "cxrflow serve --bundle results/training/bundle",
    "cxrflow serve --host 0.0.0.0 --allow-host cxr.hospital.example --token-file tokens --audit-log requests.jsonl",
)
def serve(
    bundle: BundleFolder = BUNDLE,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: a free one.")] = 8000,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="Further host name by which it may be reached; repeatable.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="File of lines `name: token`; requests then need a bearer token.")
    ] = None,
    audit_log: Annotated[
        Path | None, typer.Option(help="Append a line of JSON for each prediction to this file.")
    ] = None,
    audit: Annotated[
        Path | None, typer.Option(help="audit.json whose verdicts the page shows; default: that beside the bundle.")
    ] = None,
    files: Annotated[int, typer.Option(min=1, max=1000, help="Most files in a request.")] = 20,
    megabytes: Annotated[int, typer.Option(min=1, help="Largest request (MiB).")] = 256,
    seconds: Annotated[
        float, typer.Option(min=1, help="Time limit for a request to arrive, and again for its answer (s).")
    ] = 60,
    queue: Annotated[int, typer.Option(min=1, help="Most requests at once; further ones are refused (429).")] = 32,
    burned_in_text: BurnedInText = False,
) -> None:
    """Serve a bundle: a web page, a REST interface, the Open Inference Protocol. Research software: not for diagnosis.

    Listens on this machine alone unless told otherwise. Uploads are kept in memory and never stored.
    """
    try:
        from cxrflow.serving.server import serve as run
        from cxrflow.serving.settings import Bounds, Settings
    except ModuleNotFoundError as error:
        raise CxrflowError(f"serve needs {error.name}; install it with `pip install 'cxrflow[serve]'`.") from None
    bounds = Bounds(files, megabytes * 1024**2, seconds, queue)
    names = tuple(allow_host or ())
    run(bundle, Settings(host, port, names, token_file, audit_log, audit, bounds, burned_in_text))
