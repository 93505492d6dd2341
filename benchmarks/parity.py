"""How far is the exported ONNX graph from PyTorch, for every network of the registry and some of timm's?

    python benchmarks/parity.py

Each network, with random weights, is exported as a bundle of its own, of pictures of 128 x 128 pixels, and scores a
black picture and noise with ONNX Runtime and with PyTorch. The suite tests one network of each kind; this is all.
"""

import time
from pathlib import Path

import torch
from tables import table, track

from cxrflow.bundle import Bundle, Network
from cxrflow.exporting.graph import DIFFERENCE, largest_difference, to_onnx
from cxrflow.models import MODELS, find_model
from cxrflow.params import Images
from cxrflow.params_file import load_params

_PARAMS = Path(__file__).parents[1] / "params.yaml"
_TIMM = ("timm:efficientnet_lite0", "timm:densenet121", "timm:convnext_atto", "timm:vit_tiny_patch16_224")


def main() -> None:
    """Print the table; ends with status 1 if a network differs by more than an export accepts."""
    params = load_params(_PARAMS)
    images = Images(**params.images.model_dump() | {"size": 128, "channels": 1})
    rows, most = [], 0.0
    for name in track((*MODELS, *_TIMM), "networks", len(MODELS) + len(_TIMM)):
        torch.manual_seed(0)
        module = find_model(name).architecture(1, len(params.task.order))
        with torch.no_grad():
            for _ in range(2):  # batch normalisation must know noise, or all answers are 0 and 1
                module.train()(torch.randn(4, 1, images.size, images.size))
        module.eval()
        of = Network(model=name, images=images, mean=0.5, std=0.25, temperature=1.5, epoch=0, validation={})
        bundle = Bundle(cxrflow="0", task=params.task, networks=(of,), sources={}, digests={})
        began = time.perf_counter()
        content = to_onnx(bundle, [module]).SerializeToString()
        seconds = time.perf_counter() - began
        apart = largest_difference(bundle, [module], content)
        most = max(most, apart)
        rows.append((name, f"{len(content) / 1e6:.1f}", f"{seconds:.0f}", f"{apart:.0e}"))
    table(("network", "file (MB)", "export (s)", "largest difference of a probability"), rows)
    if not most <= DIFFERENCE:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
