"""Checks of the training parameters before any work starts: does the network accept the image size?"""

from pathlib import Path

from cxrflow.models.measure import check_size
from cxrflow.params import Params, check_start, members_of


def check_params(params: Params, out: Path) -> None:
    """Raise CxrflowError if a network does not accept the image size of training or of the audit's retraining, or if
    ``training.start`` lies in ``out``, the folder that training writes to."""
    classes = len(params.task.order)
    for images, training, _ in members_of(params.images, params.training):
        check_start(training, out)
        check_size(training.model, images.channels, images.size, classes)
        if params.audit.retrain_epochs:
            smaller = min(images.size, params.audit.retrain_size)
            check_size(training.model, images.channels, smaller, classes, "audit.retrain_size")
