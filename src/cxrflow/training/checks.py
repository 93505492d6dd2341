"""What can be said against parameters before any work: networks and picture sizes that do not go together."""

from pathlib import Path

from cxrflow.models.measure import check_size
from cxrflow.params import Params, check_start


def check_params(params: Params, out: Path) -> None:
    """Raise CxrflowError where the network takes no pictures of the wanted size, here or in the audit's trainings, or
    where ``training.start`` lies in ``out``, the folder that training writes to."""
    classes, training = len(params.task.order), params.training
    check_start(training, out)
    check_size(training.model, params.images.channels, params.images.size, classes)
    if params.audit.retrain_epochs:
        smaller = min(params.images.size, params.audit.retrain_size)
        check_size(training.model, params.images.channels, smaller, classes, "audit.retrain_size")
