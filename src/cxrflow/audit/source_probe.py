"""Has the network learned the source, and does the source tell the class?

A linear probe (Alain and Bengio 2016, arXiv:1610.01644) of the source on the network's features, fitted on training
images and scored on test images. The features of an untrained network tell the source, too: how well, says what the
pictures give away. What the network has learned of the source is what its features tell better than those of untrained
twins, the same network with fresh weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cxrflow.audit.context import Audited
from cxrflow.audit.untrained import as_begun, untrained
from cxrflow.audit.verdicts import AuditTest, Limit, Result, Rows, one_source, simultaneous
from cxrflow.audit.words import CLEAR, FOUND, UNTOLD
from cxrflow.dataset import Dataset
from cxrflow.images.steps import shrink
from cxrflow.network import LoadedNetwork
from cxrflow.statistics.figure import Figure, average, in_words, missing
from cxrflow.statistics.intervals import Question, aurocs, weighted_auroc
from cxrflow.statistics.resampling import LEAST_GROUPS, Bootstrap, effective_groups, resamples
from cxrflow.task import Task
from cxrflow.terminal import track

#: Limit of the AUROC of the class from the source alone.
LIMIT = Limit(0.6)
#: Limit of what the network's features tell of the source within a class, more than an untrained twin's: AUROC.
LEARNED = Limit(0.05)
TWINS = 3

_HEALTHY = "no finding"
_SMALL = 16  # side of the small raw picture, pixels


@dataclass(frozen=True)
class Features:
    """What the source is told from, of the images of train and of test: float (n, k) each."""

    train: NDArray[np.float32]
    test: NDArray[np.float32]


@dataclass(frozen=True)
class _Areas:
    """The macro AUROC of the source: the figure, its value in each resample, and the fewest groups of a source."""

    figure: Figure
    draws: NDArray[np.float64]
    fewest: float


def run(context: Audited) -> Result:
    """The macro AUROC of the source, each source against the rest, over all images and within each class: from the
    network's features, from those of untrained twins, and from small raw pictures."""
    known: dict[tuple[Any, ...], Features] = {}

    def features(network: LoadedNetwork) -> Features:
        about = network.about
        key = network.module, about.images, about.mean, about.std  # twins may share a module
        if key not in known:
            sides = [side.of(about.images) for side in (context.train, context.test)]
            known[key] = Features(*(_features(network, side) for side in sides))
        return known[key]

    def beside(networks: Sequence[LoadedNetwork]) -> Features:
        each = [features(network) for network in networks]
        return Features(np.hstack([one.train for one in each]), np.hstack([one.test for one in each]))

    asked = track([context.predictor, *untrained(context, TWINS)], "features of the network and of untrained twins")
    trained, *twins = [beside(each.networks) for each in asked]
    begun = [features(each) if isinstance(each, LoadedNetwork) else each for each in as_begun(context)]
    return probe(context, trained, twins, begun)


def probe(
    context: Audited, trained: Features, twins: list[Features], begun: Sequence[Features | str | None] = ()
) -> Result:
    """The test, given the features of the network and of its untrained twins.

    begun  for each network of the bundle, its features as its training began: a figure beside the verdict, which it
           does not decide. A reason where they are not known, None where the weights were random.

    What is learned of the source is judged within the class without a finding, if the task has one: within the others,
    a network that sees how severe the disease is tells sources apart that differ in it. Without such a class, or too
    few of its pictures, the mean over the classes is judged, and does not find a shortcut alone.
    """
    task, records = context.task, (context.train.records, context.test.records)
    first = context.predictor.bundle.steps[0]
    raw = Features(*(_small(side.of(first).pixels()) for side in (context.train, context.test)))
    parts = {"overall": None, **{label: label for label in task.order}}
    told: dict[str, dict[str, Figure]] = {name: {} for name in ("features", "untrained", "learned", "small picture")}
    for part, label in parts.items():
        sides = [
            np.ones(len(side), np.bool_) if label is None else (side.label == label).to_numpy() for side in records
        ]
        areas = [_areas(records, view, sides, context.bootstrap) for view in (trained, *twins, raw)]
        told["features"][part], told["small picture"][part] = areas[0].figure, areas[-1].figure
        told["untrained"][part] = average([each.figure for each in areas[1:-1]])
        told["learned"][part] = _difference(areas[0], areas[1:-1])
    starts = [_as_begun(context, each) for each in begun]
    for figures in told.values():
        figures["within a class"] = average([figures[label] for label in task.order])
    healthy = without_finding(task)
    if healthy is not None and not told["learned"][healthy].known:
        healthy = None
    learned = simultaneous(told["learned"][healthy or "within a class"], context.claims)
    tie = simultaneous(class_from_source(context), context.claims, 0)
    judged = {LEARNED.judge(learned), LIMIT.judge(tie)}
    where = f"within {task.names[healthy]}" if healthy else "within a class"
    words = (
        "AUROC of the source within a class: from the network's features "
        f"{in_words(told['features']['within a class'])}, from those of the same network untrained "
        f"{in_words(told['untrained']['within a class'])}, from the raw picture of {_SMALL} x {_SMALL} pixels "
        f"{in_words(told['small picture']['within a class'])}. Training has added {in_words(learned)} {where}. This is "
        "a shortcut only if the source also tells the class; the source's name alone tells it with an AUROC of "
        f"{in_words(tie)}."
    )
    verdict = FOUND if judged == {FOUND} else CLEAR if CLEAR in judged else UNTOLD
    if healthy is None:
        words += (
            " Pictures without a finding cannot be judged here: sources that differ in the severity of the disease are "
            "told apart by that, too."
        )
        if verdict == FOUND:
            words += " It counts as a shortcut only where another test finds one."
    figures = {
        "features, within a class": told["features"]["within a class"],
        "untrained, within a class": told["untrained"]["within a class"],
        "small picture, within a class": told["small picture"]["within a class"],
        "class from source": tie,
    }
    for k, figure in enumerate(starts, start=1):
        if figure is not None:
            number = f" {k}" if len(starts) > 1 else ""
            figures[f"before training{number}, within a class"] = figure
    return Result(
        verdict,
        words,
        {"source": told, "learned": learned, "class_from_source": tie, "starts": starts},
        (Rows("auroc", "the source is told", figures), Rows("change", "source learned, AUROC", {where: learned})),
        alone=healthy is not None,
    )


