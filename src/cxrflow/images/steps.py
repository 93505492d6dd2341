"""The image steps as pure functions on arrays; registry.py selects those that are active."""

from typing import NamedTuple

import cv2
import numpy as np

#: Margin on each side of the lungs when the image is cropped to them, as a share of their bounding box.
_MARGIN = 0.05
_PERCENTILES = (1, 99)


class Window(NamedTuple):
    """The square of a radiograph that is shown, in pixels of the radiograph as read.

    top, left, side  the square
    height, width    the whole radiograph
    """

    top: int
    left: int
    side: int
    height: int
    width: int


class Prepared(NamedTuple):
    """A prepared image.

    image   uint8 (size, size)
    lungs   lung mask, bool (size, size); None if ``images.lungs`` is ``none``
    window  the part of the radiograph that both show
    """

    image: np.ndarray
    lungs: np.ndarray | None
    window: Window


class LungMap(NamedTuple):
    """Where lungs were found.

    chance  uint8, 255 times the probability of lung, at any resolution
    top, left, height, width  the region of the radiograph that ``chance`` covers (pixels)
    """

    chance: np.ndarray
    top: int
    left: int
    height: int
    width: int


def centre_square(shape: tuple[int, ...], crop_top: float) -> Window:
    """The centre square of an image (height, width) after cropping the share ``crop_top`` of its height off."""
    height, width = shape
    top = int(height * crop_top)
    side = min(height - top, width)
    return Window(top + (height - top - side) // 2, (width - side) // 2, side, height, width)


def cut(picture: np.ndarray, window: Window) -> np.ndarray:
    """The window of an image (height, width) of any dtype; a view, not a copy."""
    return picture[window.top : window.top + window.side, window.left : window.left + window.side]


def shrink(image: np.ndarray, size: int) -> np.ndarray:
    """Resize a square uint8 image to (size, size).

    The image is halved (2 x 2 pixels averaged) while its side is at least 1.5 times ``size``, then resized bilinearly.
    This approximates an exact area average at a tenth of its cost. Smaller images are enlarged (bicubic).
    """
    if image.shape[0] < size:
        return cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC)
    while image.shape[0] >= 1.5 * size:
        half = image.shape[0] // 2  # an odd last row and column are dropped
        image = cv2.resize(image[: 2 * half, : 2 * half], (half, half), interpolation=cv2.INTER_AREA)
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)


def kept_by_shrink(window: Window, size: int) -> Window:
    """The part of a window that is in what ``shrink`` makes of it: each halving drops an odd last row and column."""
    halvings = 0
    while window.side >> halvings >= 1.5 * size:
        halvings += 1
    return window._replace(side=window.side >> halvings << halvings)


def stretch(image: np.ndarray) -> np.ndarray:
    """Stretch the contrast of a uint8 image linearly: its 1st percentile becomes black, its 99th white.

    This removes part of the information on an image's source that is in its exposure and windowing. Only the image's
    own pixels are used. If both percentiles are equal, the image is returned unchanged.
    """
    low, high = np.percentile(image, _PERCENTILES)
    if high <= low:
        return image
    shades = np.clip((np.arange(256) - low) * (255 / (high - low)), 0, 255)
    return cv2.LUT(image, np.rint(shades).astype(np.uint8))


def clahe(image: np.ndarray, clip: float, tiles: int) -> np.ndarray:
    """CLAHE (Zuiderveld 1994) of a uint8 image, with ``tiles`` x ``tiles`` tiles."""
    return cv2.createCLAHE(clip, (tiles, tiles)).apply(image)


def clahe_as_the_paper(picture: np.ndarray, clip: float, tiles: int) -> np.ndarray:
    """CLAHE as in the paper: the grey image is converted to LAB colour, and CLAHE applied to the lightness L."""
    lab = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR), cv2.COLOR_BGR2LAB)
    lab[..., 0] = clahe(np.ascontiguousarray(lab[..., 0]), clip, tiles)
    return cv2.cvtColor(cv2.cvtColor(lab, cv2.COLOR_LAB2BGR), cv2.COLOR_BGR2GRAY)


def blacken_outside(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The image with all pixels outside a bool mask of the same shape set to 0.

    If the mask is empty, the image is returned unchanged, because a black image would itself be a shortcut.
    """
    return np.where(mask, image, 0).astype(np.uint8) if mask.any() else image


def outline(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The uint8 image with the outline of a bool mask of the same shape drawn in white."""
    border = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    return np.where(border > 0, 255, image).astype(np.uint8)


def lung_window(found: LungMap, shape: tuple[int, ...]) -> Window | None:
    """The square around the lungs with a margin, kept inside the radiograph (height, width); None without lungs."""
    mask = found.chance > 127
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    y, x = found.height / mask.shape[0], found.width / mask.shape[1]
    centre = found.top + y * (rows[0] + rows[-1] + 1) / 2, found.left + x * (columns[0] + columns[-1] + 1) / 2
    longest = max(y * (rows[-1] + 1 - rows[0]), x * (columns[-1] + 1 - columns[0]))
    side = min(round(longest * (1 + 2 * _MARGIN)), *shape)
    top, left = (min(max(round(c - side / 2), 0), length - side) for c, length in zip(centre, shape, strict=True))
    return Window(top, left, side, shape[0], shape[1])


def lung_mask_in(found: LungMap, window: Window, size: int) -> np.ndarray:
    """The lung mask in a window: bool (size, size), interpolated bilinearly, False outside the region of the map."""
    chance, top, left, height, width = found
    if (top, left, height, width) == (*window[:3], window.side) and chance.shape == (size, size):
        return chance > 127
    y, x = chance.shape[0] / height, chance.shape[1] / width  # pixels of the map per pixel of the radiograph
    step = window.side / size
    matrix = np.array(
        [
            [x * step, 0, x * (window.left - left + step / 2) - 0.5],
            [0, y * step, y * (window.top - top + step / 2) - 0.5],
        ]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(chance, matrix, (size, size), flags=flags) > 127)
