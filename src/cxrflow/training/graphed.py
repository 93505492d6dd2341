"""The network of a training as CUDA graphs: its hundreds of kernels are launched at once.

At batches of 32 pictures of 224 pixels a GPU computes faster than Python can launch (docs/speed.md).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import distributed, nn

from cxrflow.errors import one_line
from cxrflow.terminal import remark


class GraphedNetwork:
    """Calls a network in training, on a GPU by CUDA graphs of its forward and backward pass.

    The graphs are of the shape of the first batch; batches of another shape, as the last of an epoch, and those of
    several processes are computed without, and so is a network that cannot be captured, because it waits for the GPU
    in its forward pass. Batch normalisation's running figures are as without.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._graphed: Callable[..., Any] = network
        self._shape: torch.Size | None = None

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Logits, float (n, classes), of images, float (n, channels, size, size)."""
        if self._shape is None and images.is_cuda and not distributed.is_initialized():
            self._capture(images)
        graphed = images.shape == self._shape and self._network.training
        logits: torch.Tensor = (self._graphed if graphed else self._network)(images)
        return logits

    def _capture(self, images: torch.Tensor) -> None:
        buffers = [(buffer, buffer.clone()) for buffer in self._network.buffers()]
        dtype = torch.get_autocast_dtype("cuda")
        try:
            with (
                torch.random.fork_rng(),
                torch.autocast("cuda", dtype, torch.is_autocast_enabled("cuda"), cache_enabled=False),
            ):
                self._graphed = torch.cuda.make_graphed_callables(_Apart(self._network), (images.clone(),))
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            remark(f"No CUDA graphs of this network, so its steps take longer: {one_line(str(error))}")
        for buffer, before in buffers:  # the passes of the capture have changed them
            buffer.copy_(before)
        self._shape = images.shape


class _Apart(nn.Module):
    """PyTorch replaces the ``forward`` of the module that it captures; the network's own has to stay."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(images)
        return logits
