"""External validation: a bundle's figures on collections that it has not seen, with Grad-CAM and the HTML page."""

from pathlib import Path

from cxrflow.engines import Engine
from cxrflow.evaluation.evaluate import evaluate_collections
from cxrflow.evaluation.predictions import read_predictions
from cxrflow.evaluation.tables import print_figures
from cxrflow.explanation.explain import explain
from cxrflow.metadata.stage import print_reconciliation, print_tables_read
from cxrflow.params import Params
from cxrflow.predictor import Predictor
from cxrflow.report.page import write_evaluation
from cxrflow.sources import find_root


def validate(folder: Path, params: Params, engine: Engine, out: Path, ledger: Path) -> Path:
    """Score every kept image of the collections in ``params.sources`` with the bundle in ``folder``, print the figures,
    and write them with their explanation and page into ``out``; returns the page's path.

    ledger  file that counts looks at test sets
    Raises CxrflowError without a bundle, without collections, or if the bundle has seen every image.
    """
    find_root(params.sources)  # before the bundle is opened
    predictor = Predictor(folder)
    figures, built, dataset = evaluate_collections(predictor, params, engine, out, ledger)
    print_reconciliation(built.table)
    print_tables_read(built)
    print_figures(figures, predictor.bundle.task)
    predictions = read_predictions(out / "predictions.csv", predictor.bundle.task)
    explain(predictor, dataset, predictions, built.root.folder, params.explanation, out / "explanation")
    return write_evaluation(params, predictor.bundle, built.root.folder, out, ledger)
