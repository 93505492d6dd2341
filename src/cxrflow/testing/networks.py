"""The contract of a network."""

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from captum.attr import LayerGradCam
from safetensors.torch import load, save
from torch import nn

from cxrflow.models.model import Model
from cxrflow.onnx_file import open_session
from cxrflow.testing.broken import keeps, works

#: Input planes and classes, in turn, for the sizes.
_COMBINED = ((1, 2), (1, 4), (3, 3), (3, 5))
_CLASSES = 3


def check_network(model: Model, sizes: Sequence[int] = (64, 480, 150, 224), with_onnx: bool = True) -> None:
    """Raise Broken unless ``model`` keeps the contract of a network.

    With random weights it takes float (n, 1 or 3, size, size) to logits (n, classes) for any number of classes; a
    gradient reaches every parameter; its Grad-CAM layer gives a square map; saved as safetensors and loaded, it gives
    the same, and as an ONNX graph, too.

    sizes      of images (pixels) that it has to take, the first the smallest; for this one it is built and run, for the
               others no memory is taken
    with_onnx  whether to export it, which takes seconds; ``cxrflow predict`` scores by ONNX
    """
    torch.manual_seed(0)
    with works("architecture(1, 3) builds the network for one plane and three classes."):
        network = model.architecture(1, _CLASSES)
    keeps(isinstance(network, nn.Module), "architecture returns a torch.nn.Module.", type(network).__name__)
    network = network.to(memory_format=torch.channels_last)
    images = torch.randn(2, 1, sizes[0], sizes[0])
    _check_gradient(network, images)
    _check_heat(model, network.eval(), images)
    _check_saved(model, network, images)
    if with_onnx:
        _check_onnx(network, images)
    del network
    for number in range(max(len(sizes), len(_COMBINED))):
        _check_shape(model, *_COMBINED[number % len(_COMBINED)], sizes[number % len(sizes)])


def _check_gradient(network: nn.Module, images: torch.Tensor) -> None:
    # timm's last normalisation of a residual block begins at exactly 0, and no gradient goes past it in the first step.
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    with works(f"The network takes images of {images.shape[-1]} pixels in training."):
        logits = network.train()(images)
    keeps(
        tuple(logits.shape) == (2, _CLASSES), "The network gives a logit for each image and class.", tuple(logits.shape)
    )
    keeps(bool(torch.isfinite(logits).all()), "Logits are finite numbers, with random weights, too.")
    logits.square().sum().backward()
    named = network.named_parameters()
    without = [name for name, p in named if p.grad is None or not p.grad.abs().sum() > 0]
    keeps(not without, "A gradient reaches every parameter; remove those that nothing uses.", ", ".join(without))
    network.zero_grad(set_to_none=True)


def _check_heat(model: Model, network: nn.Module, images: torch.Tensor) -> None:
    with works("gradcam_layer(network, size) returns the layer for Grad-CAM, which a gradient reaches in evaluation."):
        layer = model.gradcam_layer(network, images.shape[-1])
        heat = LayerGradCam(network, layer).attribute(images, target=[0, 2])
    square = heat.ndim == 4 and heat.shape[:2] == (2, 1) and heat.shape[2] == heat.shape[3] >= 4
    keeps(
        square,
        "The Grad-CAM layer's output is a square map of 4 x 4 or more; name an earlier layer.",
        tuple(heat.shape),
    )
    keeps(bool(heat.abs().sum() > 0), "The Grad-CAM map is not 0 everywhere; name a layer on the way to all logits.")


def _check_saved(model: Model, network: nn.Module, images: torch.Tensor) -> None:
    with _undrawn():  # it begins with whatever lies in memory: drawing its weights would take most of the time
        other = model.architecture(1, _CLASSES).eval()
    with works("The weights of one network can be loaded into another; architecture builds the same every time."):
        other.load_state_dict(load(save({name: t.contiguous() for name, t in network.state_dict().items()})))
    with torch.inference_mode():
        same = torch.allclose(other(images), network(images), rtol=1e-4, atol=1e-5)
    keeps(
        same, "Saved and loaded, a network gives the same: all that it learns is in its state_dict, nothing is random."
    )


def _check_onnx(network: nn.Module, images: torch.Tensor) -> None:
    with works("PyTorch exports the network to ONNX; avoid Python code that depends on values of tensors."):
        with warnings.catch_warnings(), torch.no_grad(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            program = torch.onnx.export(network, (images,), dynamo=True, verbose=False)
            assert program is not None  # noqa: S101
            expected = network(images).numpy()
        session = open_session(program.model_proto.SerializeToString())
        logits = np.asarray(session.run(None, {session.get_inputs()[0].name: images.numpy()})[0])
    worst, most = float(np.abs(logits - expected).max()), 1e-3 * float(np.abs(expected).max())
    keeps(worst <= 2 * most, "The ONNX graph gives what PyTorch gives.", f"they differ by {worst:.2g}")


def _check_shape(model: Model, channels: int, classes: int, size: int) -> None:
    """On the meta device: only shapes are computed."""
    maps: list[torch.Tensor] = []
    said = f"A network takes images of {channels} x {size} x {size}; make its last map one size by adaptive pooling."
    with works(said), torch.device("meta"), torch.inference_mode():
        network = model.architecture(channels, classes).eval()
        model.gradcam_layer(network, size).register_forward_hook(lambda *args: maps.append(args[2]))
        logits = network(torch.empty(2, channels, size, size))
    keeps(tuple(logits.shape) == (2, classes), "A network has as many outputs as classes.", tuple(logits.shape))
    once = [tuple(each.shape) for each in maps]
    keeps([len(shape) for shape in once] == [4], "The Grad-CAM layer gives one map (n, planes, height, width).", once)
    coarse = size >= 224 and min(once[0][2:]) < 7
    keeps(not coarse, "From 224 pixels on, Grad-CAM's map is 7 x 7 or larger, to separate a lung from the heart.", once)


@contextmanager
def _undrawn() -> Iterator[None]:
    names = ("kaiming_normal_", "kaiming_uniform_", "normal_", "trunc_normal_", "uniform_")
    instead: Any = {name: lambda tensor, *args, **kwargs: tensor for name in names}
    with patch.multiple(nn.init, **instead):
        yield
