"""Can the source be predicted from the network's features, or from the raw picture at a small size?

A linear probe (Alain and Bengio 2016, arXiv:1610.01644), fitted on training images and scored on test images. A source
that can be predicted is not a shortcut by itself, only if the source also predicts the class.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from cxrflow.audit.context import Audited
from cxrflow.audit.verdicts import FOUND, NOT_FOUND, UNTOLD, AuditTest, Limit, Result, Rows, simultaneous
from cxrflow.bundle import gradcam_layer
from cxrflow.images.steps import shrink
from cxrflow.predictor import Predictor
from cxrflow.statistics.figure import Figure, average, in_words, missing
from cxrflow.statistics.intervals import Question, aurocs
from cxrflow.statistics.resampling import LEAST_GROUPS, Bootstrap

#: Limit of the AUROC of the source within a class, and of the AUROC of the class from the source alone.
LIMIT = Limit(0.6)

_SMALL = 16  # side of the small raw picture, pixels


@dataclass(frozen=True)
class _Side:
    """Images of one split: records with source, label and group_id, and features float (n, k)."""

    records: pd.DataFrame
    features: NDArray[np.float32]

    def of(self, label: str) -> "_Side":
        return self.where(self.records.label == label)

    def where(self, rows: pd.Series) -> "_Side":
        return _Side(self.records[rows], self.features[rows.to_numpy()])

    def sources(self) -> set[str]:
        """The sources with enough groups."""
        groups = self.records.groupby("source").group_id.nunique()
        return set(groups.index[groups >= LEAST_GROUPS])


def run(context: Audited) -> Result:
    """The macro AUROC of the source, each source against the rest, over all images and within each class."""
    features = (network_features(context.predictor, side.batches()) for side in (context.train, context.test.dataset))
    return probe(context, *features)


def probe(context: Audited, of_train: NDArray[np.float32], of_test: NDArray[np.float32]) -> Result:
    """The test, given the network's features of the images of train and of test, float (n, k)."""
    train, test = context.train.records, context.test.dataset.records
    views = {
        "features": (_Side(train, of_train), _Side(test, of_test)),
        "small picture": (_Side(train, _small(context.train.pixels())), _Side(test, _small(context.test.images))),
    }
    told: dict[str, dict[str, Figure]] = {}
    for view, (fitted_on, asked) in views.items():
        figures = {"overall": _auroc(fitted_on, asked, context.bootstrap)}
        for label in context.task.order:
            figures[label] = _auroc(fitted_on.of(label), asked.of(label), context.bootstrap)
        within = average([figures[label] for label in context.task.order])
        told[view] = figures | {"within a class": simultaneous(within, context.claims, 0)}
    features, raw = told["features"], told["small picture"]
    tie = simultaneous(class_from_source(context), context.claims, 0)
    judged = {LIMIT.judge(features["within a class"]), LIMIT.judge(tie)}
    words = (
        f"AUROC of the source from the network's features: {in_words(features['overall'])}, within a class "
        f"{in_words(features['within a class'])}; from the raw picture of {_SMALL} x {_SMALL} pixels: "
        f"{in_words(raw['overall'])}, within a class {in_words(raw['within a class'])}. This is a shortcut only if the "
        f"source also tells the class; the source's name alone tells it with an AUROC of {in_words(tie)}."
    )
    rows = {
        "features, overall": features["overall"],
        "features, within a class": features["within a class"],
        "small picture, within a class": raw["within a class"],
        "class from source": tie,
    }
    return Result(
        FOUND if judged == {FOUND} else NOT_FOUND if NOT_FOUND in judged else UNTOLD,
        words,
        {"source": told, "class_from_source": tie},
        (Rows("auroc", "the source is told", rows),),
    )


def network_features(predictor: Predictor, batches: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """The input of the network's last linear layer or, without a linear layer, the channel means of its Grad-CAM layer:
    float32 (n, k).

    batches  uint8 (n, size, size) each, prepared by the bundle's steps
    """
    linear = [module for module in predictor.network.modules() if isinstance(module, nn.Linear)]
    layer = linear[-1] if linear else gradcam_layer(predictor.bundle, predictor.network)
    caught: list[torch.Tensor] = []

    def catch(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        value = inputs[0].flatten(1) if linear else output.mean(dim=(2, 3))
        caught.append(value.detach().float().cpu())

    handle = layer.register_forward_hook(catch)
    try:
        for images in batches:
            predictor.scores(images)
    finally:
        handle.remove()
    return np.asarray(torch.cat(caught).numpy())


def class_from_source(context: Audited) -> Figure:
    """Macro AUROC of the class from the source's name alone: the score of a class is its share of the source's training
    images."""
    train, test = context.train.records, context.test.dataset
    order = context.task.order
    shares = pd.crosstab(train.source, train.label, normalize="index").reindex(columns=list(order), fill_value=0)
    scores = shares.reindex(test.records.source).fillna(shares.mean()).to_numpy(float)
    names = context.task.names
    questions = {name: Question(scores[:, c], test.labels == name, names[name]) for c, name in enumerate(order)}
    return aurocs(questions, test.groups, context.bootstrap)[1]


def _auroc(train: _Side, test: _Side, bootstrap: Bootstrap) -> Figure:
    sources = sorted(train.sources() & test.sources())
    if len(sources) < 2:
        return missing(f"fewer than two sources have {LEAST_GROUPS} groups on either side")
    train, test = (side.where(side.records.source.isin(sources)) for side in (train, test))
    model = LogisticRegression(C=0.01, class_weight="balanced", max_iter=500)
    fitted = make_pipeline(StandardScaler(), model).fit(train.features, train.records.source.to_numpy(str))
    scores: NDArray[Any] = fitted.predict_proba(test.features)
    truth = test.records.source.to_numpy(str)
    questions = {str(s): Question(scores[:, k], truth == s, str(s)) for k, s in enumerate(fitted.classes_)}
    return aurocs(questions, test.records.group_id.to_numpy(), bootstrap)[1]


def _small(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.stack([shrink(image, _SMALL).ravel() for image in images]).astype(np.float32) / np.float32(255)


TEST = AuditTest("source_probe", "Can the source be told from the picture?", LIMIT, lambda _: 2, "source", run)
