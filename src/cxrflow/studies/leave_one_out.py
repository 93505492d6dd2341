"""Leave one source out: each source is scored by a network that has seen none of its images and none of its patients.

In use, a classifier meets new hospitals; a test split from the hospitals it was trained on does not show this.
"""

from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from rich.markup import escape
from rich.table import Column, Table

from cxrflow.dataset import Dataset
from cxrflow.errors import CxrflowError
from cxrflow.evaluation.ledger import test_set_hash
from cxrflow.evaluation.predictions import write_predictions
from cxrflow.evaluation.seen import seen_before
from cxrflow.files import write_json
from cxrflow.params import Params
from cxrflow.predictor import Predictor
from cxrflow.records import are_drawn
from cxrflow.statistics.figure import Figure, in_words, missing, to_json
from cxrflow.statistics.resampling import Bootstrap, too_few_groups
from cxrflow.statistics.scored import Scored
from cxrflow.statistics.within import within_sources
from cxrflow.studies.folds import enter_together, one_process, only_trained, train_or_val
from cxrflow.task import Task
from cxrflow.terminal import INTERVAL, console, remark
from cxrflow.text import number_of
from cxrflow.training.train import train

#: Minimum number of training groups of a class; figures of a class with fewer are missing.
ENOUGH_GROUPS = 10


def leave_one_out(
    dataset: Dataset, params: Params, out: Path, ledger: Path, features: Path | None = None, to_follow: int = 0
) -> dict[str, Any]:
    """Train without each source in turn, and score it: AUROC within the source, for each pair of classes.

    dataset  its own split is not used; the images of ``only_trained`` are left out, since whole sources are tested.
             Groups with an image in the tested source are not trained on.
    out      a folder for each source with the outputs of a training stage, resumed if interrupted and kept once
             finished; ``predictions.csv``; ``metrics.json``, the returned figures
    features  cache for the features of a frozen backbone, by default ``out/features``
    to_follow  trainings that follow these: to say how long all take
    Returns ``sources`` (for each ``n``, ``groups``, ``trained_on``, a count of images by class, ``overlap``, and for
    each pair ``<a>_vs_<b>``), ``all`` (for each pair ``within_sources`` over the sources left out) and ``test_set``.
    A class without training or validation images is not trained on; the other classes are. A figure is missing if the
    source lacks a class, or if fewer than ENOUGH_GROUPS training groups of a class remain; if all figures of a source
    are missing, nothing is trained.
    Raises CxrflowError as ``train``, with fewer than two sources, and if ``torchrun`` started several processes.
    """
    one_process("leave-one-out")
    dataset = dataset.where(~only_trained(dataset, params))
    task, bootstrap = dataset.task, Bootstrap(params.evaluation.bootstrap, params.evaluation.seed)
    names = sorted(dataset.records.source.unique())
    if len(names) < 2:
        raise CxrflowError(f"leave-one-out: {', '.join(names) or 'no source'} alone; two sources or more are needed.")
    sides = dataset.divided(train_or_val(dataset.groups))
    probabilities = np.full((len(dataset), len(task.order)), np.nan)
    # Whether the network that scored a row was trained on each class.
    taught = np.zeros(probabilities.shape, dtype=np.bool_)
    weights: list[str] = []
    sources: dict[str, dict[str, Any]] = {}
    for number, name in enumerate(names, start=1):
        inside = (dataset.records.source == name).to_numpy()
        held_out, overlap = dataset.where(inside), None
        rest = sides.where(~np.isin(dataset.groups, held_out.groups))
        classes = [label for label in task.order if not _lacks(rest, label)]
        untaught = {label: _untaught(rest, label, name) for label in task.order}
        rest = rest.where(np.isin(rest.labels, classes))
        remark(f"Without {name} ({number} of {len(names)}): {number_of(len(rest), 'image')} to learn from")
        reasons = {(a, b): _absent(held_out, (a, b), name) or untaught[a] or untaught[b] for a, b in task.pairs}
        figures = {pair: missing(reason) for pair, reason in reasons.items() if reason}
        if len(figures) < len(reasons):
            place = out / _folder(name, names)
            more, drawn = len(names) - number + to_follow, are_drawn(Path(params.sources.root))
            train(rest, params.images, params.training, place, classes, features or out / "features", more, drawn)
            predictor = Predictor(place / "bundle", features=features or out / "features")
            probabilities[inside] = predictor.score(held_out)
            taught[inside] = [untaught[label] is None for label in task.order]
            weights.append(predictor.bundle.digests["weights"])
            overlap = seen_before(predictor.bundle, predictor.folder, held_out.records)
            scored = Scored(task, held_out.records, probabilities[inside], bootstrap)
            figures |= {pair: within_sources(scored, pair) for pair, reason in reasons.items() if not reason}
        sources[name] = {
            "n": len(held_out),
            "groups": len(set(held_out.groups)),
            "trained_on": {label: int((rest.labels == label).sum()) for label in task.order},
            "overlap": overlap,
            **{f"{a}_vs_{b}": figures[a, b] for a, b in task.pairs},
        }
    tested = dataset.records[~np.isnan(probabilities).any(axis=1)]
    together = enter_together(weights, tested, out / "metrics.json", ledger) if weights else None
    everything: dict[str, Figure] = {}
    for a, b in task.pairs:
        known = taught[:, task.order.index(a)] & taught[:, task.order.index(b)]
        everything[f"{a}_vs_{b}"] = (
            within_sources(Scored(task, dataset.records[known], probabilities[known], bootstrap), (a, b))
            if known.any()
            else missing(f"no network has learned both {task.names[a]} and {task.names[b]}")
        )
    found = {
        "sources": sources,
        "all": everything,
        "test_set": {"hash": test_set_hash(tested), "bundle": together},
    }
    write_predictions(dataset, probabilities, out / "predictions.csv")
    write_json(out / "metrics.json", to_json(found))
    return found


