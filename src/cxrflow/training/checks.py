"""Checks of the training parameters before any work starts: does the network take the image size, can it be frozen?"""

from pathlib import Path

import torch

from cxrflow.errors import CxrflowError
from cxrflow.models import find_model
from cxrflow.models.measure import check_size
from cxrflow.models.stored import STORED
from cxrflow.network import last_linear
from cxrflow.params import SCRATCH, Params, Training, check_start, members_of


def check_params(params: Params, out: Path) -> None:
    """Raise CxrflowError if a network does not accept the image size of training or of the audit's retraining, if it
    cannot be frozen, or if ``training.start`` lies in ``out``, the folder that training writes to."""
    classes = len(params.task.order)
    for images, training, _ in members_of(params.images, params.training):
        check_start(training, out)
        check_size(training.model, images.channels, images.size, classes)
        check_freeze(training, images.channels, images.size, classes)
        if params.audit.retrain_epochs:
            smaller = min(images.size, params.audit.retrain_size)
            check_size(training.model, images.channels, smaller, classes, "audit.retrain_size")


def check_freeze(params: Training, channels: int, size: int, classes: int) -> None:
    """Raise CxrflowError unless the network's output is that of its last linear layer and ``training.start`` gives it
    weights.

    channels, size  of its images; it accepts them
    """
    if params.freeze == "none":
        return
    if params.model == STORED:
        raise CxrflowError(f"training.freeze: a network called {STORED} has no layer to fit; set it to none.")
    model = find_model(params.model)
    if params.start == SCRATCH and model.load_pretrained is None:
        raise CxrflowError(
            f"training.freeze: {params.model} would keep random weights; set training.start to imagenet or to the path "
            "of weights."
        )
    with torch.device("meta"), torch.inference_mode():
        network = model.architecture(channels, classes).eval()
        seen: list[tuple[torch.Tensor, torch.Tensor]] = []
        if (last := last_linear(network)) is not None and last.bias is not None:
            last.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output)))
        logits = network(torch.empty(1, channels, size, size))
    if len(seen) != 1 or seen[0][0].ndim != 2 or seen[0][1] is not logits:
        raise CxrflowError(
            f"training.freeze: the output of {params.model} is not that of one linear layer with a bias; choose "
            "another network, or set it to none."
        )
