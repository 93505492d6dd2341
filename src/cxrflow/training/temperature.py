"""The temperature that calibrates a network."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar


def fit_temperature(logits: NDArray[np.floating[Any]], labels: NDArray[np.int64]) -> float:
    """Temperature that minimises the cross-entropy on images left out (Guo et al. 2017, section 4.2), between 0.05 and
    20.

    logits  float (n, classes); labels int (n,)
    Own code, because scikit-learn's temperature scaling is a private class, and its public ``CalibratedClassifierCV``
    returns probabilities, not the temperature.
    """
    values, truth = torch.tensor(logits, dtype=torch.float64), torch.tensor(labels)

    def cross_entropy(log_temperature: float) -> float:
        return float(torch.nn.functional.cross_entropy(values / np.exp(log_temperature), truth))

    bounds = (np.log(0.05), np.log(20))
    return float(np.exp(minimize_scalar(cross_entropy, bounds=bounds, method="bounded").x))
