"""Commands to functions; no logic."""

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from cxrflow import __version__
from cxrflow.errors import CxrflowError
from cxrflow.params import Params, check_start, load_params, resolved_yaml, set_run

# Imports of torch, Ibis and matplotlib stand in the commands that need them: the others answer at once.

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="From collections of chest radiographs to a trained, honestly evaluated, explained classifier. "
    "Research software, not a diagnostic device.",
)

DATA, RESULTS = Path("data"), Path("results")
BUNDLE = RESULTS / "training" / "bundle"

ParamsFile = Annotated[Path, typer.Option("--params", help="Parameter file.")]
BundleFolder = Annotated[Path, typer.Option("--bundle", help="Folder of the bundle.")]
EngineName = Annotated[Literal["local", "spark"] | None, typer.Option(help="Instead of the parameter file's engine.")]


def _load(path: Path, engine: str | None = None) -> Params:
    params = load_params(path)
    return params.model_copy(update={"engine": engine}) if engine else params


@app.command()
def configure(
    sources: Annotated[str, typer.Option(help="Folder that holds the collections.")],
    overrides: Annotated[str | None, typer.Option(help="File in params/ laid over, without .yaml.")] = None,
    params: ParamsFile = Path("params.yaml"),
) -> None:
    """Set in params.yaml what to run on and which overrides to lay over it; the rest of the file stays as it is."""
    from cxrflow.sources import find_collections

    if Path(sources) != DATA / "demo":  # not drawn yet at the first run
        find_collections(Path(sources))
    set_run(params, sources, overrides)


@app.command("params")
def show_params(
    out: Annotated[Path | None, typer.Option(help="File to write; printed otherwise.")] = None,
    params: ParamsFile = Path("params.yaml"),
) -> None:
    """Check every parameter and write those in force, overrides laid over."""
    from cxrflow.files import write_whole
    from cxrflow.models.measure import check_size

    loaded = load_params(params)
    check_start(loaded.training, RESULTS / "training")
    check_size(loaded.training.model, loaded.images.channels, loaded.images.size)
    if loaded.audit.retrain_epochs:
        smaller = min(loaded.images.size, loaded.audit.retrain_size)
        check_size(loaded.training.model, loaded.images.channels, smaller, "audit.retrain_size")
    text = resolved_yaml(loaded)
    if out is None:
        sys.stdout.write(text)
    else:
        write_whole(out, text.encode())


@app.command()
def demo(params: ParamsFile = Path("params.yaml")) -> None:
    """Draw synthetic radiographs in the layouts of the real collections."""
    from cxrflow.synthetic.demo import write_demo

    write_demo(DATA / "demo", load_params(params).demo)


@app.command()
def metadata(
    params: ParamsFile = Path("params.yaml"),
    sources: Annotated[str | None, typer.Option(help="Instead of the parameter file's sources.root.")] = None,
    files: Annotated[
        Literal["required", "ignored"] | None, typer.Option(help="ignored: count records without their images.")
    ] = None,
    engine: EngineName = None,
    out: Annotated[Path | None, typer.Option(help="One folder for all that is written.")] = None,
) -> None:
    """Merge the collections, leave out repeats, group by patient, split; print how the rows add up."""
    from cxrflow.engines import open_engine
    from cxrflow.metadata import stage

    loaded = _load(params, engine)
    where = loaded.sources.model_copy(update={"root": sources} if sources else {})
    how = loaded.metadata.model_copy(update={"files": files} if files else {})
    with open_engine(loaded) as opened:
        stage.run(where, how, opened, out or DATA / "metadata", out or RESULTS / "metadata")