def _features(network: LoadedNetwork, side: Dataset) -> NDArray[np.float32]:
    parts = [network.features(batch) for batch in side.batches()]
    return np.concatenate(parts) if parts else np.empty((0, 0), np.float32)


def _as_begun(context: Audited, begun: Features | str | None) -> Figure | None:
    """How well the features that a training began with tell the source within a class, the mean over the classes."""
    if not isinstance(begun, Features):
        return None if begun is None else missing(begun)
    records = (context.train.records, context.test.records)
    sides = [[(side.label == label).to_numpy() for side in records] for label in context.task.order]
    return average([_areas(records, begun, each, context.bootstrap).figure for each in sides])


def without_finding(task: Task) -> str | None:
    """The class whose images show no finding; None if there is none."""
    return next((name for name, findings in task.classes.items() if set(findings) == {_HEALTHY}), None)


def class_from_source(context: Audited) -> Figure:
    """Macro AUROC of the class from the source's name alone: the score of a class is its share of the source's training
    images."""
    train, test = context.train.records, context.test
    order = context.task.order
    shares = pd.crosstab(train.source, train.label, normalize="index").reindex(columns=list(order), fill_value=0)
    scores = shares.reindex(test.records.source).fillna(shares.mean()).to_numpy(float)
    names = context.task.names
    questions = {name: Question(scores[:, c], test.labels == name, names[name]) for c, name in enumerate(order)}
    return aurocs(questions, test.groups, context.bootstrap)[1]


def _areas(
    records: tuple[pd.DataFrame, pd.DataFrame], view: Features, sides: list[NDArray[np.bool_]], bootstrap: Bootstrap
) -> _Areas:
    """How well the source is told within some images of train and of test (``sides``)."""
    train, test = (side[rows] for side, rows in zip(records, sides, strict=True))
    sources = sorted(_sources(train) & _sources(test))
    if len(sources) < 2:
        return _Areas(missing(f"fewer than two sources have {LEAST_GROUPS} groups on either side"), np.empty(0), 0)
    used = [side.source.isin(sources).to_numpy() for side in (train, test)]
    x, asked = (features[rows][use] for features, rows, use in zip((view.train, view.test), sides, used, strict=True))
    model = LogisticRegression(C=0.01, class_weight="balanced", max_iter=500)
    fitted = make_pipeline(StandardScaler(), model).fit(x, train.source[used[0]].to_numpy(str))
    scores: NDArray[Any] = fitted.predict_proba(asked)
    truth, groups = test.source[used[1]].to_numpy(str), test.group_id[used[1]].to_numpy()
    questions = [Question(scores[:, k], truth == s, str(s)) for k, s in enumerate(fitted.classes_)]
    if len(questions) == 2:
        questions = questions[:1]  # the other one is the same
    figure = aurocs({question.yes: question for question in questions}, groups, bootstrap)[1]
    wanted = [side for question in questions for side in (question.positive, ~question.positive)]
    drawn = [
        np.mean([weighted_auroc(question.scores, question.positive, weights) for question in questions], axis=0)
        for weights in resamples(wanted, groups, bootstrap)
    ]
    return _Areas(figure, np.concatenate(drawn), min(effective_groups(groups[side]) for side in wanted))


def _difference(trained: _Areas, twins: list[_Areas]) -> Figure:
    """The AUROC from the network's features minus the mean of those from its twins', from the same resamples of groups.

    The interval is the value +- t times the standard error, from the variance over resamples and that over twins, with
    t for the fewest groups of a source."""
    if not trained.figure.known:
        return trained.figure
    values = [twin.figure.value for twin in twins]
    value = trained.figure.value - float(np.mean(values))
    over_groups = float(np.var(trained.draws - np.mean([twin.draws for twin in twins], axis=0), ddof=1))
    error = np.sqrt(over_groups + (np.var(values, ddof=1) / len(values) if len(values) > 1 else 0))
    half = float(stats.t.ppf(0.975, max(trained.fewest - 1, 1)) * error)
    return Figure(value, max(value - half, -1.0), min(value + half, 1.0), trained.figure.n, trained.figure.groups)


def _sources(records: pd.DataFrame) -> set[str]:
    """The sources with enough groups."""
    groups = records.groupby("source").group_id.nunique()
    return set(groups.index[groups >= LEAST_GROUPS])


def _small(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.stack([shrink(image, _SMALL).ravel() for image in images]).astype(np.float32) / np.float32(255)


TEST = AuditTest("source_probe", "Has it learned to tell the sources?", LIMIT, lambda _: 2, "source", run, one_source)
