"""The head of a frozen backbone (``training.freeze``): a multinomial logistic regression in the last linear layer."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler
from torch import nn

from cxrflow.metadata.groups import folds_of
from cxrflow.network import last_linear
from cxrflow.params import Training

#: Values of C, the inverse of the penalty's strength, from which the head's is chosen.
CS = tuple(float(c) for c in 10.0 ** np.arange(-4, 0.6, 0.5))
#: Bias of a class without training images, whose weights are 0: the others have a mean logit of 0.
NOT_LEARNED = -100.0
_FOLDS = 5
_MOST_STEPS = 2000


@dataclass(frozen=True, slots=True)
class Head:
    """A linear layer: logits = features @ weight.T + bias.

    weight  float64 (classes, k)
    bias    float64 (classes,)
    c       the chosen value of CS
    """

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    c: float

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Logits of features, float (n, k): float64 (n, classes)."""
        return np.asarray(features @ self.weight.T + self.bias, np.float64)

    def put_into(self, module: nn.Module) -> None:
        """Set the last linear layer of a network to this head."""
        layer = last_linear(module)
        assert layer is not None  # noqa: S101
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(self.weight))
            layer.bias.copy_(torch.from_numpy(self.bias))


def fit_head(
    features: NDArray[np.float32],
    truth: NDArray[np.int64],
    weights: NDArray[np.float64],
    groups: NDArray[np.str_],
    classes: int,
) -> Head:
    """Fit scikit-learn's logistic regression to the standardised features of the training images.

    features  (n, k)
    truth     class indices (n,), of at least two classes
    weights   of the images in the loss (n,), with mean 1
    groups    (n,)
    C is the value of CS with the least weighted cross-entropy in a cross-validation of five folds of the groups; none
    larger is tried once it has risen twice. Where no fold can be left out, as with one group a class, it is the
    smallest.
    """
    c = _choose_c(features, truth, weights, folds_of(groups, _FOLDS, "head"))
    scaler = StandardScaler().fit(features.astype(np.float64))
    regression = _regression(c).fit(scaler.transform(features.astype(np.float64)), truth, weights)
    coefficients, intercepts = regression.coef_, regression.intercept_
    if len(regression.classes_) == 2:  # scikit-learn gives the logit of the second class against the first
        coefficients, intercepts = np.vstack([-coefficients, coefficients]) / 2, np.r_[-intercepts, intercepts] / 2
    weight, bias = np.zeros((classes, features.shape[1])), np.full(classes, NOT_LEARNED)
    weight[regression.classes_] = coefficients / scaler.scale_
    bias[regression.classes_] = intercepts - weight[regression.classes_] @ scaler.mean_
    return Head(weight, bias, c)


def _choose_c(
    features: NDArray[np.float32], truth: NDArray[np.int64], weights: NDArray[np.float64], fold: NDArray[np.int64]
) -> float:
    """The value of CS with the least weighted cross-entropy over the images of all folds, each left out in turn.

    An image is left aside where no other image of its class remains to learn from.
    """
    sides = []
    for number in np.unique(fold):
        learned = fold != number
        tested = ~learned & np.isin(truth, np.unique(truth[learned]))
        if len(np.unique(truth[learned])) > 1 and tested.any():
            scaler = StandardScaler().fit(features[learned])
            scaled = scaler.transform(features[learned]), scaler.transform(features[tested])
            sides.append((_regression(CS[0], warm_start=True), learned, tested, *scaled))
    losses: list[float] = []
    for c in CS:
        losses.append(0.0)
        for regression, learned, tested, inputs, left_out in sides:
            regression.set_params(C=c).fit(inputs, truth[learned], weights[learned])
            scores = regression.predict_proba(left_out)
            loss = log_loss(truth[tested], scores, labels=regression.classes_, sample_weight=weights[tested])
            losses[-1] += loss * weights[tested].sum()
        if len(losses) > 2 and losses[-3] < losses[-2] < losses[-1]:  # larger ones take longest
            break
    return CS[int(np.argmin(losses))]


def _regression(c: float, warm_start: bool = False) -> LogisticRegression:
    return LogisticRegression(C=c, max_iter=_MOST_STEPS, tol=1e-3 if warm_start else 1e-6, warm_start=warm_start)


def image_weights(
    params: Training,
    truth: NDArray[np.int64],
    positive: int,
    order: tuple[str, ...],
    chances: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The weight of each training image in the loss, float64 (n,), with mean 1: how often ``training.balance`` draws
    it, times its class's ``training.loss_weights``.

    truth     class indices (n,); ``positive`` is that of the positive class
    order     names of the classes
    chances   sampling probabilities of ``balance: source_and_class``, float64 (n,)
    """
    weights, is_positive = np.ones(len(truth)), truth == positive
    if params.balance == "source_and_class":
        weights = chances
    elif params.positive_share is not None:
        share, count = params.positive_share, int(is_positive.sum())
        weights = np.where(is_positive, share / max(count, 1), (1 - share) / max(len(truth) - count, 1))
    weights = weights * np.array([params.loss_weights.get(name, 1.0) for name in order])[truth]
    return np.asarray(weights / weights.mean())
