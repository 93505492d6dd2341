"""How far is the exported ONNX graph from PyTorch, for every network of the registry and some of timm's?

    python benchmarks/parity.py

Each network, with random weights, is exported as a bundle of its own, of pictures of 128 x 128 pixels, and scores a
black picture and noise with ONNX Runtime and with PyTorch. How far the answers to two such pictures are apart shows
that they depend on the picture, so that a difference would be seen. The suite tests one network of each kind; this is
all.
"""

import time
from typing import Any

import torch
from tables import table, track
from torch import nn

from cxrflow.bundle import Bundle, Network
from cxrflow.exporting.graph import DIFFERENCE, largest_difference, to_onnx
from cxrflow.models import MODELS, find_model
from cxrflow.params import Images
from cxrflow.params_file import DEFAULTS, load_params

_PARAMS = DEFAULTS
_TIMM = ("timm:efficientnet_lite0", "timm:densenet121", "timm:convnext_atto", "timm:vit_tiny_patch16_224")


def main() -> None:
    """Print the table; ends with status 1 if a network differs by more than an export accepts."""
    params = load_params(_PARAMS)
    images = Images(**params.images.model_dump() | {"size": 128, "channels": 1})
    rows, most = [], 0.0
    for name in track((*MODELS, *_TIMM), "networks", len(MODELS) + len(_TIMM)):
        torch.manual_seed(0)
        module = find_model(name).architecture(1, len(params.task.order))
        _settle(module, images.size)
        of = Network(model=name, images=images, mean=0.5, std=0.25, temperature=1.5, epoch=0, validation={})
        bundle = Bundle(cxrflow="0", task=params.task, networks=(of,), sources={}, digests={})
        began = time.perf_counter()
        content = to_onnx(bundle, [module]).SerializeToString()
        seconds = time.perf_counter() - began
        apart = largest_difference(bundle, [module], content)
        most = max(most, apart)
        with torch.no_grad():
            size = (1, images.size, images.size)
            pictures = torch.stack([torch.full(size, -2.0), torch.randn(size)])
            answers = torch.softmax(module(pictures) / 1.5, dim=1)
        spread = float((answers[0] - answers[1]).abs().max())
        rows.append((name, f"{len(content) / 1e6:.1f}", f"{seconds:.0f}", f"{apart:.0e}", f"{spread:.0e}"))
    table(("network", "file (MB)", "export (s)", "largest difference of a probability", "between two pictures"), rows)
    if not most <= DIFFERENCE:
        raise SystemExit(1)


def _settle(module: nn.Module, size: int) -> None:
    """Weights by which noise keeps its variance from layer to layer (Mishkin and Matas 2016, arXiv:1511.06422), and the
    statistics of batch normalisation that it has then. Without, some networks give every picture the same answer."""

    def to_unit_variance(layer: Any, _: Any, out: torch.Tensor) -> torch.Tensor:
        spread = out.std()
        layer.weight /= spread
        if layer.bias is not None:
            layer.bias /= spread
        return out / spread

    layers = [layer for layer in module.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    with torch.no_grad():
        hooks = [layer.register_forward_hook(to_unit_variance) for layer in layers]
        module.train()(torch.randn(4, 1, size, size))
        for hook in hooks:
            hook.remove()
        for _ in range(2):
            module.train()(torch.randn(4, 1, size, size))
    module.eval()


if __name__ == "__main__":
    main()
