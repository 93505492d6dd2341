"""A convolutional recurrent network (CRNN). The paper's title mentions one, its text defines none: this is our design.

As in Shi et al. 2015 (arXiv:1507.05717, section 2), a convolutional stem computes a feature map, which a bidirectional
recurrent layer reads as a sequence. Their sequence is the columns of a line of text; ours is the rows, from the apices
of the lungs to the bases and back. A row shows both lungs at the same height, so each step can compare left with right,
and the hidden state carries the vertical distribution of a finding. A GRU has three quarters of an LSTM's weights,
which suits collections of this size. The outputs of all rows are averaged, so a finding counts equally at any height.
"""

from contextlib import nullcontext

import torch
from torch import nn

_WIDTHS = (32, 64, 128, 256)
_CELLS = 7  # per row after average pooling, so that images of any size fit
_HIDDEN = 128


def build_crnn(channels: int, classes: int) -> nn.Module:
    """The CRNN for ``channels`` input planes."""
    return Crnn(channels, classes)


def gradcam_layer(network: nn.Module, size: int) -> nn.Module:
    """The stem's last block, 14 x 14 at 224 pixels; the block before it if that map would be smaller than 7 x 7."""
    if not isinstance(network, Crnn):
        raise TypeError(f"expected a Crnn, got {type(network).__name__}")
    return network.stem[-1 if size >= 7 * 16 else -2]


class Crnn(nn.Module):
    """Stem (stride 16), rows average-pooled to 7 cells, bidirectional GRU, mean over rows, one linear layer."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            *(_block(a, b) for a, b in zip((channels, *_WIDTHS[:-1]), _WIDTHS, strict=True)),
        )
        self.gru = nn.GRU(_CELLS * _WIDTHS[-1], _HIDDEN, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * _HIDDEN, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (n, classes) of float (n, channels, size, size)."""
        maps = self.stem(images)
        cells = nn.functional.adaptive_avg_pool2d(maps, (maps.shape[2], _CELLS))
        rows = cells.permute(0, 2, 1, 3).flatten(2)  # (n, height, planes * cells)
        # cuDNN's GRU has no gradient in evaluation mode, which Grad-CAM needs; PyTorch's own has one.
        with nullcontext() if self.training else torch.backends.cudnn.flags(enabled=False):
            states, _ = self.gru(rows)
        logits: torch.Tensor = self.head(states.mean(dim=1))
        return logits


def _block(inputs: int, planes: int) -> nn.Sequential:
    """Two 3 x 3 convolutions, the first with stride 2."""
    return nn.Sequential(
        nn.Conv2d(inputs, planes, kernel_size=3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(planes),
        nn.ReLU(),
        nn.Conv2d(planes, planes, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(planes),
        nn.ReLU(),
    )
