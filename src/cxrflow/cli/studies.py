"""Many trainings, or many bundles."""

from pathlib import Path
from typing import Annotated

import typer

from cxrflow.cli.options import IMAGES, LEDGER, PARAMS, RECORDS, RESULTS, ParamsFile, WithoutTest
from cxrflow.params import load_params

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