@app.command()
def images(params: ParamsFile = Path("params.yaml"), engine: EngineName = None) -> None:
    """Crop, resize and equalise every kept image into one array."""
    from cxrflow.engines import open_engine
    from cxrflow.images.examples import write_examples
    from cxrflow.images.prepare import prepare_images
    from cxrflow.records import read_kept
    from cxrflow.sources import find_collections

    loaded = _load(params, engine)
    kept = read_kept(DATA / "metadata" / "records.csv")
    root, _ = find_collections(Path(loaded.sources.root))
    with open_engine(loaded) as opened:
        store = prepare_images(kept, root, loaded.images, opened, DATA / "images")
    write_examples(kept, root, loaded.images, RESULTS / "images" / "examples.png")
    left_out = store.index[store.index.left_out.notna()]
    Console().print(f"{len(store.index) - len(left_out):,} images prepared, {len(left_out)} left out.")
    for row in left_out.itertuples():
        Console().print(f"  {row.image_id}: {row.left_out}", markup=False)


@app.command()
def training(params: ParamsFile = Path("params.yaml")) -> None:
    """Train, resume where a run was interrupted, and write the bundle chosen on val."""
    from cxrflow.evaluation.operating import choose_on_val
    from cxrflow.images.prepare import open_store
    from cxrflow.records import read_kept
    from cxrflow.training.train import train

    loaded = load_params(params)
    kept, store = read_kept(DATA / "metadata" / "records.csv"), open_store(DATA / "images")
    bundle = train(kept, store, loaded.images, loaded.training, RESULTS / "training")
    if bundle is None:  # the first of several processes says it
        return
    choose_on_val(BUNDLE, kept, store, loaded.evaluation)
    Console().print(f"Epoch {bundle.epoch} chosen, macro AUROC on val {bundle.validation['macro_auroc']:.3f}: {BUNDLE}")


@app.command()
def evaluation(params: ParamsFile = Path("params.yaml")) -> None:
    """Score the test split once, with intervals, within each source, and beside a baseline that sees no pixel."""
    from cxrflow.evaluation.evaluate import evaluate_split
    from cxrflow.evaluation.tables import print_figures
    from cxrflow.images.prepare import open_store
    from cxrflow.predictor import Predictor
    from cxrflow.records import read_kept

    kept, store = read_kept(DATA / "metadata" / "records.csv"), open_store(DATA / "images")
    print_figures(
        evaluate_split(Predictor(BUNDLE), kept, store, load_params(params).evaluation, RESULTS / "evaluation")
    )


@app.command()
def cross_validate(
    folds: Annotated[int, typer.Option(min=2, help="Parts that the groups are cut into.")] = 5,
    without_test: Annotated[
        bool, typer.Option(help="Leave the test split's groups out: for choosing a recipe.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Folder for the trainings and the figures.")] = RESULTS / "cross-validation",
    params: ParamsFile = Path("params.yaml"),
) -> None:
    """Score every image once, by a network that has seen nobody of its group; goes on where it was interrupted."""
    from cxrflow.evaluation.tables import print_figures
    from cxrflow.images.prepare import open_store
    from cxrflow.metadata.groups import with_children
    from cxrflow.records import read_kept
    from cxrflow.studies.cross_validate import cross_validate as run

    loaded = load_params(params)
    kept, store = read_kept(DATA / "metadata" / "records.csv"), open_store(DATA / "images")
    kept = kept[kept.split != "test"] if without_test else kept
    children = with_children(kept) if loaded.metadata.paediatric == "train" else None
    ledger = RESULTS / "evaluation" / "ledger.csv"
    print_figures(run(kept, store, loaded.images, loaded.training, loaded.evaluation, folds, out, ledger, children))


@app.command()
def leave_one_out(
    without_test: Annotated[
        bool, typer.Option(help="Leave the test split's groups out: for choosing a recipe.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Folder for the trainings and the figures.")] = RESULTS / "leave-one-out",
    params: ParamsFile = Path("params.yaml"),
) -> None:
    """Train without each source in turn and test on it; goes on where it was interrupted."""
    from cxrflow.images.prepare import open_store
    from cxrflow.metadata.groups import with_children
    from cxrflow.records import read_kept
    from cxrflow.studies.leave_one_out import leave_one_out as run
    from cxrflow.studies.leave_one_out import print_leave_one_out

    loaded = load_params(params)
    kept, store = read_kept(DATA / "metadata" / "records.csv"), open_store(DATA / "images")
    kept = kept[kept.split != "test"] if without_test else kept
    ledger = RESULTS / "evaluation" / "ledger.csv"
    if loaded.metadata.paediatric == "train":  # whole sources are tested here
        kept = kept[~with_children(kept)]
    print_leave_one_out(run(kept, store, loaded.images, loaded.training, loaded.evaluation, out, ledger))


