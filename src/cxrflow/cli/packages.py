"""Lists of sources, findings and models; training of the networks that ship with cxrflow; import of others."""

from pathlib import Path
from typing import Annotated

import typer

from cxrflow.cli.options import DATA, PARAMS, RESULTS, EngineName, ParamsFile, alone_in, load
from cxrflow.params_file import load_params
from cxrflow.terminal import say

commands = typer.Typer()


@commands.command()
def sources(
    folder: Annotated[Path | None, typer.Argument(help="Folder to look into: what would be read, what not.")] = None,
    write: Annotated[bool, typer.Option(help="Write the columns.yaml to start from, where none is.")] = False,
    params: ParamsFile = PARAMS,
) -> None:
    """List the collections that cxrflow reads; with a folder, look what it holds and would be read as."""
    from cxrflow.sources import print_sources

    if folder is None:
        print_sources()
        return
    from cxrflow.sources.collection import Options
    from cxrflow.sources.look import look
    from cxrflow.sources.words import finding_of

    options = Options()
    if params.exists():
        loaded = load_params(params)
        options = Options(
            finding_named=lambda word: loaded.task.finding_named(word) or finding_of(word),
            follow_links=loaded.sources.follow_links,
            rsna_without_patients=loaded.sources.rsna_without_patients,
            columns=loaded.sources.columns,
        )
    look(folder, options, write)


@commands.command()
def findings() -> None:
    """List the findings that a task may use, each with the publication that defines it."""
    from cxrflow.findings import FINDINGS

    width = max(map(len, FINDINGS))
    for finding, published in FINDINGS.items():
        typer.echo(f"{finding:{width}}  {published}")


@commands.command()
def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: a list of objects.")] = False,
) -> None:
    """List the networks available as training.model."""
    from cxrflow.models.measure import print_models

    print_models(as_json)


@commands.command()
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


@commands.command()
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


@commands.command("import-tensorflow")
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
