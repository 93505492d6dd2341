"""COVID-Net (Wang and Wong 2020, arXiv:2003.09871v2, figure 2), rebuilt in PyTorch.

The figure gives the feature maps, the number of PEPX blocks and the connections, but not the widths within blocks.
docs/covidnet.md explains what was inferred, and compares the result with the published numbers of parameters and
multiply-accumulates.
"""

from typing import Any

import torch
from torch import nn

#: Planes, PEPX blocks, and width of the 1x1 path (Large only) of each stage; map sizes are 56, 28, 14, 7 at 224 pixels.
STAGES = ((256, 3, 256), (512, 4, 512), (1024, 6, 1024), (2048, 3, 3072))


def build_covidnet_small(channels: int, classes: int) -> nn.Module:
    """COVIDNet-CXR Small, without 1x1 paths, for ``channels`` input planes."""
    return CovidNet(channels, classes, with_path=False)


def build_covidnet_large(channels: int, classes: int) -> nn.Module:
    """COVIDNet-CXR Large, with 1x1 paths, for ``channels`` input planes."""
    return CovidNet(channels, classes, with_path=True)


def gradcam_layer(network: nn.Module, size: int) -> nn.Module:
    """The last stage (7 x 7 at 224 pixels), the one before flattening; below 224 pixels, the stage before it."""
    if not isinstance(network, CovidNet):
        raise TypeError(f"expected a CovidNet, got {type(network).__name__}")
    return network.stages[-1 if size >= 7 * 32 else -2]


class CovidNet(nn.Module):
    """The network of figure 2: float (n, channels, size, size) to logits (n, classes).

    The figure flattens a 7 x 7 x 2048 map. At image sizes other than 224, the last map (15 x 15 at 480) is first
    average-pooled to 7 x 7 (``pool``), so that the fully connected layers keep their size.
    """

    def __init__(self, channels: int, classes: int, *, with_path: bool) -> None:
        super().__init__()
        self.stem = _convolution(channels, 64, kernel_size=7, stride=2, padding=3)
        stages, inputs = [], 64
        for planes, blocks, path_width in STAGES:
            stages.append(Stage(inputs, planes, blocks, path_width if with_path else None))
            inputs = planes
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(7)
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(inputs * 7 * 7, 1024),
            nn.ReLU(),
            nn.Linear(1024, 256),
            nn.ReLU(),
            nn.Linear(256, classes),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (n, classes) of float (n, channels, size, size)."""
        logits: torch.Tensor = self.head(self.pool(self.stages(self.stem(images))))
        return logits


class Stage(nn.Module):
    """The PEPX blocks at one resolution: float (n, inputs, height, width) to (n, planes, height // 2, width // 2).

    The input of each block after the first is the sum of the outputs of all blocks before it and of the 1x1 path, if
    there is one. The sum of all outputs is the input of the next stage.
    """

    def __init__(self, inputs: int, planes: int, blocks: int, path_width: int | None) -> None:
        super().__init__()
        self.halve = nn.MaxPool2d(2)
        self.blocks = nn.ModuleList(pepx(inputs if i == 0 else planes, planes) for i in range(blocks))
        self.path = (
            nn.Sequential(_convolution(inputs, path_width), _convolution(path_width, planes)) if path_width else None
        )

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Sum of all blocks and of the 1x1 path: (n, planes, height // 2, width // 2)."""
        maps = self.halve(maps)
        total: torch.Tensor = self.blocks[0](maps)
        if self.path is not None:
            total = total + self.path(maps)
        for block in self.blocks[1:]:
            total = total + block(total)
        return total


def pepx(inputs: int, planes: int) -> nn.Sequential:
    """Projection, expansion, depthwise representation, projection, extension: (n, inputs, ...) to (n, planes, ...)."""
    narrow, wide = inputs // 4, inputs // 2
    return nn.Sequential(
        _convolution(inputs, narrow),
        _convolution(narrow, wide),
        _convolution(wide, wide, kernel_size=3, padding=1, groups=wide),
        _convolution(wide, narrow),
        _convolution(narrow, planes),
    )


def _convolution(inputs: int, outputs: int, kernel_size: int = 1, **options: Any) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel_size, bias=False, **options), nn.BatchNorm2d(outputs), nn.ReLU()
    )