@app.command()
def explanation(params: ParamsFile = Path("params.yaml")) -> None:
    """Grad-CAM of test images, right and wrong ones of each class."""
    import pandas as pd

    from cxrflow.explanation.explain import explain
    from cxrflow.images.prepare import open_store
    from cxrflow.predictor import Predictor
    from cxrflow.records import read_kept
    from cxrflow.sources import find_collections

    loaded = load_params(params)
    kept, store = read_kept(DATA / "metadata" / "records.csv"), open_store(DATA / "images")
    predictions = pd.read_csv(RESULTS / "evaluation" / "predictions.csv")
    where, _ = find_collections(Path(loaded.sources.root))
    explain(Predictor(BUNDLE), kept, store, predictions, where, loaded.explanation, RESULTS / "explanation")


@app.command()
def audit(params: ParamsFile = Path("params.yaml")) -> None:
    """Does it see the disease or the hospital? Seven tests on the test split, each with a verdict in words."""
    import pandas as pd

    from cxrflow.audit.audit import audit as run
    from cxrflow.images.prepare import open_store
    from cxrflow.predictor import Predictor
    from cxrflow.records import read_kept
    from cxrflow.sources import find_collections

    loaded = load_params(params)
    kept, store = read_kept(DATA / "metadata" / "records.csv"), open_store(DATA / "images")
    predictions = pd.read_csv(RESULTS / "evaluation" / "predictions.csv")
    evaluated = json.loads((RESULTS / "evaluation" / "metrics.json").read_text())
    where, _ = find_collections(Path(loaded.sources.root))
    out, ledger = RESULTS / "audit", RESULTS / "evaluation" / "ledger.csv"
    found = run(Predictor(BUNDLE), kept, store, predictions, evaluated, where, loaded, out, ledger)
    for test in found["tests"].values():
        Console().print(f"[bold]{test['verdict']}[/bold]  {test['question']} {test['words']}", soft_wrap=True)


@app.command()
def report(params: ParamsFile = Path("params.yaml")) -> None:
    """One self-contained page of everything that the run did."""
    from cxrflow.report.page import write_report

    page = write_report(load_params(params), RESULTS)
    Console().print(f"Report: {page.absolute()}", soft_wrap=True)


@app.command()
def lungs(
    sources: Annotated[Path, typer.Option(help="Folder of collections; covid-chestxray with its lung masks is one.")],
    out: Annotated[Path, typer.Option(help="Folder for the network, its figures and checkpoints.")] = RESULTS / "lungs",
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training images.")] = 150,
    params: ParamsFile = Path("params.yaml"),
) -> None:
    """Train the lung segmenter again (a trained one ships with cxrflow), on training-split patients alone."""
    from cxrflow.engines import LocalEngine
    from cxrflow.lungs.train import run
    from cxrflow.metadata.build import build_records

    how = load_params(params).metadata.model_copy(update={"files": "required"})
    built = build_records(sources, None, how, LocalEngine(), out / "fingerprints.sqlite")
    figures = run(built.records, built.root, epochs, out)
    for side in ("val", "test"):
        f = figures[side]
        Console().print(
            f"{side}: Dice {f['mean']:.3f} on average, {f['p10']:.3f} 10th percentile, {f['least']:.3f} least, "
            f"{f['empty']} empty, of {f['images']} images; {f['milliseconds']:.0f} ms an image."
        )
    Console().print(f"Network: {out / 'lungs.onnx'}", soft_wrap=True)


