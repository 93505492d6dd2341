"""Scores and heat maps of images by a bundle, for evaluation, explanation and prediction alike.

Imports are kept light for scoring single files: no pandas (data sets), captum (heat maps) or training code.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from cxrflow.bundle import gradcam_layer, read_bundle
from cxrflow.errors import CxrflowError
from cxrflow.images.file import prepare_file
from cxrflow.models.model import to_input
from cxrflow.task import Task

if TYPE_CHECKING:
    from cxrflow.dataset import Dataset

#: Reason for leaving out an image.
NO_NUMBER = "the network gives no number"
_BATCH = 64


class Predictor:
    """Uses one bundle. Attributes: ``folder``, ``bundle`` (its description), ``network``, ``device``."""

    def __init__(self, folder: Path | str) -> None:
        """Load the bundle in ``folder``, onto the GPU if there is one. Raises CxrflowError as ``read_bundle`` does."""
        self.folder = Path(folder)
        self.bundle, network = read_bundle(self.folder)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.use(network)

    def use(self, network: nn.Module) -> None:
        """Replace the network by another one of the same architecture, such as one with random weights."""
        self.network = network.to(self.device)
        self._gradcam: Any = None

    def prepare(self, path: Path | str) -> np.ndarray:
        """Read one file (PNG, JPEG, TIFF, BMP, WebP, DICOM) and apply the bundle's image steps: uint8 (size, size).

        An inverted radiograph is corrected first. Raises LeftOut with the reason if the file cannot be used. Declared
        sizes are checked before decoding, but this process has no limits of memory and time as a worker process of
        ``cxrflow predict`` has: read files of unknown origin with that.
        """
        return prepare_file(self.bundle.images, Path(path)).image

    def scores(self, images: np.ndarray) -> np.ndarray:
        """Calibrated probabilities of prepared images.

        images  uint8 (n, size, size), or one image (size, size), as ``prepare`` returns them
        Returns float64 (n, classes), classes in the order of ``bundle.task``; each row sums to 1.
        Raises CxrflowError if the network gives no number for one of them: this is never an answer.
        """
        scores = self.scores_if_any(images)
        if without := int((~np.isfinite(scores)).any(axis=1).sum()):
            raise CxrflowError(f"{self.folder}: {NO_NUMBER} for {without} of {len(scores)} images; use another bundle.")
        return scores

    @torch.inference_mode()
    def scores_if_any(self, images: np.ndarray) -> np.ndarray:
        """As ``scores``, but a row is NaN where the network gives no number for an image (NO_NUMBER)."""
        images = images[None] if images.ndim == 2 else images
        parts = []
        for start in range(0, len(images), _BATCH):
            logits = self.network(self.to_tensor(images[start : start + _BATCH]))
            logits = torch.where(logits.isfinite().all(dim=1, keepdim=True), logits, torch.nan)
            parts.append((logits.double() / self.bundle.temperature).softmax(dim=1).cpu().numpy())
        return np.concatenate(parts) if parts else np.empty((0, len(self.bundle.task.order)))

    def score(self, dataset: "Dataset") -> np.ndarray:
        """``scores`` of a data set, batch by batch; columns in the class order of the data set's own task.

        Raises CxrflowError if the tasks of bundle and data set differ (``check_task``), or if the images were not
        prepared by the bundle's image steps.
        """
        from cxrflow.images.prepare import check_steps

        self.check_task(dataset.task)
        check_steps(dataset.store, self.bundle.images)
        columns = [self.bundle.task.order.index(name) for name in dataset.task.order]
        parts = [self.scores(images)[:, columns] for images in dataset.batches()]
        return np.concatenate(parts) if parts else np.empty((0, len(columns)))

    def check_task(self, task: Task) -> None:
        """Raise CxrflowError if ``task`` and the bundle's task differ in classes, findings or positive class."""
        if not self.bundle.task.same_question(task):
            raise CxrflowError(
                f"{self.folder}: the bundle's classes are {_said(self.bundle.task)}, the labels' {_said(task)}; name a "
                "bundle of this task, or set the bundle's task in the parameter file."
            )

    def features(self, batches: Iterable[np.ndarray]) -> np.ndarray:
        """The input of the network's last linear layer or, without a linear layer, the channel means of its Grad-CAM
        layer: float32 (n, k), or (0, 0) without images.

        batches  uint8 (n, size, size) each, as ``prepare`` returns them
        """
        linear = [module for module in self.network.modules() if isinstance(module, nn.Linear)]
        layer = linear[-1] if linear else gradcam_layer(self.bundle, self.network)
        caught: list[torch.Tensor] = []

        def catch(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            value = inputs[0].flatten(1) if linear else output.mean(dim=(2, 3))
            caught.append(value.detach().float().cpu())

        handle = layer.register_forward_hook(catch)
        try:
            for images in batches:
                self.scores(images)
        finally:
            handle.remove()
        return torch.cat(caught).numpy() if caught else np.empty((0, 0), np.float32)

    def heat_map(self, image: np.ndarray, label: str) -> np.ndarray:
        """Grad-CAM (Selvaraju et al. 2017, equations 1 and 2) of one prepared image for the class ``label``.

        image  uint8 (size, size)
        Returns float32 (size, size), scaled to a maximum of 1; all 0 if no pixel has positive evidence for the class.
        """
        if self._gradcam is None:
            from captum.attr import LayerGradCam

            self._gradcam = LayerGradCam(self.network, gradcam_layer(self.bundle, self.network))
        target = self.bundle.task.order.index(label)
        heat = self._gradcam.attribute(self.to_tensor(image[None]), target=target, relu_attributions=True)
        if not heat.isfinite().all():
            raise CxrflowError(f"{self.folder}: {NO_NUMBER} for the heat map of an image; use another bundle.")
        full = functional.interpolate(heat.detach(), image.shape, mode="bilinear", align_corners=False)[0, 0]
        maximum = full.max()
        return np.asarray((full / maximum if maximum > 0 else full).cpu().numpy())

    def to_tensor(self, images: np.ndarray) -> torch.Tensor:
        """The network's input for prepared images, uint8 (n, size, size): float32 (n, channels, size, size)."""
        pixels = torch.tensor(images).to(self.device).float()[:, None] / 255
        return to_input(pixels, self.bundle.images.channels, self.bundle.mean, self.bundle.std)


def _said(task: Task) -> str:
    said = ", ".join(f"{name} ({' + '.join(paths)})" for name, paths in task.classes.items())
    return f"{said}, positive {task.positive}"
