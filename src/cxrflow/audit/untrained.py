"""The audited networks before training, to tell what they have learned from what any network sees."""

from itertools import islice

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from cxrflow.audit.context import Audited
from cxrflow.audit.heat import randomised
from cxrflow.errors import CxrflowError, one_line
from cxrflow.models import find_model
from cxrflow.models.stored import STORED
from cxrflow.network import LoadedNetwork
from cxrflow.params import IMAGENET, Images, members_of
from cxrflow.predictor import Predictor
from cxrflow.training.start import begin

_BATCHES = 8  # of training images, for the statistics of batch normalisation


def as_begun(context: Audited) -> list[LoadedNetwork | str | None]:
    """The audited networks with the weights that their training began with, statistics of batch normalisation included,
    as a frozen backbone has them; the reason where these weights cannot be had any more; None where they were random.
    """
    predictor, begun = context.predictor, list[LoadedNetwork | str | None]()
    same: dict[tuple[str, str, Images], nn.Module] = {}
    members = members_of(context.params.images, context.params.training)
    for network, passport, member in zip(predictor.networks, predictor.bundle.starts, members, strict=True):
        about, training = network.about, member.training
        if passport is None:
            begun.append(None)
        elif about.model == STORED or training.start.endswith(".ckpt"):
            begun.append("its weights before training are not kept")
        else:
            key = about.model, training.start, about.images
            try:
                if key not in same:
                    with torch.random.fork_rng():
                        same[key] = begin(*key, predictor.bundle.task).network.eval()
                begun.append(network.with_module(same[key]))
            except CxrflowError as error:
                begun.append(one_line(str(error)))
    return begun


def untrained(context: Audited, count: int) -> list[Predictor]:
    """``count`` twins of the networks as their training began: fresh weights, or ImageNet's (``training.start``), and
    the statistics of batch normalisation of the training images. Twins with ImageNet's weights are one module. An
    imported network has its weights shuffled."""
    predictor = context.predictor
    starts = [member.training.start for member in members_of(context.params.images, context.params.training)]
    same: dict[tuple[str, Images], nn.Module] = {}

    def fresh(trained: LoadedNetwork) -> nn.Module:
        about, task = trained.about, predictor.bundle.task
        return settled(trained, find_model(about.model).architecture(about.images.channels, len(task.order)))

    def imagenet(trained: LoadedNetwork) -> nn.Module:
        about, task = trained.about, predictor.bundle.task
        key = about.model, about.images
        if key not in same:
            same[key] = settled(trained, begin(about.model, IMAGENET, about.images, task).network)
        return same[key]

    def settled(trained: LoadedNetwork, module: nn.Module) -> nn.Module:
        module = module.to(trained.device).train()
        for layer in module.modules():
            if isinstance(layer, _BatchNorm):
                layer.momentum = None  # the mean over all batches
        for images in islice(context.train.of(trained.about.images).batches(), _BATCHES):
            if len(images) > 1:  # one picture has no variance
                module(trained.to_tensor(images))
        return module.eval()

    def twin(number: int) -> Predictor:
        each = iter(starts)
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(context.seed + number)
            return predictor.with_modules(lambda net: imagenet(net) if next(each) == IMAGENET else fresh(net))

    if any(network.about.model == STORED for network in predictor.networks):
        return [randomised(predictor, context.seed + k) for k in range(count)]
    return [twin(k) for k in range(count)]