@app.command()
def predict(
    paths: Annotated[list[Path], typer.Argument(help="Pictures, DICOM files, or folders of them.")],
    bundle: BundleFolder = BUNDLE,
    out: Annotated[Path, typer.Option(help="CSV file to write.")] = Path("predictions.csv"),
) -> None:
    """Score radiographs with a bundle. Research software: not for diagnosis."""
    from cxrflow.engines import LocalEngine
    from cxrflow.predictor import Predictor, find_images, predict_files

    table = predict_files(Predictor(bundle), find_images(paths), LocalEngine(), out)
    left_out = table.left_out.notna().sum()
    counts = (
        f"{len(table) - left_out:,} images scored, {table.flag.notna().sum():,} of them flagged, {left_out} left out"
    )
    Console().print(f"{counts}: {out}", soft_wrap=True)


@app.command()
def evaluate(
    sources: Annotated[Path, typer.Option(help="Folder of collections that the bundle has not seen.")],
    out: Annotated[Path, typer.Option(help="Folder for the figures and the page.")],
    bundle: BundleFolder = BUNDLE,
    params: ParamsFile = Path("params.yaml"),
    engine: EngineName = None,
    ledger: Annotated[Path, typer.Option(help="Ledger of looks at test sets.")] = RESULTS / "evaluation" / "ledger.csv",
) -> None:
    """External validation: the figures of the evaluation stage on collections never seen, Grad-CAM, and the page."""
    import pandas as pd

    from cxrflow.engines import open_engine
    from cxrflow.evaluation.evaluate import evaluate_collections
    from cxrflow.evaluation.tables import print_figures
    from cxrflow.explanation.explain import explain
    from cxrflow.images.prepare import open_store
    from cxrflow.metadata.stage import print_reconciliation
    from cxrflow.predictor import Predictor
    from cxrflow.report.page import write_evaluation

    loaded = _load(params, engine)
    predictor = Predictor(bundle)
    with open_engine(loaded) as opened:
        figures, built = evaluate_collections(
            predictor, sources, loaded.metadata, loaded.evaluation, opened, out, ledger
        )
    print_reconciliation(built.records)
    print_figures(figures)
    kept, store = built.records[built.records.left_out.isna()], open_store(out / "images")
    predictions = pd.read_csv(out / "predictions.csv")
    explain(predictor, kept, store, predictions, built.root, loaded.explanation, out / "explanation")
    page = write_evaluation(loaded, predictor.bundle, built.root, out, ledger)
    Console().print(f"Page: {page.absolute()}", soft_wrap=True)


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="Folder of a bundle.")],
    b: Annotated[Path, typer.Argument(help="Folder of another.")],
    sources: Annotated[
        Path | None, typer.Option(help="Folder of collections that neither has seen, instead of the test split.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the figures.")] = RESULTS / "comparison",
    params: ParamsFile = Path("params.yaml"),
    engine: EngineName = None,
) -> None:
    """Compare two bundles on the same images, which neither has seen: differences with intervals."""
    from cxrflow.engines import open_engine
    from cxrflow.evaluation.tables import print_comparison
    from cxrflow.images.prepare import open_store
    from cxrflow.predictor import Predictor
    from cxrflow.records import read_kept
    from cxrflow.sources import find_collections
    from cxrflow.studies.compare import compare_collections, compare_stored

    loaded, both = _load(params, engine), (Predictor(a), Predictor(b))
    ledger = RESULTS / "evaluation" / "ledger.csv"
    with open_engine(loaded) as opened:
        if sources is None:
            kept, store = read_kept(DATA / "metadata" / "records.csv"), open_store(DATA / "images")
            root, _ = find_collections(Path(loaded.sources.root))
            found = compare_stored(both, kept, root, store, loaded.evaluation, opened, out, ledger)
        else:
            found = compare_collections(both, sources, loaded.metadata, loaded.evaluation, opened, out, ledger)
        print_comparison(found)


@app.command()
def frontal(
    sources: Annotated[
        Path, typer.Option(help="Folder of collections, covid-chestxray with its CT slices among them.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the weights and the figures.")] = RESULTS / "frontal",
    params: ParamsFile = Path("params.yaml"),
    engine: EngineName = None,
) -> None:
    """Fit the check for frontal radiographs that reading uses, and measure it (docs/frontal.md)."""
    from cxrflow.engines import open_engine
    from cxrflow.metadata.fit_frontal import fit_frontal, print_figures

    loaded = _load(params, engine)
    with open_engine(loaded) as opened:
        print_figures(fit_frontal(sources, loaded.metadata, opened, out))


