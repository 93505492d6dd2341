"""The networks of a bundle, with all that makes calibrated probabilities of prepared images, as one ONNX graph."""

import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from cxrflow.bundle import Bundle
from cxrflow.errors import CxrflowError, one_line
from cxrflow.models.model import to_input
from cxrflow.onnx_file import BY_FOLD, MOST, PROBABILITIES, input_names, open_session

#: Largest difference of a probability from PyTorch's that is accepted.
DIFFERENCE = 1e-4


class WholeBundle(nn.Module):
    """uint8 (n, size, size), one for each of ``Bundle.steps``, to PROBABILITIES and BY_FOLD.

    Computed in float32 where ``network.py`` uses float64 after the logits: other programs lack float64.
    """

    def __init__(self, bundle: Bundle, modules: Sequence[nn.Module]) -> None:
        super().__init__()
        self._bundle = bundle
        self.members = nn.ModuleList(modules)

    def forward(self, *views: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The outputs for n pictures of each kind; float pictures, with grey levels from 0 to 255, do as well."""
        networks = self._bundle.networks
        pixels = [view.float()[:, None] / 255 for view in views]
        each = []
        for network, view, member in zip(networks, self._bundle.views, self.members, strict=True):
            logits = member(to_input(pixels[view], network.images.channels, network.mean, network.std))
            finite = (logits.abs() < torch.inf).all(dim=1, keepdim=True)  # Core ML has no isfinite
            each.append(
                (torch.where(finite, logits, torch.full_like(logits, torch.nan)) / network.temperature).softmax(dim=1)
            )
        folds = [network.fold or 0 for network in networks]
        by_fold = torch.stack(
            [
                torch.stack([scores for scores, its in zip(each, folds, strict=True) if its == fold]).mean(dim=0)
                for fold in sorted(set(folds))
            ]
        )
        mean = by_fold.mean(dim=0)
        if self._bundle.sharpness == 1:
            return mean, by_fold
        raised = mean**self._bundle.sharpness
        return raised / raised.sum(dim=1, keepdim=True), by_fold


def to_onnx(bundle: Bundle, modules: Sequence[nn.Module]) -> Any:
    """The graph as an ONNX model (``onnx.ModelProto``) without metadata; the batch dimension is called ``n``.

    modules  the bundle's networks, on the CPU, in evaluation mode
    Raises CxrflowError if a network cannot be exported, or all are too large for one file.
    """
    size = sum(tensor.nbytes for module in modules for tensor in module.state_dict().values())
    if size > 0.99 * MOST:
        raise CxrflowError(
            f"the networks hold {size / 1e9:.1f} GB of weights, and an ONNX file at most 2 GB; use PyTorch, or a "
            "bundle with fewer networks."
        )
    whole, names = WholeBundle(bundle, modules).eval(), input_names(bundle)
    examples = tuple(torch.zeros(2, steps.size, steps.size, dtype=torch.uint8) for steps in bundle.steps)
    rows = torch.export.Dim("n")
    try:
        with torch.inference_mode(False), torch.no_grad(), _quiet():
            program = torch.onnx.export(
                whole,
                examples,
                input_names=names,
                output_names=[PROBABILITIES, BY_FOLD],
                dynamic_shapes=(tuple({0: rows} for _ in examples),),
                dynamo=True,
                verbose=False,
            )
            assert program is not None  # noqa: S101
            model = program.model_proto
            onnx.checker.check_model(model)
    except Exception as error:  # whatever a network's code does not allow
        raise CxrflowError(f"PyTorch cannot export {bundle.name} ({one_line(str(error))}).") from None
    for part in (model.graph, *model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        del part.metadata_props[:]  # source locations in the Python code
    return model


def largest_difference(bundle: Bundle, modules: Sequence[nn.Module], content: bytes) -> float:
    """The largest difference of a probability, by fold or of all, between an ONNX file and PyTorch: of a black image
    and of noise."""
    random = np.random.default_rng(0)
    views: list[NDArray[np.uint8]] = []
    for steps in bundle.steps:
        noise = random.integers(0, 256, (3, steps.size, steps.size)).astype(np.uint8)
        noise[0] = 0
        views.append(noise)
    with torch.inference_mode():
        expected = WholeBundle(bundle, modules).eval()(*map(torch.from_numpy, views))
    given = open_session(content).run([PROBABILITIES, BY_FOLD], dict(zip(input_names(bundle), views, strict=True)))
    return max(float(np.abs(a - b.numpy()).max()) for a, b in zip(given, expected, strict=True))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter prints and warns of; its errors are raised."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, before, strict=True):
                logger.setLevel(level)
