"""The audited network before training, to tell what it has learned from what any network sees."""

import copy
from itertools import islice

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from cxrflow.audit.context import Audited
from cxrflow.audit.heat import randomised
from cxrflow.models import find_model
from cxrflow.models.stored import STORED
from cxrflow.params import IMAGENET
from cxrflow.predictor import Predictor
from cxrflow.training.start import begin

_BATCHES = 8  # of training images, for the statistics of batch normalisation


def untrained(context: Audited, number: int) -> Predictor:
    """A twin of the network as training began: fresh weights, or ImageNet's (``training.start``), and the statistics of
    batch normalisation of the training images. An imported network has its weights shuffled."""
    predictor, seed = context.predictor, context.seed + number
    bundle, start = predictor.bundle, context.params.training.start
    if bundle.model == STORED:
        return randomised(predictor, seed)
    twin = copy.copy(predictor)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        if start == IMAGENET:
            network = begin(bundle.model, start, bundle.images, bundle.task).network
        else:
            network = find_model(bundle.model).architecture(bundle.images.channels, len(bundle.task.order))
        twin.use(network.train())
        for module in network.modules():
            if isinstance(module, _BatchNorm):
                module.momentum = None  # the mean over all batches
        for images in islice(context.train.batches(), _BATCHES):
            if len(images) > 1:  # one picture has no variance
                twin.network(twin.to_tensor(images))
    twin.network.eval()
    return twin
