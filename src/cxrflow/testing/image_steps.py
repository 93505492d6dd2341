"""The contract of an image step of others (``images.extra``)."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cxrflow.errors import LeftOut
from cxrflow.images.registry import Change
from cxrflow.testing.broken import keeps, works


def check_image_step(change: Change) -> None:
    """Raise Broken unless ``change`` keeps the contract of an image step.

    It is given a prepared image, uint8 (size, size), air dark, and returns the changed one, uint8 of the same shape. It
    takes any size, a black and a white image, too; its result depends on this image alone, and the image given is not
    changed. An image that it cannot change is left out with a reason (``cxrflow.errors.LeftOut``).
    """
    changed = []
    pictures = list(_pictures())
    for picture in pictures:
        given = picture.copy()
        with works(f"An image step takes an image of {len(picture)} x {len(picture)} pixels, or raises LeftOut."):
            changed.append(_changed(change, given))
        keeps((given == picture).all(), "An image step does not change the image given; work on a copy.")
    for picture, first in zip(pictures[::-1], changed[::-1], strict=True):
        again = _changed(change, picture.copy())
        same = (again is None and first is None) or (
            again is not None and first is not None and np.array_equal(again, first)
        )
        keeps(
            same, "An image step gives the same for the same image, whatever images came before; use no random numbers."
        )
    keeps(any(image is not None for image in changed), "An image step does not leave out every image.")


def _changed(change: Change, image: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    shape = image.shape
    try:
        result = change(image)
    except LeftOut:
        return None
    keeps(isinstance(result, np.ndarray), "An image step returns a NumPy array.", type(result).__name__)
    keeps(result.dtype == np.uint8, "An image step returns grey levels from 0 to 255 as uint8.", result.dtype)
    keeps(result.shape == shape, "An image step returns an image of the same shape.", f"{result.shape} for {shape}")
    return result


def _pictures() -> Iterator[NDArray[np.uint8]]:
    random = np.random.default_rng(0)
    for size in (32, 64, 224):
        yield random.integers(0, 256, (size, size)).astype(np.uint8)
        yield np.tile(np.linspace(0, 255, size).astype(np.uint8), (size, 1))
        yield np.full((size, size), 0, np.uint8)
        yield np.full((size, size), 255, np.uint8)
