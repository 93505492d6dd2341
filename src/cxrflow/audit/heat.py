"""Heat maps of pictures, from the trained network and from the same network with random weights."""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from captum.attr import Occlusion
from numpy.typing import NDArray
from rich.progress import track
from torch import nn

from cxrflow.audit.pictures import Pictures
from cxrflow.network import LoadedNetwork
from cxrflow.predictor import Predictor

#: A map, scaled to a maximum of 1, is flat if its values differ by less than this, which is rounding.
FLAT = 1e-3

_TWINS = 5  # networks with random weights to try, because some give a flat map
_WINDOW = 4  # the occluding square has 1 / _WINDOW of the picture's side, and moves by half its own side


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


def heat_of(predictor: Predictor, pictures: Pictures, seed: int) -> Heat:
    """All heat maps of some pictures; ``seed`` is for the random weights."""
    twins = [randomised(predictor, seed + k) for k in range(_TWINS)]
    order = predictor.bundle.task.order
    predicted = [order[k] for k in predictor.scores(pictures.images).argmax(axis=1)]
    maps: list[tuple[NDArray[np.float32], ...]] = []
    for image, label in track(list(zip(pictures.images, predicted, strict=True)), "heat maps"):
        random = (heat for twin in twins if np.ptp(heat := twin.heat_map(image, label)) > FLAT)
        maps.append(
            (
                predictor.heat_map(image, label),
                occlusion(predictor, image, label),
                next(random, np.zeros_like(image, np.float32)),
            )
        )
    return Heat(*(np.stack(column) for column in zip(*maps, strict=True)))


def occlusion(predictor: Predictor, image: NDArray[np.uint8], label: str) -> NDArray[np.float32]:
    """Occlusion map: how far the logit of a class falls when a grey square covers part of a prepared picture (Zeiler
    and Fergus 2014, section 4.2).

    image  uint8 (size, size)
    Returns float32 (size, size): for each pixel the mean over the squares that cover it; 0 where the logit rises.
    """
    target = predictor.bundle.task.order.index(label)
    maps = [_occlusion(network, image, target) for network in predictor.networks]
    return np.asarray(np.mean(maps, axis=0), np.float32)


def _occlusion(network: LoadedNetwork, image: NDArray[np.uint8], target: int) -> NDArray[np.float32]:
    window, channels = max(2, image.shape[0] // _WINDOW), network.about.images.channels
    with torch.no_grad():
        found = Occlusion(network.module).attribute(
            network.to_tensor(image[None]),
            sliding_window_shapes=(channels, window, window),
            strides=(channels, window // 2, window // 2),
            baselines=0,  # the network's mean grey value
            target=target,
            perturbations_per_eval=16,
        )
    return np.asarray(found[0].mean(dim=0).clamp(min=0).cpu().numpy(), np.float32)


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
