"""What is installed; training of the networks that ship with cxrflow; import of others."""

from pathlib import Path
from typing import Annotated

import typer

from cxrflow.cli.options import DATA, PARAMS, RESULTS, EngineName, ParamsFile, alone_in, command, load
from cxrflow.params_file import load_params
from cxrflow.terminal import say

commands = typer.Typer()


@command(commands, "Maintain", "cxrflow doctor", "cxrflow doctor --json")
def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON: a list of objects.")] = False) -> None:
    """Show what this machine has and what each extra lacks; exit status 1 if cxrflow itself lacks something."""
    from cxrflow.doctor import checks, print_checks

    if not print_checks(checks([DATA, RESULTS]), as_json):
        raise typer.Exit(1)


@command(commands, "Maintain", "cxrflow lungs --sources folder")
@alone_in()
def lungs(
    sources: Annotated[Path, typer.Option(help="Folder of collections with covid-chestxray and its lung masks.")],
    out: Annotated[Path, typer.Option(help="Folder for the network, its figures and checkpoints.")] = RESULTS / "lungs",
    epochs: Annotated[int, typer.Option(min=1, help="Number of epochs.")] = 150,
    params: ParamsFile = PARAMS,
) -> None:
    """Retrain the lung segmenter that ships with cxrflow, on patients of the training split only."""
    from cxrflow.engines import Limits, LocalEngine
    from cxrflow.lungs.train import print_segmenter, run
    from cxrflow.metadata.build import build_records

    loaded = load_params(params)
    how = loaded.metadata.model_copy(update={"files": "required"})
    where = loaded.sources.model_copy(update={"root": str(sources), "collections": None})
    engine = LocalEngine(Limits(**loaded.reading.model_dump()))
    # DATA / "metadata" remembers the sides of the split, so test patients stay out of the training.
    built = build_records(where, how, loaded.task, engine, DATA / "metadata")
    print_segmenter(run(built.records, built.root, epochs, out), out)


@command(commands, "Maintain", "cxrflow frontal --sources folder")
@alone_in()
def frontal(
    sources: Annotated[Path, typer.Option(help="Folder of collections, including covid-chestxray with its CT slices.")],
    out: Annotated[Path, typer.Option(help="Folder for the weights and the figures.")] = RESULTS / "frontal",
    params: ParamsFile = PARAMS,
    engine: EngineName = None,
) -> None:
    """Refit the frontal-radiograph check used when reading files, and evaluate it (docs/frontal.md)."""
    from cxrflow.engines import open_engine
    from cxrflow.metadata.fit_frontal import fit_frontal, print_figures

    loaded = load(params, engine)
    with open_engine(loaded) as opened:
        print_figures(fit_frontal(sources, loaded, opened, out, DATA / "metadata"))


@command(
    commands,
    "Maintain",
    "cxrflow import-tensorflow --meta model.meta --checkpoint model-2069 --classes first,second,third",
    name="import-tensorflow",
)
@alone_in()
def import_network(
    meta: Annotated[Path, typer.Option(help="TensorFlow 1 meta graph (model.meta).")],
    checkpoint: Annotated[Path, typer.Option(help="Checkpoint, without the extensions .index and .data-...")],
    classes: Annotated[str, typer.Option(help="Classes of the task in the order of the network's outputs.")],
    out: Annotated[Path, typer.Option(help="Folder for the bundle.")] = RESULTS / "imported",
    input_name: Annotated[str, typer.Option("--input", help="Input tensor (images).")] = "input_1:0",
    logits: Annotated[str, typer.Option(help="Logits tensor.")] = "norm_dense_1/MatMul:0",
    probabilities: Annotated[str, typer.Option(help="Tensor of the softmax probabilities.")] = "norm_dense_1/Softmax:0",
    size: Annotated[int | None, typer.Option(min=32, help="Image size (pixels), if the graph does not fix it.")] = None,
    trained_on: Annotated[
        str, typer.Option(help="What is known about its training images.")
    ] = "COVIDx, by COVID-Net's authors: which images and patients is unknown",
    python: Annotated[Path | None, typer.Option(help="Python with TensorFlow; by default one is set up.")] = None,
    params: ParamsFile = PARAMS,
) -> None:
    """Convert a TensorFlow 1 meta graph and checkpoint, such as the released COVID-Net, into a bundle for the task."""
    from cxrflow.importing.import_tensorflow import Released, import_tensorflow

    released = Released(meta, checkpoint, input_name, logits, probabilities, size)
    task = load_params(params).task
    bundle, difference = import_tensorflow(released, task, classes.split(","), trained_on, python, out)
    steps = bundle.networks[0].images
    say(
        f"Image size {steps.size}, {steps.channels} channels; maximum difference from TensorFlow on "
        f"random images {difference:.1e}: {out}"
    )