def print_leave_one_out(found: dict[str, Any], task: Task) -> None:
    """Print the result of ``leave_one_out``, a row for each source and pair."""
    table = Table(
        "left out",
        "pair",
        Column("AUROC", min_width=INTERVAL),
        "images",
        title="Each source scored by a network that never saw it",
    )
    for name, of_source in chain(found["sources"].items(), [("all, each within itself", found["all"])]):
        for position, (a, b) in enumerate(task.pairs):
            figure = of_source[f"{a}_vs_{b}"]
            shown = escape(str(name)) if position == 0 else ""
            pair = f"{task.names[a]} vs {task.names[b]}"
            table.add_row(shown, escape(pair), escape(in_words(figure, 3)), str(figure.n if figure.known else ""))
        table.add_section()
    console().print(table)
    for name, of_source in found["sources"].items():
        if of_source["overlap"]:
            console().print(f"Overlap of {name} with training: {of_source['overlap']}", markup=False)


def _untaught(rest: Dataset, label: str, source: str) -> str | None:
    """Why ``rest`` does not suffice to train on a class; None if it does."""
    name = rest.task.names[label]
    if absent := _lacks(rest, label):
        return f"without {source} there is no {name} to {absent}"
    train = rest.split("train")
    groups = len(set(train.groups[train.labels == label]))
    return (
        None
        if groups >= ENOUGH_GROUPS
        else f"without {source} {too_few_groups(groups, ENOUGH_GROUPS, name)} to train on"
    )


def _lacks(rest: Dataset, label: str) -> str | None:
    """The use for which a class has no image: ``train on`` or ``choose the epoch on``; None if it has both."""
    sides = set(rest.records.split[rest.labels == label])
    uses = {"train": "train on", "val": "choose the epoch on"}
    return next((use for side, use in uses.items() if side not in sides), None)


def _absent(held_out: Dataset, pair: tuple[str, str], source: str) -> str | None:
    absent = next((label for label in pair if label not in held_out.labels), None)
    return absent and f"{source} has no {held_out.task.names[absent]} image"


def _folder(name: str, names: list[str]) -> str:
    """The name of a source's folder, with special characters replaced."""
    plain = "".join(c if c.isalnum() or c in "-_" else "_" for c in name)
    return plain if plain == name else f"{plain}-{names.index(name)}"
