"""Heat maps of pictures, from the trained network and from the same network with random weights."""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cxrflow.explanation.heat import HeatMaps
from cxrflow.network import LoadedNetwork
from cxrflow.predictor import Predictor
from cxrflow.terminal import track

#: A map, scaled to a maximum of 1, is flat if its values differ by less than this, which is rounding.
FLAT = 1e-3

_TWINS = 5  # networks with random weights to try, because some give a flat map


@dataclass(frozen=True)
class Heat:
    """Heat maps of pictures, float32 (n, size, size), 0 or more.

    gradcam    Grad-CAM for the predicted class
    occlusion  occlusion map for the predicted class
    random     Grad-CAM of a network with random weights, for the class that the trained network predicts: the first
               map that is not flat out of several such networks; all 0 if every map is flat
    """

    gradcam: NDArray[np.float32]
    occlusion: NDArray[np.float32]
    random: NDArray[np.float32]


def heat_of(maps: HeatMaps, seed: int) -> Heat:
    """All heat maps of some pictures; ``seed`` is for the random weights."""
    twins = [maps.by(randomised(maps.predictor, seed + k)) for k in range(_TWINS)]
    order = maps.predictor.bundle.task.order
    scores = maps.predictor.scores([view.pixels() for view in maps.views])
    found: list[tuple[NDArray[np.float32], ...]] = []
    for at, predicted in enumerate(track(scores.argmax(axis=1).tolist(), "heat maps")):
        label = order[predicted]
        random = (heat for twin in twins if np.ptp(heat := twin.gradcam(at, label)) > FLAT)
        trained = maps.gradcam(at, label)
        found.append((trained, maps.occlusion(at, label), next(random, np.zeros_like(trained))))
    return Heat(*(np.stack(column) for column in zip(*found, strict=True)))


def randomised(predictor: Predictor, seed: int) -> Predictor:
    """The same networks with random weights. Layers are reinitialised; the weights of layers that cannot be, as in an
    imported graph, are shuffled."""
    random = torch.Generator().manual_seed(seed)

    def change(trained: LoadedNetwork) -> nn.Module:
        network = copy.deepcopy(trained.module)
        for weights in network.parameters():
            flat = weights.flatten()
            weights.copy_(flat[torch.randperm(len(flat), generator=random).to(flat.device)].reshape(weights.shape))
        for module in network.modules():
            if callable(reset := getattr(module, "reset_parameters", None)):
                reset()
        return network.eval()

    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(seed)
        return predictor.with_modules(change)
