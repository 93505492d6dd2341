"""Test 1: can the source be told, from what the network has made of a picture and from the raw small picture?

A linear probe (Alain and Bengio 2016, arXiv:1610.01644), fitted on training images and scored on test images. That the
source can be told is no shortcut by itself: it becomes one where the source also tells the class.
"""

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from cxrflow.audit.pictures import Pictures
from cxrflow.audit.verdicts import FOUND, NOT_FOUND, UNTOLD, Limits, Test, average, result, spoken
from cxrflow.bundle import gradcam_layer
from cxrflow.images.steps import shrink
from cxrflow.predictor import Predictor
from cxrflow.records import CLASSES
from cxrflow.statistics.intervals import Figure, Question, aurocs, missing

QUESTION = "Can the source be told from the picture?"
#: Of the AUROC of the source within a class, and of that of the class from the source alone.
LIMITS = Limits(found=0.6, clear=0.6, none=0.5)

_SMALL = 16  # side of the raw small picture
_LEAST = 4  # groups that a source must have on either side
_BATCH = 64


def source_probe(train: Pictures, test: Pictures, features: tuple[NDArray, NDArray], bootstrap: int, seed: int) -> Test:
    """The AUROC of the source, macro over sources, one against the rest, overall and within each class.

    features  of the pictures of train and of test, float (n, k), as ``network_features`` gives them
    """
    views = {"features": features, "small picture": (_small(train.images), _small(test.images))}
    told: dict[str, dict[str, Figure]] = {}
    for name, (of_train, of_test) in views.items():
        everywhere = np.ones(len(test.table), np.bool_), np.ones(len(train.table), np.bool_)
        figures = {"overall": _auroc(train.table, test.table, of_train, of_test, everywhere, bootstrap, seed)}
        for label in CLASSES:
            inside = (test.table.label == label).to_numpy(), (train.table.label == label).to_numpy()
            figures[label] = _auroc(train.table, test.table, of_train, of_test, inside, bootstrap, seed)
        told[name] = figures | {"within a class": average([figures[label] for label in CLASSES])}
    tie = class_from_source(train.table, test.table, bootstrap, seed)
    within = told["features"]["within a class"]
    judged = {LIMITS.judge(within), LIMITS.judge(tie)}
    verdict = FOUND if judged == {FOUND} else NOT_FOUND if NOT_FOUND in judged else UNTOLD
    raw = told["small picture"]
    words = (
        f"AUROC of the source from the network's features: {spoken(told['features']['overall'])}, within a class "
        f"{spoken(within)}; from the raw picture of {_SMALL} x {_SMALL} pixels: {spoken(raw['overall'])}, within a "
        f"class {spoken(raw['within a class'])}. It is a shortcut where the source in turn tells the class: the "
        f"source's name alone does so with {spoken(tie)}."
    )
    return result(QUESTION, verdict, words, source=told, class_from_source=tie)


def network_features(predictor: Predictor, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What goes into the network's last linear layer, or, where it has none, the mean of each plane of its Grad-CAM
    layer: float32 (n, k).

    images  uint8 (n, size, size), prepared by the bundle's steps
    """
    linear = [module for module in predictor.network.modules() if isinstance(module, nn.Linear)]
    layer = linear[-1] if linear else gradcam_layer(predictor.bundle, predictor.network)
    caught: list[torch.Tensor] = []

    def catch(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        value = inputs[0].flatten(1) if linear else output.mean(dim=(2, 3))
        caught.append(value.detach().float().cpu())

    handle = layer.register_forward_hook(catch)
    try:
        for start in range(0, len(images), _BATCH):
            predictor.scores(images[start : start + _BATCH])
    finally:
        handle.remove()
    return torch.cat(caught).numpy()


def class_from_source(train: pd.DataFrame, test: pd.DataFrame, bootstrap: int, seed: int) -> Figure:
    """Macro AUROC of the class from the name of the source alone: each class's share of the source's training images
    is its score."""
    shares = pd.crosstab(train.source, train.label, normalize="index").reindex(columns=list(CLASSES), fill_value=0)
    scores = shares.reindex(test.source).fillna(shares.mean()).to_numpy(float)
    labels = test.label.to_numpy(str)
    questions = {name: Question(scores[:, c], labels == name, name) for c, name in enumerate(CLASSES)}
    return aurocs(questions, test.group_id.to_numpy(), bootstrap, seed)[1]


def _auroc(
    train: pd.DataFrame,
    test: pd.DataFrame,
    of_train: NDArray,
    of_test: NDArray,
    where: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    bootstrap: int,
    seed: int,
) -> Figure:
    on_test, on_train = where
    groups = [table[rows].groupby("source").group_id.nunique() for table, rows in ((test, on_test), (train, on_train))]
    enough = [set(counted.index[counted >= _LEAST]) for counted in groups]
    sources = sorted(enough[0] & enough[1])
    if len(sources) < 2:
        return missing(f"fewer than two sources have {_LEAST} groups on either side")
    on_test, on_train = on_test & test.source.isin(sources).to_numpy(), on_train & train.source.isin(sources).to_numpy()
    model = LogisticRegression(C=0.01, class_weight="balanced", max_iter=500)
    probe = make_pipeline(StandardScaler(), model).fit(of_train[on_train], train.source[on_train].to_numpy(str))
    scores = probe.predict_proba(of_test[on_test])
    truth = test.source[on_test].to_numpy(str)
    questions = {str(s): Question(scores[:, k], truth == s, str(s)) for k, s in enumerate(probe.classes_)}
    return aurocs(questions, test.group_id[on_test].to_numpy(), bootstrap, seed)[1]


def _small(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.stack([shrink(image, _SMALL).ravel() for image in images]).astype(np.float32) / np.float32(255)
