"""Studies of several trainings or several bundles."""

from pathlib import Path
from typing import Annotated

import typer

from cxrflow.cli.options import (
    FEATURES,
    IMAGES,
    LEDGER,
    PARAMS,
    RECORDS,
    RESULTS,
    Collections,
    EngineName,
    Folds,
    ParamsFile,
    Trainings,
    WithoutTest,
    alone_in,
    command,
    load,
)
from cxrflow.params_file import load_params
from cxrflow.terminal import say

commands = typer.Typer()


@command(
    commands,
    "Validate",
    "cxrflow cross-validate --folds 5",
    "cxrflow cross-validate --without-test --out results/recipe",
    name="cross-validate",
)
@alone_in()
def cross_validate(
    folds: Folds = 5,
    without_test: WithoutTest = False,
    out: Trainings = RESULTS / "cross-validation",
    params: ParamsFile = PARAMS,
) -> None:
    """Score every image once, by a network trained without its group; an interrupted run resumes."""
    from cxrflow.dataset import Dataset
    from cxrflow.evaluation.tables import print_figures
    from cxrflow.studies.cross_validate import cross_validate as run

    loaded = load_params(params)
    dataset = Dataset.open(RECORDS, IMAGES, loaded.task)
    dataset = dataset.split("train", "val") if without_test else dataset
    print_figures(run(dataset, loaded, folds, out, LEDGER, FEATURES), loaded.task)


@command(commands, "Validate", "cxrflow leave-one-out", name="leave-one-out")
@alone_in()
def leave_one_out(
    without_test: WithoutTest = False,
    out: Trainings = RESULTS / "leave-one-out",
    params: ParamsFile = PARAMS,
) -> None:
    """Train without each source in turn and test on it; an interrupted run resumes."""
    from cxrflow.dataset import Dataset
    from cxrflow.studies.leave_one_out import leave_one_out as run
    from cxrflow.studies.leave_one_out import print_leave_one_out

    loaded = load_params(params)
    dataset = Dataset.open(RECORDS, IMAGES, loaded.task)
    dataset = dataset.split("train", "val") if without_test else dataset
    print_leave_one_out(run(dataset, loaded, out, LEDGER, FEATURES), loaded.task)


@command(
    commands,
    "Validate",
    "cxrflow compare results/training/bundle another/bundle",
    "cxrflow compare results/training/bundle another/bundle --sources other-hospital",
)
@alone_in()
def compare(
    a: Annotated[Path, typer.Argument(help="Folder of a bundle.")],
    b: Annotated[Path, typer.Argument(help="Folder of another bundle.")],
    sources: Annotated[
        Path | None, typer.Option(help="Folder of collections unseen by both, instead of the test split.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the figures.")] = RESULTS / "comparison",
    params: ParamsFile = PARAMS,
    engine: EngineName = None,
) -> None:
    """Compare two bundles on the same images, unseen by both: differences with intervals."""
    from cxrflow.dataset import Dataset
    from cxrflow.engines import open_engine
    from cxrflow.predictor import Predictor
    from cxrflow.sources import find_root
    from cxrflow.studies.compare import Comparison, compare_collections, compare_stored, print_comparison

    loaded = load(params, engine)
    with open_engine(loaded) as opened:
        comparison = Comparison(Predictor(a), Predictor(b), loaded.evaluation, opened, out, LEDGER)
        if sources is None:
            dataset = Dataset.open(RECORDS, IMAGES, loaded.task)
            found = compare_stored(comparison, dataset, find_root(loaded.sources))
        else:
            found = compare_collections(
                comparison,
                loaded.sources.model_copy(update={"root": str(sources), "collections": None}),
                loaded.metadata,
            )
        print_comparison(found, comparison.a.bundle.task)


@command(
    commands,
    "Validate",
    "cxrflow mitigation --sources folder",
    "cxrflow mitigation --sources folder --only none --only 'group DRO'",
)
@alone_in()
def mitigation(
    sources: Collections,
    folds: Folds = 3,
    only: Annotated[
        list[str] | None, typer.Option(help="Run this mitigation only; may be given several times.")
    ] = None,
    out: Trainings = RESULTS / "mitigation",
    params: ParamsFile = PARAMS,
    engine: EngineName = None,
) -> None:
    """Compare mitigations of shortcuts: pooled, within sources, and on unseen sources."""
    from cxrflow.engines import open_engine
    from cxrflow.studies.mitigation import MITIGATIONS, print_mitigation
    from cxrflow.studies.mitigation import mitigation as run

    loaded = load(params, engine)
    with open_engine(loaded) as opened:
        print_mitigation(run(sources, loaded, opened, folds, only or list(MITIGATIONS), out), loaded.task)


@command(commands, "Validate", "cxrflow leaks --sources folder --seeds 3")
@alone_in()
def leaks(
    sources: Annotated[Path, typer.Option(help="Folder that holds the collections, including RSNA.")],
    folds: Folds = 5,
    seeds: Annotated[int, typer.Option(min=1, help="Number of trainings per variant, each with another seed.")] = 1,
    out: Trainings = RESULTS / "leaks",
    params: ParamsFile = PARAMS,
    engine: EngineName = None,
) -> None:
    """Measure how much each leak of the paper's protocol inflates the metrics, one leak at a time."""
    from cxrflow.engines import open_engine
    from cxrflow.studies.leaks import leaks as run
    from cxrflow.studies.leaks import print_leaks

    loaded = load(params, engine)
    with open_engine(loaded) as opened:
        print_leaks(run(sources, loaded, opened, folds, seeds, out), loaded.task)


@command(commands, "Validate", "cxrflow leaderboard", "cxrflow leaderboard results another/results")
@alone_in()
def leaderboard(
    results: Annotated[
        list[Path] | None,
        typer.Argument(help="Folders of results; by default all runs that DVC knows, of commits and experiments."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for table and picture.")] = RESULTS / "leaderboard",
) -> None:
    """Compare runs: figures with intervals, looks at the test set, cost, and the parameters that differ."""
    from cxrflow.studies.leaderboard import leaderboard as run
    from cxrflow.studies.leaderboard import print_leaderboard

    print_leaderboard(run(results or [], out))
    say(f"Picture: {out / 'leaderboard.svg'}")
