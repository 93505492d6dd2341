"""Heat maps of what all networks of a bundle see, in one geometry.

Networks may see different parts of a radiograph. Their maps are drawn on a canvas: the smallest square of the
radiograph that holds all that they see. If they see the same, the canvas is the prepared picture.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from cxrflow.dataset import Dataset
from cxrflow.images.prepare import Store
from cxrflow.images.steps import Window
from cxrflow.network import LoadedNetwork
from cxrflow.predictor import Predictor

_OCCLUDED = 4  # the occluding square has 1 / _OCCLUDED of the picture's side, and moves by half its own side


@dataclass(frozen=True)
class HeatMaps:
    """Heat maps of a data set's images by the networks of a bundle; float32 (size, size) on the canvas, 0 or more.

    views  the images as prepared for the networks: a data set for each of ``predictor.bundle.steps``
    """

    predictor: Predictor
    views: tuple[Dataset, ...]

    @classmethod
    def of(cls, predictor: Predictor, dataset: Dataset) -> "HeatMaps":
        """Of all images of a data set. Raises CxrflowError if they were prepared by other steps than the bundle's."""
        return cls(predictor, tuple(dataset.of(steps) for steps in predictor.bundle.steps))

    def where(self, chosen: Any) -> "HeatMaps":
        """Of a subset, as ``Dataset.where``."""
        return replace(self, views=tuple(view.where(chosen) for view in self.views))

    def by(self, predictor: Predictor) -> "HeatMaps":
        """Of the same images, by the networks of another predictor of the same bundle."""
        return replace(self, predictor=predictor)

    @cached_property
    def canvas(self) -> Dataset:
        """The images as they are shown: on the canvas, with its window and with the lungs found in any of the views."""
        return self.views[0] if len(self.views) == 1 else _on_canvas(self.views)

    def each(self, at: int, label: str) -> list[NDArray[np.float32]]:
        """Grad-CAM for a class, by each network, scaled to a maximum of 1; all 0 without evidence for the class."""
        maps = self.predictor.heat_maps([view.image(at) for view in self.views], label)
        return [self._placed(heat, view, at) for heat, (view, _) in zip(maps, self.predictor.by_view, strict=True)]

    def gradcam(self, at: int, label: str) -> NDArray[np.float32]:
        """The mean of ``each``, again scaled to a maximum of 1."""
        heat = np.mean(self.each(at, label), axis=0)
        return np.asarray(heat / heat.max() if heat.max() > 0 else heat, np.float32)

    def occlusion(self, at: int, label: str) -> NDArray[np.float32]:
        """Occlusion map for a class, the mean over the networks: how far its logit falls when a grey square covers part
        of the picture (Zeiler and Fergus 2014, section 4.2); for each pixel the mean over the squares that cover it,
        0 where the logit rises."""
        target = self.predictor.bundle.task.order.index(label)
        maps = [
            self._placed(_occlusion(network, self.views[view].image(at), target), view, at)
            for view, network in self.predictor.by_view
        ]
        return np.asarray(np.mean(maps, axis=0), np.float32)

    def _placed(self, heat: NDArray[np.float32], view: int, at: int) -> NDArray[np.float32]:
        if len(self.views) == 1:
            return heat
        windows = (self.views[view].window(at), self.canvas.window(at))
        return np.asarray(place(heat, *windows, self.canvas.size), np.float32)


def place(picture: NDArray[Any], window: Window, area: Window, size: int) -> NDArray[Any]:
    """A picture of a window, (n, n), drawn on a canvas of an area that holds it: (size, size), 0 around it."""
    scale = size / area.side
    top, left = (min(round(at * scale), size - 1) for at in (window.top - area.top, window.left - area.left))
    side = min(max(round(window.side * scale), 1), size - top, size - left)
    canvas = np.zeros((size, size), picture.dtype)
    shrinks = side < picture.shape[0]
    resized = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    canvas[top : top + side, left : left + side] = resized
    return canvas


def _on_canvas(views: tuple[Dataset, ...]) -> Dataset:
    first, size = views[0], max(view.size for view in views)
    windows = [view.store.index[list(Window._fields)].to_numpy(float) for view in views]
    index = first.store.index.assign(**dict(zip(Window._fields, _areas(windows).T, strict=True)))
    masked = any(view.store.lungs is not None for view in views)
    store = Store(_Drawn(views, index, size, False), None, index, "canvas")  # type: ignore[arg-type]
    store = replace(store, lungs=_Drawn(views, index, size, True)) if masked else store  # type: ignore[arg-type]
    return replace(first, stores=(store,))


def _areas(windows: list[NDArray[Any]]) -> NDArray[np.float64]:
    """For each image, the smallest square that holds its windows, in the radiograph where it fits: float (n, 5),
    columns as in Window; NaN for an image that was not prepared."""
    tops, lefts, sides = (np.stack([each[:, k] for each in windows]) for k in range(3))
    height, width = windows[0][:, 3], windows[0][:, 4]
    top, left = tops.min(axis=0), lefts.min(axis=0)
    down, across = (tops + sides).max(axis=0) - top, (lefts + sides).max(axis=0) - left
    side = np.maximum(down, across)
    top = np.clip(top - (side - down) // 2, 0, np.maximum(height - side, 0))
    left = np.clip(left - (side - across) // 2, 0, np.maximum(width - side, 0))
    return np.stack([top, left, side, height, width], axis=1)


@dataclass(frozen=True)
class _Drawn:
    """Pictures, or lung masks, on the canvas, drawn when they are read: an array (n, size, size) as far as it is
    used."""

    views: tuple[Dataset, ...]
    index: pd.DataFrame
    size: int
    lungs: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self.index), self.size, self.size

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        if np.ndim(rows):
            return np.stack([self[row] for row in rows])
        area = Window(*self.index[list(Window._fields)].iloc[int(rows)].astype(int))
        canvas = np.zeros(self.shape[1:], np.uint8)
        for store in sorted((view.store for view in self.views), key=lambda store: store.window(int(rows)).side):
            source = store.lungs if self.lungs else store.images
            if source is not None:
                part = np.asarray(source[int(rows)], np.uint8)
                there = store.window(int(rows))
                shown = place(np.full_like(part, 1), there, area, self.size) > 0
                drawn = place(part * 255 if self.lungs else part, there, area, self.size)
                canvas = np.maximum(canvas, drawn) if self.lungs else np.where(shown, drawn, canvas)
        return canvas > 127 if self.lungs else canvas


def _occlusion(network: LoadedNetwork, image: NDArray[np.uint8], target: int) -> NDArray[np.float32]:
    from captum.attr import Occlusion

    window, channels = max(2, image.shape[0] // _OCCLUDED), network.about.images.channels
    with torch.no_grad():
        found = Occlusion(network.module).attribute(
            network.to_tensor(image[None]),
            sliding_window_shapes=(channels, window, window),
            strides=(channels, window // 2, window // 2),
            baselines=0,  # the network's mean grey value
            target=target,
            perturbations_per_eval=16,
        )
    return np.asarray(found[0].mean(dim=0).clamp(min=0).cpu().numpy(), np.float32)