@app.command("import-tensorflow")
def import_network(
    meta: Annotated[Path, typer.Option(help="TensorFlow 1 meta graph, model.meta.")],
    checkpoint: Annotated[Path, typer.Option(help="Checkpoint, without the .index and .data-... of its files.")],
    classes: Annotated[str, typer.Option(help="Order of the network's outputs, as in normal,pneumonia,covid.")],
    out: Annotated[Path, typer.Option(help="Folder for the bundle.")] = RESULTS / "imported",
    input_name: Annotated[str, typer.Option("--input", help="Tensor of the pictures.")] = "input_1:0",
    logits: Annotated[str, typer.Option(help="Tensor of the logits.")] = "norm_dense_1/MatMul:0",
    probabilities: Annotated[str, typer.Option(help="Tensor of their softmax.")] = "norm_dense_1/Softmax:0",
    size: Annotated[int | None, typer.Option(min=32, help="Side of the pictures where the graph fixes none.")] = None,
    trained_on: Annotated[
        str, typer.Option(help="What is known of its training images.")
    ] = "COVIDx, by COVID-Net's authors: which images and patients is unknown",
    python: Annotated[Path | None, typer.Option(help="Interpreter with TensorFlow; one is set up otherwise.")] = None,
) -> None:
    """Turn a TensorFlow 1 meta graph and checkpoint, COVID-Net's as released, into a bundle."""
    from cxrflow.importing.import_tensorflow import Released, import_tensorflow

    released = Released(meta, checkpoint, input_name, logits, probabilities, size)
    bundle, difference = import_tensorflow(released, classes.split(","), trained_on, python, out)
    Console().print(
        f"Pictures of {bundle.images.size} pixels, {bundle.images.channels} channels; at most {difference:.1e} from "
        f"TensorFlow on random images: {out}",
        soft_wrap=True,
    )


@app.command()
def sources() -> None:
    """The collections that cxrflow reads, and the folders it looks for."""
    from rich.table import Table

    from cxrflow.sources import SOURCES

    table = Table("collection", "folder")
    for collection in SOURCES.values():
        table.add_row(collection.name, collection.folder or "any, with a CSV table of path, label, patient")
    Console().print(table)


@app.command()
def models(
    as_json: Annotated[bool, typer.Option("--json", help="A list of objects for programs.")] = False,
) -> None:
    """The networks that training.model may name."""
    from dataclasses import asdict

    from rich.table import Table

    from cxrflow.models import MODELS
    from cxrflow.models.measure import measure

    measured = [measure(name) for name in MODELS]
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in measured], indent=2))
        return
    table = Table("model", "parameters (M)", "MACs (G)", "default size", "Grad-CAM layer")
    for row in measured:
        figures = f"{row.parameters_m:.1f}", f"{row.macs_g:.2f}", str(row.default_size)
        table.add_row(row.name, *figures, row.gradcam_layer)
    Console().print(table)
    Console().print(
        "With 3 planes and 3 classes, multiply-accumulates and layer at the default size; any other size goes too.\n"
        "timm:NAME    most convolutional networks of timm, such as timm:tresnet_m, with random weights\n"
        "xrv:WEIGHTS  torchxrayvision's, pretrained on radiographs, such as xrv:densenet121-res224-all "
        "(pip install 'cxrflow\\[xrv]')",
        highlight=False,
        soft_wrap=True,
    )


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    """Print the version where asked."""
    if show:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Entry point: an error is one sentence on standard error and exit status 1; an interruption 130."""
    try:
        app()
    except CxrflowError as error:
        sys.exit(f"cxrflow: {error}")
    except OSError as error:
        sys.exit(f"cxrflow: {error.filename or 'file'}: {error.strerror or error}.")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
