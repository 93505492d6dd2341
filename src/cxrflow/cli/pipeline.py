"""The stages of ``dvc.yaml``, in their order."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from cxrflow.cli.options import (
    BUNDLE,
    DATA,
    EVALUATION,
    FEATURES,
    IMAGES,
    LEDGER,
    PARAMS,
    RECORDS,
    RESULTS,
    EngineName,
    ParamsFile,
    alone_in,
    command,
    load,
)
from cxrflow.errors import CxrflowError
from cxrflow.params import steps_of
from cxrflow.params_file import DEFAULTS, load_params, resolved_yaml
from cxrflow.terminal import say

# Heavy modules are imported inside the commands that need them, so that the others start fast.
commands = typer.Typer()


@command(commands, "Flow", "cxrflow params", "cxrflow params --defaults", name="params")
def show_params(
    out: Annotated[
        Path | None, typer.Option(help="File to write, with code.yaml beside it: digests of the code of each stage.")
    ] = None,
    defaults: Annotated[bool, typer.Option("--defaults", help="Print every key with its default and meaning.")] = False,
    params: ParamsFile = PARAMS,
) -> None:
    """Check all parameters and write the values in force: the defaults, the override files, and what params.yaml
    sets."""
    from cxrflow.files import write_whole
    from cxrflow.flow.code import code_yaml
    from cxrflow.parts import check_parts, plugin_digests
    from cxrflow.training.checks import check_params

    if defaults:
        sys.stdout.write(DEFAULTS.read_text(encoding="utf-8"))
        return
    loaded = load_params(params)
    check_parts(loaded)
    check_params(loaded, RESULTS / "training")
    text = resolved_yaml(loaded)
    if out is None:
        sys.stdout.write(text)
    else:
        write_whole(out, text.encode())
        write_whole(out.with_name("code.yaml"), code_yaml(plugin_digests(loaded)).encode())


@command(commands, "Flow", "cxrflow demo")
@alone_in(DATA / "demo")
def demo(params: ParamsFile = PARAMS) -> None:
    """Generate synthetic radiographs in the layouts of the real collections."""
    from cxrflow.synthetic.demo import write_demo

    write_demo(DATA / "demo", load_params(params).demo)


@command(
    commands,
    "Flow",
    "cxrflow metadata --sources export --out results/look",
    "cxrflow metadata --sources export --overrides pneumonia --out results/look",
)
@alone_in(DATA / "metadata")
def metadata(
    params: ParamsFile = PARAMS,
    sources: Annotated[str | None, typer.Option(help="Overrides sources.root in the parameter file.")] = None,
    files: Annotated[
        Literal["required", "ignored"] | None, typer.Option(help="ignored: count records without reading images.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            help="Override file, of the study or shipped (real, pneumonia, ...), in place of those of params.yaml."
        ),
    ] = None,
    engine: EngineName = None,
    out: Annotated[Path | None, typer.Option(help="One folder for all output.")] = None,
) -> None:
    """Merge the collections, leave out duplicates, group by patient, split; account for every row."""
    from cxrflow.engines import open_engine
    from cxrflow.metadata import stage

    loaded = load(params, engine, overrides, anywhere=sources is not None and out is not None)
    where = loaded.sources.model_copy(update={"root": sources} if sources else {})
    how = loaded.metadata.model_copy(update={"files": files} if files else {})
    with open_engine(loaded) as opened:
        stage.run(where, how, loaded.task, opened, out or DATA / "metadata", out or RESULTS / "metadata")


@command(commands, "Flow", "cxrflow images", "cxrflow images --engine spark")
@alone_in(IMAGES)
def images(params: ParamsFile = PARAMS, engine: EngineName = None) -> None:
    """Crop, resize and equalise every kept image and store them as one array."""
    from cxrflow.engines import open_engine
    from cxrflow.images.examples import examples_file, write_examples
    from cxrflow.images.prepare import prepare_all, print_prepared
    from cxrflow.records import read_kept
    from cxrflow.sources import find_root

    loaded = load(params, engine)
    kept = read_kept(RECORDS)
    root = find_root(loaded.sources)
    steps = steps_of(loaded)
    with open_engine(loaded) as opened:
        stores = prepare_all(kept, root, steps, opened, IMAGES)
    for number, each in enumerate(steps):
        write_examples(kept, root, each, loaded.task, RESULTS / "images" / examples_file(number))
    print_prepared(stores)


@command(commands, "Flow", "cxrflow training", "cxrflow training --params another/params.yaml")
@alone_in(RESULTS / "training")
def training(params: ParamsFile = PARAMS) -> None:
    """Train, or resume an interrupted training, and write the bundle of the epoch selected on val."""
    from cxrflow.dataset import Dataset
    from cxrflow.evaluation.operating import choose_left_out
    from cxrflow.exporting.export import try_export
    from cxrflow.records import are_drawn
    from cxrflow.training.train import train

    loaded = load_params(params)
    dataset = Dataset.open(RECORDS, IMAGES, loaded.task)
    drawn, out = are_drawn(Path(loaded.sources.root)), RESULTS / "training"
    live = out / "live"
    bundle = train(dataset, loaded.images, loaded.training, out, features=FEATURES, drawn=drawn, live=live)
    if bundle is None:  # only DDP rank 0 continues
        return
    choose_left_out(BUNDLE, dataset, loaded.evaluation, out / "val.json")
    try_export(BUNDLE)  # what `cxrflow predict` scores by
    for network in bundle.networks:
        on = "val" if network.fold is None else f"fold {network.fold + 1}, left out"
        chosen = "" if network.frozen else f"epoch {network.epoch + 1}, "
        say(f"{network.model}: {chosen}macro AUROC on {on} {network.validation['macro_auroc']:.3f}")
    say(f"Bundle: {BUNDLE}")


@command(commands, "Flow", "cxrflow evaluation")
@alone_in(EVALUATION)
def evaluation(params: ParamsFile = PARAMS) -> None:
    """Evaluate on the test split, with intervals, within each source, and against a baseline without pixels."""
    from cxrflow.dataset import Dataset
    from cxrflow.evaluation.evaluate import evaluate_split
    from cxrflow.evaluation.tables import print_figures
    from cxrflow.predictor import Predictor

    loaded = load_params(params)
    dataset = Dataset.open(RECORDS, IMAGES, loaded.task)
    print_figures(evaluate_split(Predictor(BUNDLE), dataset, loaded.evaluation, EVALUATION), loaded.task)


@command(commands, "Flow", "cxrflow explanation")
@alone_in(RESULTS / "explanation")
def explanation(params: ParamsFile = PARAMS) -> None:
    """Grad-CAM of correctly and incorrectly classified test images of each class."""
    from cxrflow.dataset import Dataset
    from cxrflow.evaluation.predictions import read_predictions
    from cxrflow.explanation.explain import explain
    from cxrflow.predictor import Predictor
    from cxrflow.sources import find_root

    loaded = load_params(params)
    dataset = Dataset.open(RECORDS, IMAGES, loaded.task)
    predictions = read_predictions(EVALUATION / "predictions.csv", loaded.task)
    root = find_root(loaded.sources)
    explain(Predictor(BUNDLE), dataset, predictions, root.folder, loaded.explanation, RESULTS / "explanation")


@command(commands, "Flow", "cxrflow audit")
@alone_in(RESULTS / "audit")
def audit(params: ParamsFile = PARAMS) -> None:
    """Does the network see the disease or the hospital? Tests on the test split, each with a verdict."""
    from cxrflow.audit.audit import audit as run
    from cxrflow.audit.audit import print_verdicts
    from cxrflow.audit.context import Audited
    from cxrflow.dataset import Dataset
    from cxrflow.evaluation.predictions import read_predictions
    from cxrflow.predictor import Predictor
    from cxrflow.sources import find_root

    loaded = load_params(params)
    root = find_root(loaded.sources)
    audited = Audited(
        predictor=Predictor(BUNDLE),
        dataset=Dataset.open(RECORDS, IMAGES, loaded.task),
        predictions=read_predictions(EVALUATION / "predictions.csv", loaded.task),
        params=loaded,
        root=root.folder,
        out=RESULTS / "audit",
        ledger=LEDGER,
    )
    print_verdicts(run(audited))


@command(commands, "Flow", "cxrflow report", "cxrflow report --compare results another/results")
@alone_in(RESULTS / "report")
def report(
    compare: Annotated[
        tuple[Path, Path] | None, typer.Option(help="Two folders of results: write a page of both, side by side.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the page of both; only with --compare (results/compared).")
    ] = None,
    params: ParamsFile = PARAMS,
) -> None:
    """Write a self-contained HTML report of the whole run, or of two runs side by side."""
    from cxrflow.report.compare import write_comparison
    from cxrflow.report.page import write_report

    if out and not compare:
        raise CxrflowError(
            f"report: --out is for --compare; the report of this run is written to {RESULTS / 'report'}. Leave it out."
        )
    page = (
        write_comparison(*compare, out or RESULTS / "compared")
        if compare
        else write_report(load_params(params), RESULTS)
    )
    say(f"Report: {page.absolute()}")
