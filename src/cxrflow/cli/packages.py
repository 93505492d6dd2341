"""What cxrflow reads and builds with, and the small networks that ship with it, trained again."""

from pathlib import Path
from typing import Annotated

import typer

from cxrflow.cli.options import DATA, PARAMS, RESULTS, EngineName, ParamsFile, load, say
from cxrflow.params import load_params

commands = typer.Typer()


@commands.command()
def sources() -> None:
    """The collections that cxrflow reads, and the folders it looks for."""
    from cxrflow.sources import print_sources

    print_sources()


@commands.command()
def findings() -> None:
    """The vocabulary of findings that a task may name, each with the publication that uses it."""
    from cxrflow.findings import FINDINGS

    for finding, published in FINDINGS.items():
        typer.echo(f"{finding:38} {published}")


@commands.command()
def models(
    as_json: Annotated[bool, typer.Option("--json", help="A list of objects for programs.")] = False,
) -> None:
    """The networks that training.model may name."""
    from cxrflow.models.measure import print_models

    print_models(as_json)


@commands.command()
def lungs(
    sources: Annotated[Path, typer.Option(help="Folder of collections; covid-chestxray with its lung masks is one.")],
    out: Annotated[Path, typer.Option(help="Folder for the network, its figures and checkpoints.")] = RESULTS / "lungs",
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training images.")] = 150,
    params: ParamsFile = PARAMS,
) -> None:
    """Train the lung segmenter again (a trained one ships with cxrflow), on training-split patients alone."""
    from cxrflow.engines import LocalEngine
    from cxrflow.lungs.train import print_segmenter, run
    from cxrflow.metadata.build import build_records
    from cxrflow.params import Sources

    loaded = load_params(params)
    how = loaded.metadata.model_copy(update={"files": "required"})
    where = Sources(root=str(sources), collections=None)
    built = build_records(where, how, loaded.task, LocalEngine(), DATA / "metadata")  # the project's own sides
    print_segmenter(run(built.records, built.root, epochs, out), out)


@commands.command()
def frontal(
    sources: Annotated[
        Path, typer.Option(help="Folder of collections, covid-chestxray with its CT slices among them.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the weights and the figures.")] = RESULTS / "frontal",
    params: ParamsFile = PARAMS,
    engine: EngineName = None,
) -> None:
    """Fit the check for frontal radiographs that reading uses, and measure it (docs/frontal.md)."""
    from cxrflow.engines import open_engine
    from cxrflow.metadata.fit_frontal import fit_frontal, print_figures

    loaded = load(params, engine)
    with open_engine(loaded) as opened:
        print_figures(fit_frontal(sources, loaded, opened, out))


@commands.command("import-tensorflow")
def import_network(
    meta: Annotated[Path, typer.Option(help="TensorFlow 1 meta graph, model.meta.")],
    checkpoint: Annotated[Path, typer.Option(help="Checkpoint, without the .index and .data-... of its files.")],
    classes: Annotated[str, typer.Option(help="Classes of the task in the order of the network's outputs.")],
    out: Annotated[Path, typer.Option(help="Folder for the bundle.")] = RESULTS / "imported",
    input_name: Annotated[str, typer.Option("--input", help="Tensor of the pictures.")] = "input_1:0",
    logits: Annotated[str, typer.Option(help="Tensor of the logits.")] = "norm_dense_1/MatMul:0",
    probabilities: Annotated[str, typer.Option(help="Tensor of their softmax.")] = "norm_dense_1/Softmax:0",
    size: Annotated[int | None, typer.Option(min=32, help="Side of the pictures where the graph fixes none.")] = None,
    trained_on: Annotated[
        str, typer.Option(help="What is known of its training images.")
    ] = "COVIDx, by COVID-Net's authors: which images and patients is unknown",
    python: Annotated[Path | None, typer.Option(help="Interpreter with TensorFlow; one is set up otherwise.")] = None,
    params: ParamsFile = PARAMS,
) -> None:
    """Turn a TensorFlow 1 meta graph and checkpoint, COVID-Net's as released, into a bundle of the task in params."""
    from cxrflow.importing.import_tensorflow import Released, import_tensorflow

    released = Released(meta, checkpoint, input_name, logits, probabilities, size)
    task = load_params(params).task
    bundle, difference = import_tensorflow(released, task, classes.split(","), trained_on, python, out)
    say(
        f"Pictures of {bundle.images.size} pixels, {bundle.images.channels} channels; at most {difference:.1e} from "
        f"TensorFlow on random images: {out}"
    )
