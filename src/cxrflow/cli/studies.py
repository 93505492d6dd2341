"""Many trainings, or many bundles."""

from pathlib import Path
from typing import Annotated

import typer

from cxrflow.cli.options import IMAGES, LEDGER, PARAMS, RECORDS, RESULTS, EngineName, ParamsFile, WithoutTest, load
from cxrflow.params import Sources, load_params

commands = typer.Typer()


@commands.command("cross-validate")
def cross_validate(
    folds: Annotated[int, typer.Option(min=2, help="Parts that the groups are cut into.")] = 5,
    without_test: WithoutTest = False,
    out: Annotated[Path, typer.Option(help="Folder for the trainings and the figures.")] = RESULTS / "cross-validation",
    params: ParamsFile = PARAMS,
) -> None:
    """Score every image once, by a network that has seen nobody of its group; goes on where it was interrupted."""
    from cxrflow.dataset import Dataset
    from cxrflow.evaluation.tables import print_figures
    from cxrflow.studies.cross_validate import cross_validate as run

    loaded = load_params(params)
    dataset = Dataset.open(RECORDS, IMAGES, loaded.task)
    dataset = dataset.split("train", "val") if without_test else dataset
    print_figures(run(dataset, loaded, folds, out, LEDGER), loaded.task)


@commands.command("leave-one-out")
def leave_one_out(
    without_test: WithoutTest = False,
    out: Annotated[Path, typer.Option(help="Folder for the trainings and the figures.")] = RESULTS / "leave-one-out",
    params: ParamsFile = PARAMS,
) -> None:
    """Train without each source in turn and test on it; goes on where it was interrupted."""
    from cxrflow.dataset import Dataset
    from cxrflow.studies.leave_one_out import leave_one_out as run
    from cxrflow.studies.leave_one_out import print_leave_one_out

    loaded = load_params(params)
    dataset = Dataset.open(RECORDS, IMAGES, loaded.task)
    dataset = dataset.split("train", "val") if without_test else dataset
    print_leave_one_out(run(dataset, loaded, out, LEDGER), loaded.task)


@commands.command()
def compare(
    a: Annotated[Path, typer.Argument(help="Folder of a bundle.")],
    b: Annotated[Path, typer.Argument(help="Folder of another.")],
    sources: Annotated[
        Path | None, typer.Option(help="Folder of collections that neither has seen, instead of the test split.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the figures.")] = RESULTS / "comparison",
    params: ParamsFile = PARAMS,
    engine: EngineName = None,
) -> None:
    """Compare two bundles on the same images, which neither has seen: differences with intervals."""
    from cxrflow.dataset import Dataset
    from cxrflow.engines import open_engine
    from cxrflow.predictor import Predictor
    from cxrflow.sources import find_collections
    from cxrflow.studies.compare import Comparison, compare_collections, compare_stored, print_comparison

    loaded = load(params, engine)
    with open_engine(loaded) as opened:
        comparison = Comparison(Predictor(a), Predictor(b), loaded.evaluation, opened, out, LEDGER)
        if sources is None:
            root, _ = find_collections(Path(loaded.sources.root))
            found = compare_stored(comparison, Dataset.open(RECORDS, IMAGES, loaded.task), root)
        else:
            found = compare_collections(comparison, Sources(root=str(sources), collections=None), loaded.metadata)
        print_comparison(found, comparison.a.bundle.task)


@commands.command()
def mitigation(
    sources: Annotated[Path, typer.Option(help="Folder that holds the collections.")],
    folds: Annotated[int, typer.Option(min=2, help="Parts that the groups are cut into.")] = 3,
    only: Annotated[
        list[str] | None, typer.Option(help="A mitigation, in place of all; may be given several times.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the trainings and the figures.")] = RESULTS / "mitigation",
    params: ParamsFile = PARAMS,
    engine: EngineName = None,
) -> None:
    """Measure what helps against shortcuts: pooled, within sources, and on sources never seen."""
    from cxrflow.engines import open_engine
    from cxrflow.studies.mitigation import MITIGATIONS, print_mitigation
    from cxrflow.studies.mitigation import mitigation as run

    loaded = load(params, engine)
    with open_engine(loaded) as opened:
        print_mitigation(run(sources, loaded, opened, folds, only or list(MITIGATIONS), out), loaded.task)


@commands.command()
def leaks(
    sources: Annotated[Path, typer.Option(help="Folder that holds the collections, RSNA among them.")],
    folds: Annotated[int, typer.Option(min=2, help="Parts that the groups are cut into.")] = 5,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each kind, each from another seed.")] = 1,
    out: Annotated[Path, typer.Option(help="Folder for the trainings and the figures.")] = RESULTS / "leaks",
    params: ParamsFile = PARAMS,
    engine: EngineName = None,
) -> None:
    """Measure what each leak of the paper's protocol adds to a figure, one leak at a time."""
    from cxrflow.engines import open_engine
    from cxrflow.studies.leaks import leaks as run
    from cxrflow.studies.leaks import print_leaks

    loaded = load(params, engine)
    with open_engine(loaded) as opened:
        print_leaks(run(sources, loaded, opened, folds, seeds, out), loaded.task)
