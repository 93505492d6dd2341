"""One network of a bundle at work: probabilities, features and heat maps of prepared images."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from cxrflow.bundle import Network
from cxrflow.bundle_networks import gradcam_layer
from cxrflow.models.model import to_input

_BATCH = 64


def last_linear(module: nn.Module) -> nn.Linear | None:
    """The last linear layer of a network, by definition order; None if it has none."""
    linear = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    return linear[-1] if linear else None


class LoadedNetwork:
    """Attributes: ``about`` (its description), ``module`` (a PyTorch module in evaluation mode), ``device``.

    Images are uint8 (n, size, size), prepared by its image steps.
    """

    def __init__(self, about: Network, module: nn.Module) -> None:
        """Place the module on the GPU if there is one."""
        self.about = about
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.module = module.to(self.device)
        self._gradcam: Any = None

    def with_module(self, module: nn.Module) -> "LoadedNetwork":
        """Another module of the same architecture in its place, such as one with random weights."""
        return LoadedNetwork(self.about, module)

    @torch.inference_mode()
    def probabilities(self, images: NDArray[np.uint8], classes: int) -> NDArray[np.float64]:
        """Calibrated probabilities, float64 (n, classes); NaN in the row of an image for which it gives no number."""
        parts = []
        for start in range(0, len(images), _BATCH):
            parts.append(self._calibrated(self.module(self.to_tensor(images[start : start + _BATCH]))))
        return np.concatenate(parts) if parts else np.empty((0, classes))

    @torch.inference_mode()
    def probabilities_of(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """As ``probabilities``, of images whose ``features`` are known, float (n, k), if the network was frozen: its
        output is then that of its last linear layer."""
        linear = last_linear(self.module)
        assert linear is not None  # noqa: S101
        return self._calibrated(linear(torch.from_numpy(features).to(self.device)))

    def _calibrated(self, logits: torch.Tensor) -> NDArray[np.float64]:
        logits = torch.where(logits.isfinite().all(dim=1, keepdim=True), logits, torch.nan)
        calibrated = (logits.double() / self.about.temperature).softmax(dim=1)
        return np.asarray(calibrated.cpu().numpy())

    @torch.inference_mode()
    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The input of the last linear layer or, without a linear layer, the channel means of the Grad-CAM layer:
        float32 (n, k)."""
        linear = last_linear(self.module)
        layer = linear or gradcam_layer(self.about, self.module)
        caught: list[torch.Tensor] = []

        def catch(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            caught.append((output.mean(dim=(2, 3)) if linear is None else inputs[0].flatten(1)).float().cpu())

        handle = layer.register_forward_hook(catch)
        try:
            for start in range(0, len(images), _BATCH):
                self.module(self.to_tensor(images[start : start + _BATCH]))
        finally:
            handle.remove()
        return np.asarray(torch.cat(caught).numpy())

    def heat_map(self, image: NDArray[np.uint8], target: int) -> NDArray[np.float32]:
        """Grad-CAM (Selvaraju et al. 2017, equations 1 and 2) of one image, uint8 (size, size), for class ``target``:
        float32 (size, size), 0 or more; not finite if the network gives no number."""
        if self._gradcam is None:
            from captum.attr import LayerGradCam

            self._gradcam = LayerGradCam(self.module, gradcam_layer(self.about, self.module))
        heat = self._gradcam.attribute(self.to_tensor(image[None]), target=target, relu_attributions=True)
        full = functional.interpolate(heat.detach(), image.shape, mode="bilinear", align_corners=False)[0, 0]
        return np.asarray(full.cpu().numpy())

    def to_tensor(self, images: NDArray[np.uint8]) -> torch.Tensor:
        """The network's input: float32 (n, channels, size, size)."""
        pixels = torch.tensor(images).to(self.device).float()[:, None] / 255
        return to_input(pixels, self.about.images.channels, self.about.mean, self.about.std)
